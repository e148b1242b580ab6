"""Proving 1,000 pods on 10 nodes, against fping in every sandbox; and what verify.yml costs beyond Ansible itself."""

from __future__ import annotations

import json
import shutil
import sys
import time
from typing import Any, Dict, List

from .measure import ROOT, NotRun, in_room, measured, middle, python, run
from .report import Row

NODES, EACH = 10, 100
INTENT = "/run/intent"
#: Sandboxes that fping runs in; the rest is extrapolated.
SAMPLE = 4
NOTHING = "- hosts: all\n  gather_facts: false\n  tasks: [{ansible.builtin.meta: noop}]\n"


def bench(runs: int) -> List[Row]:
    """One lab of 1,000 pods a run: it takes longer to build than to prove."""
    rounds = [in_room(_round) for _ in range(max(1, runs // 5))]
    first = {key: [each[key] for each in rounds] for key in rounds[0]}
    every, classes = _middle(first["all"]), _middle(first["classes"])
    fping = sorted(first["fping"])[len(rounds) // 2] if rounds[0]["fping"] else None
    missing = "not run: apt-get install fping"
    note = f"peer: fping -c1 -i1 in every sandbox, extrapolated from {SAMPLE} of {NODES * EACH}" if fping else missing
    pairs = f"{every['pairs']:,} pairs"
    return [
        Row(f"{pairs}, all", ">= 20 x faster", every["probed"], fping, limit=20, faster=True, note=note),
        Row("  the same", "<= 120 s", every["probed"], limit=120, note=f"CPU {every['cpu']:.1f} s"),
        Row(
            f"{classes['pairs']:,} pairs that stand for them",
            "<= 5 s",
            classes["probed"],
            limit=5,
            note=f"CPU {classes['cpu']:.1f} s",
        ),
        Row("  largest prober", "<= 300 MB", max(every["memory"], classes["memory"]), unit="MB", limit=300),
        Row("  a sandbox in a snapshot", "<= 0.01 s", classes["snapshot"], limit=0.01),
        *verify(runs),
    ]


def _middle(samples: List[Dict[str, Any]]) -> Dict[str, Any]:
    return sorted(samples, key=lambda each: each["probed"])[len(samples) // 2]


def _round() -> Dict[str, Any]:
    python("-m", "tests.bench.thousand", "build", INTENT, str(NODES), str(EACH))
    found: Dict[str, Any] = {}
    for mode in ("classes", "all"):
        python("-m", "tests.bench.thousand", "prove", INTENT, mode)
        with open(f"{INTENT}.{mode}") as file:
            found[mode] = json.load(file)
        if found[mode]["failed"]:
            raise NotRun(f"{mode}: {', '.join(found[mode]['failed'])} failed")
    found["fping"] = _fping() if shutil.which("fping") else None
    return found


def _fping() -> float:
    """Seconds for all sandboxes one after another, as a sample of them has it."""
    with open(f"{INTENT}.addresses") as file:
        targets = [ips[0] for ips in json.load(file).values()]
    with open("/run/targets", "w") as file:
        file.write("\n".join(targets))
    pids = json.loads(run(sys.executable, "-m", "tests.bench.thousand", "sandboxes", INTENT, str(SAMPLE)))
    began = time.monotonic()
    for pid in pids:
        measured("nsenter", "--net", "--target", str(pid), "fping", "-q", "-c1", "-i1", "-f", "/run/targets")
    return (time.monotonic() - began) / SAMPLE * NODES * EACH


def verify(runs: int) -> List[Row]:
    """verify.yml on the lab of three nodes, less a playbook that does nothing."""
    return in_room(_verify, runs)


def _verify(runs: int) -> List[Row]:
    environment = {"ANSIBLE_CONFIG": f"{ROOT}/ansible.cfg", "ANSIBLE_NOCOLOR": "1"}
    command = [sys.executable, "-m", "ansible", "playbook", "-i", f"{ROOT}/inventories/lab"]
    with open("/run/nothing.yml", "w") as file:
        file.write(NOTHING)
    measured(*command, f"{ROOT}/site.yml", environment=environment)
    ours = []
    bare = []
    for _ in range(runs):
        ours.append(measured(*command, f"{ROOT}/playbooks/verify.yml", environment=environment))
        bare.append(measured(*command, "/run/nothing.yml", environment=environment))
    took, start = middle(ours), middle(bare)
    note = f"verify.yml takes {took.wall:.1f} s, a playbook that does nothing {start.wall:.1f} s"
    return [Row("verify.yml, lab, beyond Ansible's start", "<= 4 s", took.wall - start.wall, limit=4, note=note)]
