"""``./run drill``: every fault in labs of its own, injected, seen and mended; a table of how it went."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from typing import Dict, List

from podwire.errors import PodwireError
from podwire.faults.catalogue import CATALOGUE

from .labs import KINDS, Lab, differences, kind_for, make

NODE = "node-1"


def main() -> int:
    """Run the drill; 1 if any fault did not go as the catalogue says."""
    parser = argparse.ArgumentParser(prog="./run drill", description=__doc__)
    parser.add_argument("fault", nargs="*", help="these only (default: all)")
    parser.add_argument(
        "--break-only", action="store_true", help="inject and mend, without explaining (all there is yet)"
    )
    names = parser.parse_args().fault or list(CATALOGUE)
    unknown = [name for name in names if name not in CATALOGUE]
    if unknown:
        parser.error(f"no such fault: {', '.join(unknown)}")
    labs: Dict[str, Lab] = {}
    print(f"{'FAULT':27}{'SAYS':18}{'INJECT':>8}{'MEND':>8}  RESULT", flush=True)
    went: Counter[str] = Counter()
    try:
        for name in names:
            kind = kind_for(name)
            if kind not in labs:
                labs[kind] = make(f"drill-{kind}", **KINDS[kind])
            went[_one(name, labs[kind])] += 1
    finally:
        for lab in labs.values():
            lab.close()
    print(f"{went['well']} injected and mended, {went['absent']} not to be had here, {went['wrong']} went wrong")
    return 1 if went["wrong"] else 0


def _one(name: str, lab: Lab) -> str:
    """``well``, ``absent`` or ``wrong``."""
    lacking = lab.lacking(name, NODE)
    if lacking:
        print(f"{name:27}{'':18}{'':>8}{'':>8}  not here: {lacking}", flush=True)
        return "absent"
    healthy = lab.states(NODE)
    said, times = "", [time.monotonic()]
    try:
        said = lab.inject(name, NODE).said
        times.append(time.monotonic())
        lab.mend(NODE)
        times.append(time.monotonic())
        left: List[str] = differences(healthy, lab.states(NODE))
    except PodwireError as error:
        left = [str(error)]
        lab.mend(NODE)
    spent = [f"{after - before:7.2f}s" for before, after in zip(times, times[1:])] + [""] * (3 - len(times))
    print(f"{name:27}{said:18}{spent[0]:>8}{spent[1]:>8}  {'; '.join(left) or 'ok'}", flush=True)
    return "wrong" if left else "well"


if __name__ == "__main__":
    sys.exit(main())
