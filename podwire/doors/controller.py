"""The stages that run once, on the controller: declare, lab; and the way from there into a node."""

from __future__ import annotations

import json
import os
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ..cluster import Cluster
from ..cluster_id import cluster_id
from ..errors import LabError
from ..intent_json import cluster_to_json
from ..inventory import read
from ..lab import enter, netns
from ..lab.registry import node_pid, plugin_dir, state_dir, write_json
from ..lease import Record, record_of
from . import Answer, Options, differs
from .node import STAGES, imagine, install_plugins


def declare(
    hosts: Mapping[str, Mapping[str, Any]],
    source: str,
    origins: Mapping[Tuple[str, str], str],
    scratch: str,
    check: bool,
) -> Answer:
    """Read the intent and remember what it gave each node.

    Returns ``intent`` (a path in ``scratch``, which Ansible removes at its end), ``results`` (the
    directory for what the run finds out), ``began`` (Unix time), ``only_netns`` (whether all nodes are) and
    ``discovered`` (whether the pods are).
    IntentError; LabError without root.
    """
    began = time.time()
    directory = state_dir(cluster_id(source))
    stored = _load(os.path.join(directory, "record.json"))
    earlier = None if stored is None else Record.from_json(stored)
    cluster = read(hosts, source=source, record=earlier, origins=origins, faults=_fault_names(hosts))
    if not check and os.geteuid() != 0 and any(node.kind == "netns" for node in cluster.nodes):
        raise LabError(f"failed to build lab {cluster.id}: needs root", "run: sudo ./run site")
    record = record_of(cluster, earlier)
    if not check and record.to_json() != stored:
        os.makedirs(directory, exist_ok=True)
        write_json(os.path.join(directory, "record.json"), record.to_json())
    intent = os.path.join(scratch, f"{cluster.id}.json")
    write_json(intent, cluster_to_json(cluster))
    before, after = _leases(earlier), _leases(record)
    lines = [f"- {lease}" for lease in before if lease not in after]
    lines += [f"+ {lease}" for lease in after if lease not in before]
    results = os.path.join(directory, "results")
    only_netns = all(node.kind == "netns" for node in cluster.nodes)
    told = {"intent": intent, "results": results, "began": began, "only_netns": only_netns}
    told["discovered"] = cluster.discovered
    return {**differs(lines, f"subnet leases of {cluster.id}"), **told}


def plugins(cluster: Cluster, check: bool) -> Answer:
    """Install the CNI plugins that the lab's nodes show in /opt/cni/bin: once for all of them."""
    return install_plugins(plugin_dir(cluster.id), check=check)


def lab(cluster: Cluster, hosts: Sequence[str], check: bool) -> Answer:
    """Make the lab's nodes and underlay; ``hosts`` are those that this run is limited to."""
    limit = None if {node.name for node in cluster.nodes} <= set(hosts) else set(hosts)
    outcome = netns.present(cluster, limit=limit, check=check)
    return differs(outcome.lines, f"lab {cluster.id}")


def remove(source: str, check: bool) -> Answer:
    """Remove what was made for the inventory at ``source``, also where that can no longer be read."""
    identity = cluster_id(source)
    return differs(netns.absent(identity, check=check).lines, f"lab {identity}")


def visit(
    cluster: Cluster, stage: str, node: str, options: Options, check: bool, hear: Optional[Callable[..., None]] = None
) -> Answer:
    """Run a stage inside a netns node. ``hear`` is called with how far a long one is: checks started, of how many."""
    pid = node_pid(cluster.id, node)
    if pid is not None:
        return enter.call(pid, _stage, stage, cluster, node, options, check, hear=hear or _deaf)
    if check:
        return imagine(stage, cluster, node)
    raise LabError(f"failed to enter node {node}: it is not running", "build the lab first: sudo ./run site")


def _stage(stage: str, cluster: Cluster, node: str, options: Options, check: bool, tell: Callable[..., None]) -> Answer:
    return STAGES[stage](cluster, node, {**options, "tell": Seldom(tell)}, check)


def _deaf(*_: object) -> None:
    """For who does not want to hear how far it is."""


class Seldom:
    """Calls on at most every ``EVERY`` seconds, and not in the first ones: most runs are over by then."""

    EVERY = 3.0

    def __init__(self, tell: Callable[..., None]) -> None:
        self._tell = tell
        self._next = time.monotonic() + self.EVERY

    def __call__(self, *told: Any) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self.EVERY
            self._tell(*told)


def keep(answered: Answer, results: str, node: str) -> Answer:
    """Store what a node told: its pods' addresses for the other nodes' probes, and its observations, which are
    too much for Ansible to carry about. Gives the answer to pass on."""
    for kind in ("pods", "found", "observations", "evidence"):
        if kind in answered:
            path = os.path.join(results, kind, f"{node}.json")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_json(path, answered[kind])
            answered = {**answered, kind: path}
    return answered


def kept(kind: str, results: str, cluster: Cluster) -> Dict[str, Any]:
    """What ``keep`` stored, by node; nodes that told nothing are missing."""
    found = {node.name: _load(os.path.join(results, kind, f"{node.name}.json")) for node in cluster.nodes}
    return {node: told for node, told in found.items() if told is not None}


def _fault_names(hosts: Mapping[str, Mapping[str, Any]]) -> Optional[List[str]]:
    """The catalogue's names, where any fault is declared."""
    if all(variables.get("faults") is None for variables in hosts.values()):
        return None
    from ..faults.catalogue import CATALOGUE

    return list(CATALOGUE)


def _leases(record: Optional[Record]) -> List[str]:
    blocks = record.pod_cidrs if record else {}
    return [f"lease {node} {' '.join(map(str, cidrs))}" for node, cidrs in sorted(blocks.items())]


def _load(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None
