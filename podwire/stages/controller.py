"""The stages that run once, on the controller: declare, lab; and the way from there into a node."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ..errors import LabError
from ..intent.cluster import Cluster
from ..intent.cluster_json import cluster_to_json
from ..intent.ids import cluster_id
from ..intent.inventory import read
from ..intent.leases import Record, record_of
from ..json_files import read_json, write_json
from ..kernel import enter
from ..lab import docker, netns, registry
from ..lab.image import Image
from ..lab.registry import node_pid, plugin_dir, state_dir
from ..preflight.finding import NOT_RUN, Finding
from ..report import source_locations as report_origins
from . import Answer, Options, answer, differs
from .node import STAGES, imagine, install_plugins


def declare(
    hosts: Mapping[str, Mapping[str, Any]],
    facts: Mapping[str, Mapping[str, Any]],
    source: str,
    places: Mapping[Tuple[str, str], str],
    scratch: str,
    check: bool,
    leaving: Sequence[str] = (),
    lost: Sequence[str] = (),
) -> Answer:
    """Read the intent and remember what it gave each node.

    Hosts that are ``lost`` were not reached, and what the intent says of their interfaces is not remembered.
    Nodes that are ``leaving`` are not in the intent that this gives, nor are their pods; their leases stay theirs.

    Returns ``intent`` (a path in ``scratch``, which Ansible removes at its end), ``results`` (the
    directory for what the run finds out), ``began`` (Unix time), ``only_netns`` (whether all nodes are) and
    ``discovered`` (whether the pods are).
    IntentError; LabError without root.
    """
    began = time.time()
    directory = state_dir(cluster_id(source))
    stored = read_json(os.path.join(directory, "record.json"))
    earlier = None if stored is None else Record.from_json(stored)
    known = _known_faults(hosts)
    cluster = read(hosts, source=source, record=earlier, origins=places, facts=facts, faults=known, lost=lost)
    if not check and os.geteuid() != 0 and any(node.kind != "ssh" for node in cluster.nodes):
        raise LabError(f"failed to build lab {cluster.id}: needs root", "run: sudo ./run site")
    record = record_of(cluster, earlier)
    guessed = set(lost).difference(earlier.external if earlier else ())
    record = replace(record, external={name: each for name, each in record.external.items() if name not in guessed})
    if not check and record.to_json() != stored:
        os.makedirs(directory, exist_ok=True)
        write_json(os.path.join(directory, "record.json"), record.to_json())
    if leaving:
        cluster = _without(cluster, leaving)
    intent = os.path.join(scratch, f"{cluster.id}{'-less' if leaving else ''}.json")
    write_json(intent, cluster_to_json(cluster))
    write_json(_origins_path(intent), report_origins.pack(places))
    before, after = _given(earlier), _given(record)
    lines = [f"- {each}" for each in before if each not in after]
    lines += [f"+ {each}" for each in after if each not in before]
    results = os.path.join(directory, "results")
    only_netns = all(node.kind == "netns" for node in cluster.nodes)
    told = {"intent": intent, "results": results, "began": began, "only_netns": only_netns}
    told["discovered"] = cluster.discovered
    return {**differs(lines, f"subnet leases of {cluster.id}"), **told}


def _origins_path(intent: str) -> str:
    """Where ``declare`` keeps the lines that the intent comes from: beside it."""
    return f"{os.path.splitext(intent)[0]}.origins.json"


def origins(intent: str, source: str, cluster: Cluster) -> report_origins.Origins:
    """The lines that the cluster of ``declare`` comes from, for the report. Empty where nobody kept them."""
    packed = read_json(_origins_path(intent)) or {}
    return report_origins.unpack(packed, source, [node.name for node in cluster.nodes])


def _without(cluster: Cluster, leaving: Sequence[str]) -> Cluster:
    nodes = tuple(node for node in cluster.nodes if node.name not in leaving)
    if not nodes:
        raise LabError("failed to leave: no node would be left", "remove the whole cluster: ./run reset")
    return replace(cluster, nodes=nodes, pods=tuple(pod for pod in cluster.pods if pod.node not in leaving))


def plugins(cluster: Cluster, check: bool) -> Answer:
    """Install the CNI plugins that the lab's nodes show in /opt/cni/bin: once for all of them."""
    return install_plugins(plugin_dir(cluster.id), check=check)


def lab(
    cluster: Cluster, hosts: Sequence[str], image: Image, check: bool, tell: Callable[[str], None] = lambda _: None
) -> Answer:
    """Make the lab's nodes and underlay, and before them the CNI plugins that nodes of kind netns see; ``hosts`` are
    those that this run is limited to, ``image`` is what nodes of kind docker run; ``tell`` see docker.present."""
    kinds = {node.kind for node in cluster.nodes}
    if kinds == {"ssh"}:
        if not check:
            registry.write_intent(cluster.id, cluster_to_json(cluster))
        return {"changed": False}
    before: Answer = plugins(cluster, check) if "netns" in kinds else {"changed": False, "diff": []}
    limit = None if {node.name for node in cluster.nodes} <= set(hosts) else set(hosts)
    lines = netns.present(cluster, limit=limit, check=check).lines
    lines += docker.present(cluster, limit=limit, check=check, image=image, tell=tell).lines
    done = differs(lines, f"lab {cluster.id}")
    return {"changed": before["changed"] or done["changed"], "diff": [*before["diff"], *done["diff"]]}


def remove(source: str, check: bool) -> Answer:
    """Remove what was made for the inventory at ``source``, also where that can no longer be read."""
    identity = cluster_id(source)
    lines = docker.absent(identity, check=check).lines + netns.absent(identity, check=check).lines
    return differs(lines, f"lab {identity}")


def leave(cluster: Cluster, names: Sequence[str], check: bool) -> Answer:
    """Remove a lab's nodes that leave; ``cluster`` is what stays."""
    lines = netns.leave(cluster, names, check=check).lines + docker.leave(cluster, names, check=check).lines
    return differs(lines, f"lab {cluster.id}")


def together(cluster: Cluster, names: Sequence[str], options: Options, check: bool) -> Answer:
    """Converge the own network of many netns nodes in one call. One that fails does not keep the others from it."""
    from ..agent import apply  # noqa: F401  here once, instead of in each of the processes that enter a node

    changed, diff, errors = [], [], []
    answers = enter.spread(lambda name: answer(visit, cluster, "node", name, options, check), names)
    for name, answered in zip(names, answers):
        if answered.get("failed"):
            errors.append(f"{name}: {answered['msg']}")
        elif answered["changed"]:
            changed.append(name)
            diff += answered.get("diff", [])
    told: Answer = {"changed": bool(changed), "diff": diff, "nodes": changed}
    return {**told, "failed": True, "msg": "\n".join(errors)} if errors else told


def visit(
    cluster: Cluster, stage: str, node: str, options: Options, check: bool, hear: Optional[Callable[..., None]] = None
) -> Answer:
    """Run a stage inside a netns node. ``hear`` is called with how far a long one is: checks started, of how many."""
    pid = node_pid(cluster.id, node)
    if pid is not None:
        return enter.call(pid, _stage, stage, cluster, node, options, check, hear=hear or _deaf)
    return not_running(cluster, stage, node, options, check)


def not_running(cluster: Cluster, stage: str, node: str, options: Options, check: bool) -> Answer:
    """What a stage says of a lab's node that does not run. LabError for those that need it to."""
    if stage == "preflight":
        return _not_there(options)
    if check:
        return imagine(stage, cluster, node)
    build = f"build the lab first: sudo ./run site{options.get('which', '')}"
    raise LabError(f"failed to enter node {node}: it is not running", build)


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


def _not_there(options: Options) -> Answer:
    """What preflight finds of a lab's node that is not made yet: nothing can be in its way."""
    if options["step"] != "listen":
        return {"changed": False}
    found = Finding(NOT_RUN, "node", "it is not there yet", "./run site makes it")
    told = {"run": str(options["run"]), "findings": [found], "clock": time.time(), "machine_id": ""}
    return {"changed": False, "findings": told}


def keep(answered: Answer, results: str, node: str) -> Answer:
    """Store what a node told: its pods' addresses for the other nodes' probes, and its observations, which are
    too much for Ansible to carry about. Gives the answer to pass on. LabError where they cannot be stored."""
    for kind in ("pods", "found", "observations", "evidence", "looks", "findings", "heard"):
        if kind in answered:
            path = os.path.join(results, kind, f"{node}.json")
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                write_json(path, answered[kind])
            except OSError as error:
                raise LabError(f"failed to store what {node} told in {path}: {error.strerror}") from error
            answered = {**answered, kind: path}
    return answered


def kept(kind: str, results: str, cluster: Cluster) -> Dict[str, Any]:
    """What ``keep`` stored, by node; nodes that told nothing are missing."""
    found = {node.name: read_json(os.path.join(results, kind, f"{node.name}.json")) for node in cluster.nodes}
    return {node: told for node, told in found.items() if told is not None}


def _known_faults(hosts: Mapping[str, Mapping[str, Any]]) -> Optional[Dict[str, Sequence[str]]]:
    """The catalogue's names and what each takes, where any fault is declared."""
    if all(variables.get("faults") is None for variables in hosts.values()):
        return None
    from ..faults.catalogue import CATALOGUE

    return {name: fault.parameters for name, fault in CATALOGUE.items()}


def _given(record: Optional[Record]) -> List[str]:
    """What a record says, a line each: leases that were handed out, external interfaces that were found."""
    if record is None:
        return []
    lines = [f"lease {node} {' '.join(map(str, cidrs))}" for node, cidrs in sorted(record.pod_cidrs.items())]
    return lines + [f"external interface of {node}: {each}" for node, each in sorted(record.external.items())]
