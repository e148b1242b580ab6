"""50 nodes up with their underlay, against Mininet with 50 hosts on one Linux bridge."""

from __future__ import annotations

import json
import os
import shutil
from typing import List

from .measure import NotRun, Sample, in_room, measured, middle, python, run
from .report import Row

NODES = 50
INTENT = "/run/intent"
MININET = os.path.join(os.path.dirname(__file__), "mininet_hosts.py")
#: Debian's packages install for Debian's interpreter.
DEBIAN_PYTHON = "/usr/bin/python3"


def bench(runs: int) -> List[Row]:
    """Both as whole processes."""
    missing = [tool for tool in ("mnexec", "brctl") if shutil.which(tool) is None]
    ours: List[Sample] = []
    theirs: List[Sample] = []
    for _ in range(runs):
        ours.append(in_room(podwire_nodes))
        if not missing:
            theirs.append(in_room(mininet_hosts))
    peer = middle(theirs).wall if theirs else None
    note = f"not run: {', '.join(missing)} (apt-get install mininet bridge-utils)" if missing else "peer: Mininet 2.3"
    made = middle(ours)
    return [
        Row(f"{NODES} netns nodes with underlay", "<= 3 x", made.wall, peer, limit=3, relative=True, note=note),
        Row("  CPU of it", "", made.cpu, middle(theirs).cpu if theirs else None),
    ]


def podwire_nodes() -> Sample:
    """One call, lab.netns.present; then the first node reaches the last."""
    python("-m", "tests.bench.drive", "intent", INTENT, str(NODES))
    sample = python("-m", "tests.bench.drive", "nodes", INTENT)
    python("-m", "tests.bench.drive", "pids", INTENT)
    with open(f"{INTENT}.pids") as file:
        pids = json.load(file)
    if len(pids) != NODES:
        raise NotRun(f"{len(pids)} nodes instead of {NODES}")
    run("nsenter", "--net", "--target", str(pids[0]), "fping", "-c1", "-t5000", f"172.16.0.{NODES}")
    return sample


def mininet_hosts() -> Sample:
    """Mininet's own API with its Linux bridge and no controller. Its cgroups and sysctls stay off limits."""
    os.mkdir("/run/mininet")
    measured(DEBIAN_PYTHON, MININET, "2", "check")
    return measured(DEBIAN_PYTHON, MININET, str(NODES))
