"""Break and mend: one function for inside a node, and the way there from the controller."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ..cluster import Cluster, DeclaredFault
from ..errors import FaultError, LabError
from ..faults import engine, undo
from ..faults.catalogue import CATALOGUE, named
from ..faults.fault import MACHINE, UNDERLAY
from ..faults.ground import Ground
from ..faults.places import Places
from ..kernel import Namespace
from ..lab import enter, registry
from ..lab.underlay import SWITCH
from . import Answer, Options, differs

LIST = "list"


def asked(cluster: Cluster, options: Options, hosts: Sequence[str]) -> List[DeclaredFault]:
    """The faults that a run of ``hosts`` is for: the one named, or those that the inventory declares. FaultError."""
    name, node = options.get("fault"), options.get("node")
    if not name:
        if not cluster.faults:
            hint = "-e fault=NAME -e node=NODE; -e fault=list has them all; or declare faults in the inventory"
            raise FaultError("failed to break anything: no fault is named, and the inventory declares none", hint)
        return [each for each in cluster.faults if each.node in hosts]
    named(str(name))
    nodes = [each.name for each in cluster.nodes]
    pods = {each.name: each.node for each in cluster.pods}
    for option, known in (("node", nodes), ("peer", nodes), ("pod", list(pods))):
        value = options.get(option)
        if value is None and option != "node":
            continue
        if value not in known:
            cause = f"no {option} is named" if value is None else f"{option} {value!r} is not declared"
            raise FaultError(f"failed to inject {name}: {cause}", f"name one of {', '.join(known[:5])}: -e {option}=…")
    pod, peer = str(options.get("pod") or ""), str(options.get("peer") or "")
    if pod and pods[pod] != node:
        raise FaultError(f"failed to inject {name}: pod {pod} runs on {pods[pod]}, not on {node}")
    if node not in hosts:
        raise FaultError(f"failed to inject {name}: {node} is none of the run's hosts", "leave out --limit")
    if peer == node:
        raise FaultError(f"failed to inject {name}: peer {peer} is the node itself")
    return [DeclaredFault(str(name), str(node), peer, pod, bool(options.get("host_wide")))]


def asked_of(host: str, cluster: Cluster, options: Options) -> List[DeclaredFault]:
    """Those of one host; none where the command line is wrong, which another host says."""
    try:
        return [each for each in asked(cluster, options, [host]) if each.node == host]
    except FaultError:
        return []


def inject(cluster: Cluster, node: str, options: Options, check: bool) -> Answer:
    """In a node: inject ``options["faults"]``. ``places`` are namespaces that the node itself cannot reach."""
    told: List[str] = []
    expects: List[Dict[str, Any]] = []
    blind = bool(options.get("blind"))
    for each in options["faults"]:
        with Places(options["places"]) as places:
            ground = Ground(cluster, node, options["addresses"], places, each.peer or None, each.pod or None)
            done = engine.inject(named(each.fault), ground, host_wide=each.host_wide, blind=blind, check=check)
        told += [f"{each.fault}: {named(each.fault).title}", *(f"  {line}" for line in done.lines)]
        told += [f"  the probe says {done.said!r}" + (f": {done.detail}" if done.detail else "")] if done.said else []
        expects.append({"fault": each.fault, "said": done.said, **(done.expects._asdict() if done.expects else {})})
    return {**differs(told, f"faults of {node}"), "faults": expects}


def mend(_cluster: Cluster, node: str, options: Options, check: bool) -> Answer:
    """In a node: undo what its journal holds, or of that only ``options["fault"]``."""
    names = [str(options["fault"])] if options.get("fault") else None
    told: List[str] = []
    with Places(options["places"]) as places:
        for name, done in undo.mend(places, names, check=check):
            told += [f"{name}: mended", *(f"  {line}" for line in done.lines)]
            told += [f"  the probe says {done.said!r}"] if done.said else []
    return {**differs(told, f"faults of {node}"), "mended": [line.split(":")[0] for line in told if line[0] != " "]}


def lacking(cluster: Cluster, node: str, options: Options, _check: bool) -> Answer:
    """In a node: why each fault cannot be injected; "" where it can."""
    with Places(options["places"]) as places:
        ground = Ground(cluster, node, options["addresses"], places)
        wide = bool(options.get("host_wide"))
        found = {name: engine.refuse(fault, ground, host_wide=wide) for name, fault in CATALOGUE.items()}
    return {"changed": False, "lacking": found}


def table(lacks: Optional[Mapping[str, str]]) -> str:
    """All faults, one line each; below those that are not to be had here, and why."""
    width = max(map(len, CATALOGUE))
    lines = ["", "FAULTS"]
    for name, fault in CATALOGUE.items():
        lines.append(f"{name:{width}}  {fault.layer:9}  {fault.title}")
        if lacks is not None and lacks.get(name):
            lines.append(f"{'':{width}}  {'':9}  not here: {lacks[name]}")
    if lacks is None:
        lines += ["", "No node is running, so nobody can say which of them there can be here."]
    return "\n".join([*lines, ""])


def visit(function: Any, cluster: Cluster, node: str, options: Options, check: bool) -> Answer:
    """One of the functions above inside a netns node, which gets the switch and the machine to hold on to."""
    lab = registry.read(cluster.id)
    running = lab.running() if lab else {}
    if node not in running:
        return not_running(function, node, check)
    with ExitStack() as stack:
        places = {
            place: stack.enter_context(Namespace.open(path, place))
            for place, path in _paths({name: process.pid for name, process in running.items()})
        }
        return enter.call(running[node].pid, function, cluster, node, {**options, "places": places}, check)


def not_running(function: Any, node: str, check: bool) -> Answer:
    """What there is to say of a lab's node that does not run. LabError where it has to be broken."""
    if check or function is not inject:
        return {"changed": False, "skipped": True, "msg": f"{node} is not running"}
    raise LabError(f"failed to enter node {node}: it is not running", "build the lab first: sudo ./run site")


def _paths(pids: Mapping[str, int]) -> List[Tuple[str, str]]:
    found = [(MACHINE, "/proc/self/ns/net")]
    return found + [(UNDERLAY, f"/proc/{pids[SWITCH]}/ns/net")] if SWITCH in pids else found


def on_node(cluster: Cluster, node: str, options: Options, check: bool) -> Answer:
    """The same in a module's own process, on a node that is a machine of its own."""
    functions = {"present": inject, "absent": mend, "listed": lacking}
    faults = [DeclaredFault(**each) for each in options.get("faults") or ()]
    with Namespace.current(MACHINE) as machine:
        addresses = options.get("addresses") or {}
        given = {**options, "addresses": addresses, "faults": faults, "places": {MACHINE: machine}}
        return functions[str(options["state"])](cluster, node, given, check)
