"""The stages that run inside a node of any kind, and those that a lab's nodes do not need: node_info, library, cni,
reset."""

from __future__ import annotations

import gc
import json
import os
from contextlib import nullcontext
from typing import Any, Callable, Dict, Mapping, Tuple

from ..errors import PodwireError, ProofError
from ..intent.cluster import Cluster
from ..intent.cluster_json import cluster_from_json
from . import Options, Result, diff_result, task_result


def load(intent: str) -> Cluster:
    """The cluster that ``declare`` wrote to the path ``intent``. PodwireError."""
    try:
        with open(intent, encoding="utf-8") as file:
            return cluster_from_json(json.load(file))
    except OSError as error:
        raise PodwireError(
            f"failed to read the intent {intent}: {error.strerror}", "use the path that podwire_declare returns"
        ) from error


def node(cluster: Cluster, name: str, options: Options, check: bool) -> Result:
    """Converge the node's network: the backend's devices, routes, rules and files."""
    from ..agent import intent_store
    from ..agent.apply import network

    with nullcontext() if check else intent_store.node_lock():
        operations = network(cluster, name, check=check)
    return diff_result(map(str, operations), f"network of {name}", wanted=options.get("diff", True))


def attach(cluster: Cluster, name: str, options: Options, check: bool) -> Result:
    """Start the declared pods' sandboxes, attach them with CNI ADD, and remove what is not declared any more."""
    from ..agent import intent_store, unit
    from ..sandbox import conflist, pods

    given = options.get("conflist"), options.get("plugin_dirs")
    with nullcontext() if check else intent_store.node_lock():
        if not check:
            intent_store.keep_override(*given)
        outcome = pods.reconcile(conflist.override(cluster, *given), name, check=check)
    # Nodes of kind netns share /opt/podwire with their machine.
    installed = [] if cluster.node(name).kind == "netns" else unit.install(check=check)
    addresses = {} if check else {"pods": outcome.results}
    return {**diff_result([*outcome.lines, *installed], f"pods of {name}"), **addresses}


def pod_info(cluster: Cluster, name: str, options: Options, check: bool) -> Result:
    """The addresses that CNI gave to the pods; changes nothing."""
    from ..sandbox.pods import told

    return {"changed": False, "pods": told(cluster, name)}


def probe(cluster: Cluster, name: str, options: Options, check: bool) -> Result:
    """Probe from the node and each of its pods; changes nothing, so check mode makes no difference."""
    from ..observe import node_state
    from ..prove import prober

    declared = cluster
    cluster, addresses, chosen = _probing(cluster, name, options)
    observed = prober.probe(cluster, name, addresses, chosen)
    if not declared.discovered:  # podwire does not know the desired State of discovered pods
        observed["network"] = node_state.describe(declared, name)
    return {"changed": False, "observations": observed}


def _probing(cluster: Cluster, name: str, options: Options) -> Tuple[Cluster, Any, Any]:
    """The cluster (inferred, if its pods are discovered), the pods' addresses, and the prober's options."""
    from ..prove import discovery, expect, prober

    mode = options.get("pairs") or "auto"
    if mode not in expect.MODES:
        raise ProofError(f"failed to probe: pairs = {mode}", f"write one of {', '.join(expect.MODES)}")
    netns = None
    if cluster.discovered:
        inferred = discovery.infer(cluster, options["found"])
        cluster, options = inferred.cluster, {**options, "addresses": inferred.addresses}
        local = {pod.name for pod in cluster.pods_of(name)}
        netns = {pod: path for pod, path in inferred.netns.items() if pod in local}
    discovered = options.get("found") or {}
    sinks = {node: pods["sinks"] for node, pods in discovered.items()} if options.get("throughput") else None
    return cluster, options["addresses"], prober.Options(mode, options.get("tell"), netns, sinks)


def discover(cluster: Cluster, name: str, options: Options, check: bool) -> Result:
    """Find pods and answer in them (see ``discovery.find``), or with ``state: absent`` end what answers."""
    from ..prove import discovery

    if options.get("state") == "absent":
        discovery.leave()
        return {"changed": False}
    return {"changed": False, "found": discovery.find(cluster, name, bool(options.get("throughput")))}


def evidence(cluster: Cluster, name: str, options: Options, check: bool) -> Result:
    """What a diagnosis needs of the node: probes, a snapshot, and how it differs from the intent. Changes nothing."""
    from ..explain.collect import collect
    from ..explain.inferred import recorded
    from ..observe import node_state

    if cluster.discovered:
        options = {**options, "found": recorded(options["found"])}
    declared = cluster
    cluster, addresses, chosen = _probing(cluster, name, options)
    collected = collect(cluster, name, addresses, chosen)
    if not declared.discovered:
        collected["observations"]["network"] = node_state.describe(declared, name)
    return {"changed": False, "evidence": collected}


def trace(cluster: Cluster, name: str, options: Options, check: bool) -> Result:
    """Trace a few pairs that fail. What it sets up is removed when it ends."""
    from ..explain.trace_probe import look

    return {"changed": False, "looks": look(name, options["asked"])}


def install_plugins(directory: str, *, force: bool = False, check: bool = False) -> Result:
    """Install podwire's CNI plugins as executables; with ``check`` only show what would be."""
    from ..cni.install.executables import UNCHANGED, install, look

    entries = look(directory) if check else install(directory, force=force)
    lines = (f"+ {entry.path} ({entry.state})" for entry in entries if entry.state != UNCHANGED)
    return diff_result(lines, f"CNI plugins in {directory}")


def _node_info(options: Options, check: bool) -> Result:
    from .facts import facts

    return facts(options["peers"])


def _library(options: Options, check: bool) -> Result:
    """Make the node's library the one that this runs from."""
    from . import library

    wanted, present = str(options["library"]), os.path.realpath(library.LIBRARY)
    if os.path.basename(present) == wanted:
        return {"changed": False}
    was = f" (was: {os.path.basename(present)})" if os.path.isdir(present) else ""
    if not check:
        library.install(str(options["archive"]), wanted)
    return diff_result([f"{'~' if was else '+'} {library.LIBRARY} -> {wanted}{was}"], "podwire on the node")


def _cni(options: Options, check: bool) -> Result:
    return install_plugins(options["directory"], force=options["force"], check=check)


def _reset(options: Options, check: bool) -> Result:
    from .removal import remove

    return remove(options["directory"], check=check)


def _preflight(cluster: Cluster, name: str, options: Options, check: bool) -> Result:
    from .preflight import run_step

    return run_step(cluster, name, options, check)


def _fault(cluster: Cluster, name: str, options: Options, check: bool) -> Result:
    from . import faults

    return faults.run_in_module(cluster, name, options, check)


#: The part of a module's name after ``podwire_``, and the stage that it runs.
STAGES: Dict[str, Callable[[Cluster, str, Options, bool], Result]] = {
    "node": node,
    "attach": attach,
    "discover": discover,
    "pod_info": pod_info,
    "probe": probe,
    "evidence": evidence,
    "trace": trace,
    "preflight": _preflight,
    "fault": _fault,
}
#: The same for stages that need no intent and do nothing on a lab's nodes: these share the controller's podwire
#: and one installation of plugins, and are removed as a whole.
WITHOUT_INTENT: Dict[str, Callable[[Options, bool], Result]] = {
    "node_info": _node_info,
    "library": _library,
    "cni": _cni,
    "reset": _reset,
}


def run_in_module(stage: str, parameters: Mapping[str, Any], check: bool, diff: bool = True) -> Result:
    """Run a stage in a module's own process, on the node.

    Without the cyclic garbage collector: the process lives for a second and makes 100,000 objects without a cycle
    among them; walking these again and again took a third of its time.
    """
    gc.disable()
    if os.geteuid() != 0:
        return {"failed": True, "msg": "failed to configure the node: needs root; set ansible_become: true for it"}
    options = {**parameters, "diff": diff}
    if stage in WITHOUT_INTENT:
        return task_result(WITHOUT_INTENT[stage], options, check)
    return task_result(STAGES[stage], load(parameters["intent"]), parameters["node"], options, check)
