"""``./run bench [WORK...]``: the speed bars, each side by side with its peer in one run.

Every side is a whole process from start to end, in a room of its own; the sides take turns (A B A
B), and the table shows medians. Nothing stays behind.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from typing import Callable, Dict, List

from . import cni, nodes, peers, pods, prove, site
from .measure import NotRun
from .report import Row, table

WORKS: Dict[str, Callable[[int], List[Row]]] = {
    "lab": site.lab,
    "scale": site.scale,
    "nodes": nodes.bench,
    "peers": peers.bench,
    "many-peers": peers.bench_many,
    "pods": pods.bench,
    "cni": cni.bench,
    "prove": prove.bench,
}


def main() -> int:
    """0 if every bar that was measured is met, 1 if not."""
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument("work", nargs="*", choices=[[], *WORKS], help="default: all")
    parser.add_argument("--runs", type=int, default=5, help="runs of each side (default %(default)s)")
    parser.add_argument("--json", default="bench.json", help="where to write the numbers (default %(default)s)")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        print("podwire: failed to bench: needs root; run: sudo ./run bench", file=sys.stderr)
        return 2
    rows: List[Row] = []
    for name in arguments.work or WORKS:
        print(f"podwire: measuring {name}", file=sys.stderr, flush=True)
        try:
            rows += WORKS[name](arguments.runs)
        except NotRun as error:
            rows.append(Row(name, "", note=str(error)))
    print(table(rows))
    where = f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}, {_commit()}"
    print(f"\nmedians of {arguments.runs} runs a side, in turns; {where}; load {os.getloadavg()[0]:.1f}")
    with open(arguments.json, "w") as file:
        json.dump({"where": where, "runs": arguments.runs, "rows": [row.as_json() for row in rows]}, file, indent=2)
    return any(row.verdict == "MISSED" for row in rows)


def _commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip() or "no commit"


if __name__ == "__main__":
    sys.exit(main())
