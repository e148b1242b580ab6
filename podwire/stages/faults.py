"""Break and mend inside a node. ``lab_faults`` enters the nodes of a lab."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from typing import Any, Dict, List, Mapping, Optional, Sequence

from ..errors import FaultError, LabError
from ..faults import engine, revert
from ..faults.catalogue import CATALOGUE, named
from ..faults.context import Context
from ..faults.document import TITLES
from ..faults.fault import LAYERS
from ..faults.namespaces import Namespaces
from ..faults.places import MACHINE
from ..intent.cluster import Cluster, DeclaredFault
from ..kernel import Namespace
from . import Answer, Options, differs

LIST = "list"
#: Names that a hint has room for.
_FEW = 5


def asked(cluster: Cluster, options: Options, hosts: Sequence[str]) -> List[DeclaredFault]:
    """The faults that a run of ``hosts`` is for: the one named, or those that the inventory declares. FaultError."""
    name, node, wide = options.get("fault"), options.get("node"), bool(options.get("host_wide"))
    if not name:
        if not cluster.faults:
            hint = (
                "name one: -e fault=NAME -e node=NODE (-e fault=list has them all), or declare faults in the inventory"
            )
            raise FaultError("failed to break anything: no fault is named, and the inventory declares none", hint)
        named_here = [each for each in cluster.faults if each.node in hosts and node in (None, each.node)]
        return [replace(each, host_wide=each.host_wide or wide) for each in named_here]
    what = f"failed to inject {name}"
    fault = named(str(name))
    _is_declared(what, "node", node, [each.name for each in cluster.nodes])
    for option in ("peer", "pod"):
        if options.get(option) and option not in fault.parameters:
            raise FaultError(f"{what}: it takes no {option}", f"leave out -e {option}=…")
    peer, pod = str(options.get("peer") or ""), str(options.get("pod") or "")
    if peer == node:
        raise FaultError(f"{what}: peer {peer} is the node itself", "name another node, or leave out -e peer=…")
    if peer:
        _is_declared(what, "peer", peer, [each.name for each in cluster.nodes if each.name != node])
    pods = {each.name: each.node for each in cluster.pods}
    if pod in pods and pods[pod] != node:
        own = ", ".join(each.name for each in cluster.pods_of(str(node))[:_FEW]) or "no pod"
        raise FaultError(f"{what}: pod {pod} runs on {pods[pod]}, not on {node}", f"{node} has {own}")
    if pod:
        _is_declared(what, "pod", pod, [each for each in pods if pods[each] == node])
    if node not in hosts:
        raise FaultError(f"{what}: {node} is none of the run's hosts", "leave out --limit")
    return [DeclaredFault(str(name), str(node), peer, pod, wide)]


def asked_of(host: str, cluster: Cluster, options: Options, hosts: Sequence[str]) -> List[DeclaredFault]:
    """The same as one of ``hosts`` sees it: what is wrong with the command line is said by the first alone."""
    try:
        return asked(cluster, options, hosts)
    except FaultError:
        if host == hosts[0]:
            raise
        return []


def lists(host: str, options: Options, hosts: Sequence[str]) -> bool:
    """Whether a listing is for a host: it is for the one named, or the first of ``hosts``. FaultError, on the first."""
    node = str(options.get("node") or hosts[0])
    if host == hosts[0]:
        _is_declared("failed to list faults", "node", node, hosts)
    return node == host


def mends(host: str, cluster: Cluster, options: Options, hosts: Sequence[str]) -> bool:
    """Whether a host is among those to mend. FaultError, on the first of ``hosts``, for names that are none."""
    name, node = options.get("fault"), options.get("node")
    if host == hosts[0]:
        if name:
            named(str(name))
        if node:
            _is_declared("failed to mend", "node", node, [each.name for each in cluster.nodes])
    return node in (None, "", host)


def _is_declared(what: str, option: str, value: Optional[Any], known: Sequence[str]) -> None:
    """FaultError, with the nearest names or the first."""
    if value in known:
        return
    cause = f"{option} {value!r} is not declared" if value else f"no {option} is named"
    near = known[:_FEW]
    if len(known) > _FEW:
        near = get_close_matches(str(value or ""), known, n=3) or near
    more = f" and {len(known) - len(near)} more" if len(known) > len(near) else ""
    raise FaultError(f"{what}: {cause}", f"there is {', '.join(near)}{more}: -e {option}=…")


def inject(cluster: Cluster, node: str, options: Options, check: bool) -> Answer:
    """In a node: inject ``options["faults"]``, all or none. ``namespaces`` are namespaces that the node itself cannot
    reach."""
    told: List[str] = []
    expects: List[Dict[str, Any]] = []
    done: List[str] = []
    blind = bool(options.get("blind"))
    for each in options["faults"]:
        fault = named(each.fault)
        with Namespaces(options["namespaces"]) as namespaces:
            context = Context(cluster, node, options["addresses"], namespaces, each.peer or None, each.pod or None)
            try:
                found = engine.inject(fault, context, host_wide=each.host_wide, blind=blind, check=check)
            except FaultError as error:
                if not done or check:
                    raise
                revert.mend(namespaces, done)
                undone = f"{error.message}; so {', '.join(done)}, injected just before, is undone"
                raise FaultError(undone, error.hint) from None
        done.append(fault.name)
        told += [f"{fault.name}: {fault.title}", *(f"  {line}" for line in found.lines)]
        told += [f"  {found.probe}"] if found.probe else []
        expects.append({"fault": fault.name, "said": found.said, **(found.expects._asdict() if found.expects else {})})
    return {**differs(told, f"faults of {node}"), "faults": expects}


def mend(_cluster: Cluster, node: str, options: Options, check: bool) -> Answer:
    """In a node: undo what its journal holds, or of that only ``options["fault"]``."""
    names = [str(options["fault"])] if options.get("fault") else None
    told: List[str] = []
    with Namespaces(options["namespaces"]) as namespaces:
        mended = revert.mend(namespaces, names, check=check)
    for name, done in mended:
        told += [f"{name}: {'would be repaired' if check else 'repaired'}", *(f"  {line}" for line in done.lines)]
        told += [f"  {done.probe}"] if done.probe else []
    return {**differs(told, f"faults of {node}"), "mended": [name for name, _ in mended]}


def lacking(cluster: Cluster, node: str, options: Options, _check: bool) -> Answer:
    """In a node: why each fault cannot be injected; "" where it can, if need be with ``host_wide``."""
    with Namespaces(options["namespaces"]) as namespaces:
        context = Context(cluster, node, options["addresses"], namespaces)
        found = {name: engine.refuse(fault, context, host_wide=True) for name, fault in CATALOGUE.items()}
    return {"changed": False, "lacking": found}


def table(lacks: Optional[Mapping[str, str]], node: str) -> str:
    """All faults by layer, one line each; below those that cannot be on ``node``, and why."""
    width = max(map(len, CATALOGUE))
    lines = ["", f"{'FAULT':{width + 2}}  {'TAKES':9}  WHAT IS WRONG"]
    for layer in LAYERS:
        lines.append(TITLES[layer])
        for fault in (each for each in CATALOGUE.values() if each.layer == layer):
            takes = " ".join(sorted(fault.parameters)) + ("host_wide" if fault.host_wide else "")
            lines.append(f"  {fault.name:{width}}  {takes:9}  {fault.title}")
    missing = {name: why for name, why in (lacks or {}).items() if why}
    if lacks is None:
        lines += ["", f"{node} is not running, so nobody can say which of them there can be: build the lab first"]
    elif missing:
        lines += ["", f"NOT ON {node}, BECAUSE"]
        lines += [f"  {name:{width}}  {why}" for name, why in missing.items()]
    lines += [
        "",
        "inject  -e fault=FAULT -e node=NODE, and of what it takes: [-e peer=NODE] [-e pod=POD] [-e host_wide=true]",
    ]
    return "\n".join([*lines, "read    docs/FAULTS.md: how each is done by hand, and how it shows", ""])


def not_running(function: Any, node: str, options: Options, check: bool) -> Answer:
    """What there is to say of a lab's node that does not run. LabError where it has to be broken."""
    if check or function is not inject:
        return {"changed": False, "skipped": True, "msg": f"{node} is not running"}
    build = f"build the lab first: sudo ./run site{options.get('which', '')}"
    raise LabError(f"failed to enter node {node}: it is not running", build)


def on_node(cluster: Cluster, node: str, options: Options, check: bool) -> Answer:
    """The same in a module's own process, on a node that is a machine of its own."""
    functions = {"present": inject, "absent": mend, "listed": lacking}
    faults = [DeclaredFault(**fault) for fault in options.get("faults") or ()]
    with Namespace.current(MACHINE) as machine:
        addresses = options.get("addresses") or {}
        given = {**options, "addresses": addresses, "faults": faults, "namespaces": {MACHINE: machine}}
        return functions[str(options["state"])](cluster, node, given, check)
