"""Which faults a run is for, the list of all faults, and how the controller runs them inside a netns node."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, List, Mapping, Optional, Sequence, Tuple

from ...errors import FaultError
from ...faults.catalogue import CATALOGUE, named
from ...faults.document import TITLES
from ...faults.fault import LAYERS
from ...faults.places import MACHINE, UNDERLAY
from ...intent.cluster import Cluster, DeclaredFault
from ...intent.underlay import SWITCH
from ...kernel import Namespace, enter
from ...lab import registry
from .. import Options, Result
from ..faults import FUNCTIONS
from .nodes import not_running_error

LIST = "list"
#: How many names a hint has.
_FEW = 5


def selected(cluster: Cluster, options: Options, hosts: Sequence[str]) -> List[DeclaredFault]:
    """The faults that a run of ``hosts`` is for: the one named, or those that the inventory declares. FaultError."""
    name, node, wide = options.get("fault"), options.get("node"), bool(options.get("host_wide"))
    if not name:
        return _declared(cluster, node, wide, hosts)
    what = f"failed to inject {name}"
    fault = named(str(name))
    _check_name(what, "node", node, [member.name for member in cluster.nodes])
    for option in ("peer", "pod"):
        if options.get(option) and option not in fault.parameters:
            raise FaultError(f"{what}: it takes no {option}", f"leave out -e {option}=…")
    peer, pod = str(options.get("peer") or ""), str(options.get("pod") or "")
    if peer == node:
        raise FaultError(f"{what}: peer {peer} is the node itself", "name another node, or leave out -e peer=…")
    if peer:
        _check_name(what, "peer", peer, [member.name for member in cluster.nodes if member.name != node])
    nodes = {declared.name: declared.node for declared in cluster.pods}
    if pod in nodes and nodes[pod] != node:
        local = ", ".join(declared.name for declared in cluster.pods_of(str(node))[:_FEW]) or "no pod"
        raise FaultError(f"{what}: pod {pod} runs on {nodes[pod]}, not on {node}", f"{node} has {local}")
    if pod:
        _check_name(what, "pod", pod, [declared for declared in nodes if nodes[declared] == node])
    if node not in hosts:
        raise FaultError(f"{what}: {node} is none of the run's hosts", "leave out --limit")
    return [DeclaredFault(str(name), str(node), peer, pod, wide)]


def _declared(cluster: Cluster, node: Optional[str], wide: bool, hosts: Sequence[str]) -> List[DeclaredFault]:
    """The faults that the inventory declares, of ``hosts`` and of ``node``, if that is given."""
    if not cluster.faults:
        raise FaultError(
            "failed to inject faults: no fault is named, and the inventory declares none",
            "name one: -e fault=NAME -e node=NODE (-e fault=list shows all), or declare faults in the inventory",
        )
    faults = [fault for fault in cluster.faults if fault.node in hosts and node in (None, fault.node)]
    return [replace(fault, host_wide=fault.host_wide or wide) for fault in faults]


def selected_by(host: str, cluster: Cluster, options: Options, hosts: Sequence[str]) -> List[DeclaredFault]:
    """The same for one of ``hosts``: only the first reports what is wrong with the command line."""
    try:
        return selected(cluster, options, hosts)
    except FaultError:
        if host == hosts[0]:
            raise
        return []


def is_listed(host: str, options: Options, hosts: Sequence[str]) -> bool:
    """Whether a list is for a host: it is for the one named, or the first of ``hosts``. FaultError, on the first."""
    node = str(options.get("node") or hosts[0])
    if host == hosts[0]:
        _check_name("failed to list faults", "node", node, hosts)
    return node == host


def is_repaired(host: str, cluster: Cluster, options: Options, hosts: Sequence[str]) -> bool:
    """Whether a host is one to repair. FaultError, on the first of ``hosts``, for unknown names."""
    name, node = options.get("fault"), options.get("node")
    if host == hosts[0]:
        if name:
            named(str(name))
        if node:
            _check_name("failed to repair", "node", node, [member.name for member in cluster.nodes])
    return node in (None, "", host)


def _check_name(what: str, option: str, value: Optional[Any], known: Sequence[str]) -> None:
    """FaultError, with the nearest names or the first, if the value of an option is none of ``known``."""
    if value in known:
        return
    cause = f"{option} {value!r} is not declared" if value else f"no {option} is named"
    near = known[:_FEW]
    if len(known) > _FEW:
        near = get_close_matches(str(value or ""), known, n=3) or near
    more = f" and {len(known) - len(near)} more" if len(known) > len(near) else ""
    raise FaultError(f"{what}: {cause}", f"choose {', '.join(near)}{more}: -e {option}=…")


def table(refusals: Optional[Mapping[str, str]], node: str) -> str:
    """All faults by layer, one line each; below those that are not possible on ``node``, and why."""
    width = max(map(len, CATALOGUE))
    lines = ["", f"{'FAULT':{width + 2}}  {'TAKES':9}  WHAT IS WRONG"]
    for layer in LAYERS:
        lines.append(TITLES[layer])
        for fault in (fault for fault in CATALOGUE.values() if fault.layer == layer):
            takes = " ".join(sorted(fault.parameters)) + ("host_wide" if fault.host_wide else "")
            lines.append(f"  {fault.name:{width}}  {takes:9}  {fault.title}")
    missing = {name: why for name, why in (refusals or {}).items() if why}
    if refusals is None:
        lines += ["", f"{node} is not running, so it is unknown which of them are possible: build the lab first"]
    elif missing:
        lines += ["", f"NOT POSSIBLE ON {node}"]
        lines += [f"  {name:{width}}  {why}" for name, why in missing.items()]
    lines += [
        "",
        "inject  -e fault=FAULT -e node=NODE, and what it takes: [-e peer=NODE] [-e pod=POD] [-e host_wide=true]",
        "read    docs/FAULTS.md: how each fault is made by hand, and its symptoms",
    ]
    return "\n".join([*lines, ""])


def run_on_node(state: str, cluster: Cluster, node: str, options: Options, check: bool) -> Result:
    """The function of a ``state`` inside a netns node, with the namespaces of the switch and the machine."""
    lab = registry.read(cluster.id)
    running = lab.running() if lab else {}
    if node not in running:
        return not_running(state, node, options, check)
    with ExitStack() as stack:
        namespaces = {
            place: stack.enter_context(Namespace.open(path, place))
            for place, path in _paths({name: process.pid for name, process in running.items()})
        }
        return enter.call(
            running[node].pid, FUNCTIONS[state], cluster, node, {**options, "namespaces": namespaces}, check
        )


def not_running(state: str, node: str, options: Options, check: bool) -> Result:
    """The result for a lab's node that is not running. LabError if a fault has to be injected."""
    if check or state != "present":
        return {"changed": False, "skipped": True, "msg": f"{node} is not running"}
    raise not_running_error(node, options)


def _paths(pids: Mapping[str, int]) -> List[Tuple[str, str]]:
    machine = [(MACHINE, "/proc/self/ns/net")]
    return machine + [(UNDERLAY, f"/proc/{pids[SWITCH]}/ns/net")] if SWITCH in pids else machine
