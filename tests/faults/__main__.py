"""``./run drill``: every fault in labs of its own, injected, explained, and mended by what the explanation says."""

from __future__ import annotations

import argparse
import sys
import time
from random import Random
from typing import Dict, List

from podwire.errors import PodwireError
from podwire.faults.catalogue import CATALOGUE

from .labs import KINDS, Lab, differences, kind_for, make, names

NODE = "node-1"


def main() -> int:
    """Run the drill; 1 if any fault was not explained, or not mended by what the explanation said."""
    parser = argparse.ArgumentParser(prog="./run drill", description=__doc__)
    parser.add_argument("fault", nargs="*", help="these only (default: all)")
    parser.add_argument(
        "--pairs", metavar="N", type=int, default=0, help="then N pairs of faults at once, on two nodes"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the pairs (default: %(default)s)")
    given = parser.parse_args()
    chosen = given.fault or list(CATALOGUE)
    unknown = [name for name in chosen if name not in CATALOGUE]
    if unknown:
        parser.error(f"no such fault: {', '.join(unknown)}")
    labs: Dict[str, Lab] = {}

    def lab_for(name: str) -> Lab:
        kind = kind_for(name)
        if kind not in labs:
            labs[kind] = make(f"drill-{kind}", **KINDS[kind])
        return labs[kind]

    print(f"{'FAULT':27}{'CAUSE':8}{'OBJECT':8}{'FIX':8}{'SECONDS':>8}  WHAT WENT WRONG", flush=True)
    try:
        wrong = sum(not _one(name, lab_for(name)) for name in chosen)
        print(f"{len(chosen)} faults, {wrong} went wrong")
        missed = _pairs(lab_for("route_missing"), given.pairs, given.seed) if given.pairs else 0
    finally:
        for lab in labs.values():
            lab.close()
    return 1 if wrong or missed * 10 > given.pairs else 0


def _one(name: str, lab: Lab) -> bool:
    """Inject, explain, mend by what was explained; whether all of it went well."""
    lacking = lab.lacking(name, NODE)
    if lacking:
        print(f"{name:27}not here: {lacking}", flush=True)
        return True
    healthy = lab.states(NODE)
    cause = named = mends = False
    left: List[str] = []
    spent = 0.0
    try:
        expects = lab.inject(name, NODE).expects
        began = time.monotonic()
        found = lab.explain()
        spent = time.monotonic() - began
        first = found.causes[0] if found.causes else None
        cause = first is not None and first.id == name
        left += [f"{each.id} as well" for each in found.causes[1:]]
        left += [f"{len(found.unexplained)} pairs unexplained"] if found.unexplained else []
        if first is not None and expects is not None:
            named = names(first, expects)
            said = lab.execute(first)
            after = lab.explain()
            left += [said] if said else []
            mends = not said and not after.causes and not after.failing
        lab.mend(NODE)
        left += differences(healthy, lab.states(NODE))
    except PodwireError as error:
        left.append(str(error))
        lab.mend(NODE)
    words = "".join(f"{'yes' if each else 'NO':8}" for each in (cause, named, mends))
    print(f"{name:27}{words}{spent:7.1f}s  {'; '.join(left)}", flush=True)
    return cause and named and mends and not left


def _pairs(lab: Lab, count: int, seed: int) -> int:
    """Two faults at once, on two nodes and drawn at random; how many pairs were not both named."""
    random = Random(seed)
    possible = [
        name for name in CATALOGUE if kind_for(name) == kind_for("route_missing") and not lab.lacking(name, NODE)
    ]
    missed = 0
    for _ in range(count):
        pair = dict(zip((NODE, "node-2"), random.sample(possible, 2)))
        injected: List[str] = []
        word = ""
        try:
            for node, name in pair.items():
                if not lab.lacking(name, node):
                    lab.inject(name, node, blind=True)
                    injected.append(name)
            ids = {each.id for each in lab.explain().causes}
            word = f"found {', '.join(sorted(ids))}" if not ids >= set(injected) else ""
        except PodwireError as error:
            word = str(error)
        finally:
            for node in pair:
                lab.mend(node)
        missed += bool(word)
        print(f"{' + '.join(pair.values()):55}{'NO' if word else 'yes':5}{word}", flush=True)
    print(f"{count} pairs, {missed} not both named")
    return missed


if __name__ == "__main__":
    sys.exit(main())
