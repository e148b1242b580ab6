"""The stages that run inside a node of whatever kind: node, attach, find, probe, evidence, look; and those that a
lab's nodes have no need of: facts, library, cni, reset."""

from __future__ import annotations

import gc
import json
import os
from contextlib import nullcontext
from typing import Any, Callable, Dict, Mapping, Tuple

from ..errors import ProofError
from ..intent.cluster import Cluster
from ..intent.cluster_json import cluster_from_json
from . import Answer, Options, answer, differs


def load(intent: str) -> Cluster:
    """The cluster that ``declare`` wrote to the path ``intent``."""
    with open(intent, encoding="utf-8") as file:
        return cluster_from_json(json.load(file))


def node(cluster: Cluster, name: str, options: Options, check: bool) -> Answer:
    """Converge the node's own network: the backend's devices, routes, rules and files."""
    from ..agent import intent_store
    from ..agent.apply import network

    with nullcontext() if check else intent_store.node_lock():
        operations = network(cluster, name, check=check)
    return differs(map(str, operations), f"network of {name}", wanted=options.get("diff", True))


def attach(cluster: Cluster, name: str, options: Options, check: bool) -> Answer:
    """Start the declared pods' sandboxes, attach them by CNI ADD, and remove what is declared no more."""
    from ..agent import intent_store, unit
    from ..sandbox import conflist, pods

    given = options.get("conflist"), options.get("plugin_dirs")
    with nullcontext() if check else intent_store.node_lock():
        if not check:
            intent_store.keep_override(*given)
        outcome = pods.reconcile(conflist.override(cluster, *given), name, check=check)
    lasting = [] if cluster.node(name).kind == "netns" else unit.install(check=check)  # /opt/podwire is the machine's
    told = {} if check else {"pods": outcome.results}
    return {**differs([*outcome.lines, *lasting], f"pods of {name}"), **told}


def pods(cluster: Cluster, name: str, options: Options, check: bool) -> Answer:
    """Which addresses the pods have by CNI; changes nothing."""
    from ..sandbox.pods import told

    return {"changed": False, "pods": told(cluster, name)}


def probe(cluster: Cluster, name: str, options: Options, check: bool) -> Answer:
    """Probe from the node and each of its pods; changes nothing, so check mode makes no difference."""
    from ..observe import node_state
    from ..prove import prober

    declared = cluster
    cluster, addresses, chosen = _probing(cluster, name, options)
    observed = prober.probe(cluster, name, addresses, chosen)
    if not declared.discovered:  # of what somebody else set up no desired State is known
        observed["network"] = node_state.describe(declared, name)
    return {"changed": False, "observations": observed}


def _probing(cluster: Cluster, name: str, options: Options) -> Tuple[Cluster, Any, Any]:
    """The cluster (as it was found, where pods are of others), the pods' addresses, and the prober's options."""
    from ..prove import discovery, expect, prober

    mode = options.get("pairs") or "auto"
    if mode not in expect.MODES:
        raise ProofError(f"failed to probe: pairs = {mode}", f"write one of {', '.join(expect.MODES)}")
    netns = None
    if cluster.discovered:
        inferred = discovery.infer(cluster, options["found"])
        cluster, options = inferred.cluster, {**options, "addresses": inferred.addresses}
        here = {pod.name for pod in cluster.pods_of(name)}
        netns = {pod: path for pod, path in inferred.netns.items() if pod in here}
    told = options.get("found") or {}
    sinks = {node: each["sinks"] for node, each in told.items()} if options.get("throughput") else None
    return cluster, options["addresses"], prober.Options(mode, options.get("tell"), netns, sinks)


def find(cluster: Cluster, name: str, options: Options, check: bool) -> Answer:
    """Prepare what pods have no server for (see ``foreign.find``), or with ``state: absent`` take it away."""
    from ..prove import discovery

    if options.get("state") == "absent":
        discovery.leave()
        return {"changed": False}
    return {"changed": False, "found": discovery.find(cluster, name, bool(options.get("throughput")))}


def evidence(cluster: Cluster, name: str, options: Options, check: bool) -> Answer:
    """What a diagnosis needs of the node: probes, a snapshot, and how it differs from intent. Changes nothing."""
    from ..explain.collect import collect
    from ..explain.inferred import recorded
    from ..observe import node_state

    if cluster.discovered:
        options = {**options, "found": recorded(options["found"])}
    declared = cluster
    cluster, addresses, chosen = _probing(cluster, name, options)
    told = collect(cluster, name, addresses, chosen)
    if not declared.discovered:
        told["observations"]["network"] = node_state.describe(declared, name)
    return {"changed": False, "evidence": told}


def look(cluster: Cluster, name: str, options: Options, check: bool) -> Answer:
    """Trace probes of a few failing pairs. Leaves nothing behind."""
    from ..explain.trace_probe import look

    return {"changed": False, "looks": look(name, options["asked"])}


def install_plugins(directory: str, *, force: bool = False, check: bool = False) -> Answer:
    """Install podwire's CNI plugins as executables; with ``check`` only tell what would be."""
    from ..cni.install.executables import UNCHANGED, install, look

    entries = look(directory) if check else install(directory, force=force)
    lines = (f"+ {entry.path} ({entry.state})" for entry in entries if entry.state != UNCHANGED)
    return differs(lines, f"CNI plugins in {directory}")


def _facts(options: Options, check: bool) -> Answer:
    from .facts import facts

    return facts(options["peers"])


def _library(options: Options, check: bool) -> Answer:
    """Make the node's library the one that this runs from."""
    from . import library

    wanted, there = str(options["library"]), os.path.realpath(library.LIBRARY)
    if os.path.basename(there) == wanted:
        return {"changed": False}
    was = f" (was: {os.path.basename(there)})" if os.path.isdir(there) else ""
    if not check:
        library.install(str(options["archive"]), wanted)
    return differs([f"{'~' if was else '+'} {library.LIBRARY} -> {wanted}{was}"], "podwire on the node")


def _cni(options: Options, check: bool) -> Answer:
    return install_plugins(options["directory"], force=options["force"], check=check)


def _reset(options: Options, check: bool) -> Answer:
    from .removal import remove

    return remove(options["directory"], check=check)


def _preflight(cluster: Cluster, name: str, options: Options, check: bool) -> Answer:
    from .preflight import on_node

    return on_node(cluster, name, options, check)


def _fault(cluster: Cluster, name: str, options: Options, check: bool) -> Answer:
    from .faults import on_node

    return on_node(cluster, name, options, check)


#: The part of a module's name after ``podwire_``, and what it runs.
STAGES: Dict[str, Callable[[Cluster, str, Options, bool], Answer]] = {
    "node": node,
    "attach": attach,
    "discover": find,
    "pod_info": pods,
    "probe": probe,
    "evidence": evidence,
    "trace": look,
    "preflight": _preflight,
    "fault": _fault,
}
#: Likewise, of stages that need no intent and that a lab's nodes do without: these share the controller's podwire
#: and one installation of plugins, and go as a whole.
OWN: Dict[str, Callable[[Options, bool], Answer]] = {
    "node_info": _facts,
    "library": _library,
    "cni": _cni,
    "reset": _reset,
}


def at_home(stage: str, parameters: Mapping[str, Any], check: bool, diff: bool = True) -> Answer:
    """Run a stage in a module's own process, on the node.

    Without the cycle collector: a process of a second makes 100,000 values without a cycle among them,
    and walking these again and again took a third of its time.
    """
    gc.disable()
    if os.geteuid() != 0:
        return {"failed": True, "msg": "failed to work on the node: needs root; set ansible_become: true for it"}
    options = {**parameters, "diff": diff}
    if stage in OWN:
        return answer(OWN[stage], options, check)
    return answer(STAGES[stage], load(parameters["intent"]), parameters["node"], options, check)


def imagine(stage: str, cluster: Cluster, name: str) -> Answer:
    """What a stage would do on a node that is not there yet, for check mode."""
    from ..agent import intent_store
    from ..intent.projection import desired
    from ..model.state import EMPTY, State
    from ..plan import plan

    if stage == "node":
        state = desired(cluster, name) | State(files=frozenset((intent_store.intent_file(cluster, name),)))
        return differs(map(str, plan(state, EMPTY)), f"network of {name}")
    if stage == "attach":
        return differs((f"+ pod {pod.name}" for pod in cluster.pods_of(name)), f"pods of {name}")
    if stage in OWN:
        return {"changed": True}
    return {"changed": False, "skipped": True, "msg": f"{name} is not there yet"}
