"""Nodes of kind netns: made, found again and removed, all of a lab in one call.

Every namespace is held by one process (see holder.py); the registry knows them. The underlay is one
converge over the namespaces of the switch, the routers and the nodes.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import AbstractSet, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..converge import Target, converge
from ..errors import LabError
from ..intent import underlay
from ..intent.cluster import Cluster
from ..intent.cluster_json import cluster_to_json
from ..kernel import Namespace, execute
from ..kernel.sysctls import sysctl_exists
from ..model.objects import Link
from ..model.state import EMPTY, State
from ..plan import REMOVE, Operation, plan
from ..sandbox.process import Process, kill
from ..sandbox.spawn import spawned
from . import registry
from .hosts import name_nodes
from .registry import Lab


class LabOutcome(NamedTuple):
    """What was done, or in check mode would be: one line each, such as ``node-1: + route ...``."""

    lines: Tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return bool(self.lines)


def present(cluster: Cluster, *, limit: Optional[AbstractSet[str]] = None, check: bool = False) -> LabOutcome:
    """Have the cluster's netns nodes run on their underlay, and no others.

    With ``limit`` other nodes stay as they are, also those that are no longer declared. Safe to
    repeat; a node that died is made anew alone. LabError, KernelError; after an error everything
    that was made is recorded, for the next run or ``absent`` to find.
    """
    states = underlay.desired(cluster)
    lab = registry.read(cluster.id)
    if not states and not (lab and lab.processes):
        return LabOutcome(())
    if not check or (lab and lab.running()):  # a lab that is not there can be imagined by anybody
        require_root(f"build lab {cluster.id}")
    if limit is not None:
        states = underlay.limited(cluster, states, limit)
    if check:
        return _check(cluster, states, whole=limit is None)
    with registry.locked(cluster.id):
        return _present(cluster, states, whole=limit is None)


def absent(cluster_id: str, *, check: bool = False) -> LabOutcome:
    """Remove a lab: its processes with all they held, and its records. Nothing there is success."""
    lab = registry.read(cluster_id) or Lab(cluster_id, {})
    lines = [f"- {_word(name)} (process {process.pid})" for name, process in lab.running().items()]
    directories = (registry.run_dir(cluster_id), registry.state_dir(cluster_id))
    lines += [f"- {path}" for path in directories if os.path.isdir(path)]
    if lines and not check:
        if not all(os.access(os.path.dirname(path), os.W_OK) for path in directories if os.path.isdir(path)):
            require_root(f"remove lab {cluster_id}")
        with registry.locked(cluster_id):
            kill((registry.read(cluster_id) or lab).processes.values())
            registry.remove(cluster_id)
    return LabOutcome(tuple(lines))


def leave(cluster: Cluster, names: Sequence[str], *, check: bool = False) -> LabOutcome:
    """Remove single nodes with all they hold; ``cluster`` is what stays. Their ports on the switch go with them."""
    lab = registry.read(cluster.id) or Lab(cluster.id, {})
    running = lab.running()
    leaving = [name for name in names if name in running]
    lines = [f"- {_word(name)}" for name in leaving]
    if check or not leaving:
        return LabOutcome(tuple(lines))
    require_root(f"remove nodes of lab {cluster.id}")
    with registry.locked(cluster.id):
        kill(running.pop(name) for name in leaving)
        registry.write(Lab(cluster.id, running))
        lines += name_nodes(cluster, _node_pids(running, running), check=False)
        registry.write_intent(cluster.id, cluster_to_json(cluster))
    return LabOutcome(tuple(lines))


def _present(cluster: Cluster, states: Mapping[str, State], whole: bool) -> LabOutcome:
    running, missing, surplus = _compare(cluster.id, states, whole)
    lines = [f"- {_word(name)}" for name in surplus] + [f"+ {_word(name)}" for name in missing]
    if surplus:
        kill(running.pop(name) for name in surplus)
        registry.write(Lab(cluster.id, running))
    if missing:
        running.update(_start(cluster.id, running, missing))
    with ExitStack() as stack:
        namespaces = {
            name: stack.enter_context(Namespace.open(f"/proc/{running[name].pid}/ns/net", name)) for name in states
        }
        _clear_halves(cluster, namespaces, missing)
        targets = _targets(namespaces, states, whole)
        lines += [f"{name}: {operation}" for name, operation in converge(targets).operations]
    lines += name_nodes(cluster, _node_pids(running if missing else states, running), check=False)
    if registry.intent(cluster.id) != cluster_to_json(cluster):
        registry.write_intent(cluster.id, cluster_to_json(cluster))
    return LabOutcome(tuple(lines))


def _check(cluster: Cluster, states: Mapping[str, State], whole: bool) -> LabOutcome:
    running, missing, surplus = _compare(cluster.id, states, whole)
    lines = [f"- {_word(name)}" for name in surplus] + [f"+ {_word(name)}" for name in missing]
    with ExitStack() as stack:
        namespaces = {
            name: stack.enter_context(Namespace.open(f"/proc/{running[name].pid}/ns/net", name))
            for name in states
            if name in running
        }
        lines += [
            f"{name}: {each}" for name, each in converge(_targets(namespaces, states, whole), check=True).operations
        ]
    lines += [f"{name}: {each}" for name in missing for each in plan(states[name], EMPTY)]
    named = name_nodes(cluster, _node_pids(running if missing else states, running), check=True)
    return LabOutcome(tuple(lines + named))


def _compare(
    cluster_id: str, states: Mapping[str, State], whole: bool
) -> Tuple[Dict[str, Process], List[str], List[str]]:
    """(what runs, names to make, names to remove)."""
    lab = registry.read(cluster_id) or Lab(cluster_id, {})
    running = lab.running()
    missing = [name for name in states if name not in running]
    return running, missing, [name for name in running if name not in states] if whole else []


def _start(cluster_id: str, running: Mapping[str, Process], names: Sequence[str]) -> Dict[str, Process]:
    """One holder a name; recorded before any of them may stay."""
    plugins = registry.plugin_dir(cluster_id)
    shown = plugins if os.path.isdir(plugins) else ""
    requests = [
        {"name": name.rpartition(" ")[2], "files": not underlay.is_infrastructure(name), "plugins": shown}
        for name in names
    ]
    with spawned("podwire.lab.holder", cluster_id, requests) as pids:
        started = {name: Process.of(pid) for name, pid in zip(names, pids)}
        registry.write(Lab(cluster_id, {**running, **started}))
    return started


def _clear_halves(cluster: Cluster, namespaces: Mapping[str, Namespace], fresh: Sequence[str]) -> None:
    """Remove what is left of veth pairs whose other end was in a namespace that died.

    The kernel does so by itself, but some time after the process is gone (cleanup_net): a dump may
    still show the device, and the plan would take it for a good one.
    """
    steps = []
    for pair in underlay.pairs(cluster):
        ends = ((underlay.SWITCH, pair.port), (pair.name, pair.device))
        for (name, device), (other, _) in (ends, ends[::-1]):
            if other in fresh and name not in fresh and name in namespaces:
                steps.append((namespaces[name], Operation(REMOVE, Link(device, "veth"))))
    if steps:
        execute(sorted(steps, key=lambda step: step[0].name), namespaces)


def _targets(namespaces: Mapping[str, Namespace], states: Mapping[str, State], whole: bool) -> List[Target]:
    targets = []
    for name, namespace in namespaces.items():
        state = states[name]
        if name == underlay.SWITCH and sysctl_exists("net/bridge", namespace):
            state = underlay.without_bridge_netfilter(state)
        targets.append(Target(namespace, state, underlay.scope(state, whole=whole or name != underlay.SWITCH)))
    return targets


def _node_pids(names: Iterable[str], running: Mapping[str, Process]) -> Dict[str, int]:
    return {name: running[name].pid for name in names if name in running and not underlay.is_infrastructure(name)}


def _word(name: str) -> str:
    return name if underlay.is_infrastructure(name) else f"node {name}"


def require_root(doing: str) -> None:
    """LabError for everybody else."""
    if os.geteuid() != 0:
        raise LabError(f"failed to {doing}: this needs root", "run it by sudo")
