"""Thousands of VXLAN peers on one node, against ``ip -batch`` and ``bridge -batch`` of the same objects."""

from __future__ import annotations

import json
import os
import shlex
from typing import List

from .fleet import UNDERLAY
from .measure import NotRun, Sample, in_room, measured, middle, python, run
from .report import Row

NODE_MODULE = "modules/podwire_node.py"
#: Ansible brings plugins/module_utils along with a module.
_AS_ANSIBLE = (
    "import runpy, sys; import ansible.module_utils as utils; utils.__path__.append('plugins/module_utils'); "
    "sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"
)
#: First room, then set-up: intents and batches are as good as given.
FILES = "/run/fleet"


def bench(runs: int) -> List[Row]:
    """5,000 peers: from nothing, unchanged, one changed; memory."""
    ours: List[Sample] = []
    same: List[Sample] = []
    plain: List[Sample] = []
    bare: List[Sample] = []
    for _ in range(runs):
        bare.append(in_room(library, 5_001))
        ours.append(in_room(fresh, 5_001))
        same.append(in_room(batch, 5_001))
        plain.append(in_room(plain_batch, 5_001))
    made, theirs, plainly = middle(ours), middle(same), middle(plain)
    unchanged, changed = in_room(again, 5_001, runs)
    peak = max(sample.memory for sample in (*ours, *unchanged, *changed))
    nothing, one = middle(unchanged), middle(changed)
    return [
        Row("5,000 VXLAN peers from nothing", "<= 1.3 x", made.wall, theirs.wall, limit=1.3, relative=True,
            note="peer: ip -batch + bridge -batch, same objects"),
        Row("  CPU of it", "", made.cpu, theirs.cpu),
        Row("  CPU of it without Ansible's module code", "", middle(bare).cpu, theirs.cpu),
        Row("  against plain routes in the batch", "", made.wall, plainly.wall, note="peer: no next-hop objects"),
        Row("5,000 peers, nothing to change: CPU", "<= 0.5 s", nothing.cpu, limit=0.5,
            note=f"whole process, wall {nothing.wall:.2f} s"),
        Row("5,000 peers, one changed: CPU", "<= 1.10 x", one.cpu, nothing.cpu, limit=1.10, relative=True,
            note="peer: podwire with nothing to change"),
        Row("5,000 peers, peak memory", "<= 150 MB", peak, unit="MB", limit=150),
    ]  # fmt: skip


def bench_many(runs: int) -> List[Row]:
    """20,000 peers against plain routes."""
    ours: List[Sample] = []
    same: List[Sample] = []
    plain: List[Sample] = []
    for turn in range(max(1, runs // 2)):
        ours.append(in_room(fresh, 20_001))
        same.append(in_room(batch, 20_001))
        if turn == 0 or middle(plain).wall < 20:  # it takes most of a minute
            plain.append(in_room(plain_batch, 20_001))
    made, theirs, plainly = middle(ours), middle(same), middle(plain)
    return [
        Row("20,000 VXLAN peers from nothing", ">= 5 x faster", made.wall, plainly.wall, limit=5, faster=True,
            note=f"peer: plain routes through ip -batch, {len(plain)} run(s)"),
        Row("  CPU of it", "", made.cpu, plainly.cpu, faster=True),
        Row("  against the same objects in batches", "", made.wall, theirs.wall),
        Row("  peak memory", "", made.memory, unit="MB"),
    ]  # fmt: skip


def _prepare(size: int) -> None:
    """An external interface with the node's address, and the fleet's files."""
    address = ".".join(map(str, UNDERLAY.to_bytes(4, "big")))
    lines = [
        "link add eth0 type veth peer name wire",
        "link set wire up",
        "link set eth0 up",
        f"address add {address}/12 dev eth0",
    ]
    run("ip", "-batch", "-", stdin="\n".join(lines))
    os.mkdir(FILES)
    python("-m", "tests.bench.fleet", FILES, str(size))


def _converge(intent: str) -> Sample:
    """The real module, as a node runs it, with its arguments in a file."""
    arguments = os.path.join(FILES, intent + ".json")
    with open(arguments, "w") as file:
        json.dump({"ANSIBLE_MODULE_ARGS": {"intent": os.path.join(FILES, intent), "node": "node0"}}, file)
    return python("-c", _AS_ANSIBLE, NODE_MODULE, arguments)


def fresh(size: int) -> Sample:
    """podwire from nothing."""
    _prepare(size)
    sample = _converge("same")
    _check(size - 1)
    return sample


def library(size: int) -> Sample:
    """The same work in a process that does not import Ansible."""
    _prepare(size)
    sample = python("-m", "tests.bench.drive", "converge", os.path.join(FILES, "same"))
    _check(size - 1)
    return sample


def again(size: int, runs: int) -> tuple[list[Sample], list[Sample]]:
    """(nothing to change, one peer changed), in turns."""
    _prepare(size)
    _converge("same")
    unchanged, changed = [], []
    for turn in range(2 * runs):
        intent = ("changed", "same")[turn % 2]
        changed.append(_converge(intent))
        unchanged.append(_converge(intent))
    _check(size - 1)
    return unchanged, changed


def batch(size: int) -> Sample:
    """iproute2, the same objects."""
    return _batches(size, "ip")


def plain_batch(size: int) -> Sample:
    """iproute2, one route a peer by its gateway."""
    return _batches(size, "plain")


def _batches(size: int, name: str) -> Sample:
    _prepare(size)
    ip, bridge = (shlex.quote(os.path.join(FILES, each)) for each in (name, "bridge"))
    sample = measured("sh", "-c", f"ip -batch {ip} && bridge -batch {bridge}")
    _check(size - 1)
    return sample


def _check(peers: int) -> None:
    """Both sides did the whole work."""
    found = {
        "routes": len(run("ip", "route", "show", "proto", "112").splitlines()),
        "neighbours": len(run("ip", "neigh", "show", "dev", "flannel.1", "nud", "permanent").splitlines()),
        "FDB entries": len(run("bridge", "fdb", "show", "dev", "flannel.1").splitlines()),
    }
    for what, number in found.items():
        if number != peers:
            raise NotRun(f"{number} {what} instead of {peers}")
