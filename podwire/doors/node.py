"""The stages that run inside a node of whatever kind: node, attach, find, probe, evidence."""

from __future__ import annotations

import gc
import json
from typing import Any, Callable, Dict, Mapping, Tuple

from ..cluster import Cluster
from ..errors import ProofError
from ..intent_json import cluster_from_json
from . import Answer, Options, answer, differs


def load(intent: str) -> Cluster:
    """The cluster that ``declare`` wrote to the path ``intent``."""
    with open(intent, encoding="utf-8") as file:
        return cluster_from_json(json.load(file))


def node(cluster: Cluster, name: str, options: Options, check: bool) -> Answer:
    """Converge the node's own network: the backend's devices, routes, rules and files."""
    from ..backend import desired, scope
    from ..converge import Target, converge
    from ..kernel import Namespace
    from ..lab.pods import outdated_bridges

    state = desired(cluster, name)
    owned = scope(cluster, name, state)
    owned = owned._replace(links=owned.links | outdated_bridges(cluster, name))
    with Namespace.current(name) as here:
        outcome = converge([Target(here, state, owned)], check=check)
    lines = (str(operation) for _, operation in outcome.operations)
    return differs(lines, f"network of {name}", wanted=options.get("diff", True))


def attach(cluster: Cluster, name: str, options: Options, check: bool) -> Answer:
    """Start the declared pods' sandboxes, attach them by CNI ADD, and remove what is declared no more."""
    from ..lab import conflist, pods

    cluster = conflist.override(cluster, options.get("conflist"), options.get("plugin_dirs"))
    outcome = pods.reconcile(cluster, name, check=check)
    told = {} if check else {"pods": outcome.results}
    return {**differs(outcome.lines, f"pods of {name}"), **told}


def probe(cluster: Cluster, name: str, options: Options, check: bool) -> Answer:
    """Probe from the node and each of its pods; changes nothing, so check mode makes no difference."""
    from ..prove import prober

    cluster, addresses, chosen = _probing(cluster, name, options)
    return {"changed": False, "observations": prober.probe(cluster, name, addresses, chosen)}


def _probing(cluster: Cluster, name: str, options: Options) -> Tuple[Cluster, Any, Any]:
    """The cluster (as it was found, where pods are of others), the pods' addresses, and the prober's options."""
    from ..prove import expect, foreign, prober

    mode = options.get("pairs") or "auto"
    if mode not in expect.MODES:
        raise ProofError(f"failed to probe: pairs = {mode}", f"write one of {', '.join(expect.MODES)}")
    netns = None
    if cluster.discovered:
        inferred = foreign.infer(cluster, options["found"])
        cluster, options = inferred.cluster, {**options, "addresses": inferred.addresses}
        here = {pod.name for pod in cluster.pods_of(name)}
        netns = {pod: path for pod, path in inferred.netns.items() if pod in here}
    told = options.get("found") or {}
    sinks = {node: each["sinks"] for node, each in told.items()} if options.get("throughput") else None
    return cluster, options["addresses"], prober.Options(mode, options.get("tell"), netns, sinks)


def find(cluster: Cluster, name: str, options: Options, check: bool) -> Answer:
    """Prepare what pods have no server for (see ``foreign.find``), or with ``state: absent`` take it away."""
    from ..prove import foreign

    if options.get("state") == "absent":
        foreign.leave()
        return {"changed": False}
    return {"changed": False, "found": foreign.find(cluster, name, bool(options.get("throughput")))}


def evidence(cluster: Cluster, name: str, options: Options, check: bool) -> Answer:
    """What a diagnosis needs of the node: probes, a snapshot, and how it differs from intent. Changes nothing."""
    from ..explain.collect import collect
    from ..explain.inferred import recorded

    if cluster.discovered:
        options = {**options, "found": recorded(options["found"])}
    cluster, addresses, chosen = _probing(cluster, name, options)
    return {"changed": False, "evidence": collect(cluster, name, addresses, chosen)}


def install_plugins(directory: str, *, force: bool = False, check: bool = False) -> Answer:
    """Install podwire's CNI plugins as executables; with ``check`` only tell what would be."""
    from ..cni.install import UNCHANGED, install, look

    entries = look(directory) if check else install(directory, force=force)
    lines = (f"+ {entry.path} ({entry.state})" for entry in entries if entry.state != UNCHANGED)
    return differs(lines, f"CNI plugins in {directory}")


#: The part of a module's name after ``podwire_``, and what it runs.
STAGES: Dict[str, Callable[[Cluster, str, Options, bool], Answer]] = {
    "node": node,
    "attach": attach,
    "find": find,
    "probe": probe,
    "evidence": evidence,
}


def at_home(stage: str, parameters: Mapping[str, Any], check: bool, diff: bool = True) -> Answer:
    """Run a stage in a module's own process, on the node.

    Without the cycle collector: a process of a second makes 100,000 values without a cycle among them,
    and walking these again and again took a third of its time.
    """
    gc.disable()
    options = {**parameters, "diff": diff}
    return answer(STAGES[stage], load(parameters["intent"]), parameters["node"], options, check)


def imagine(stage: str, cluster: Cluster, name: str) -> Answer:
    """What a stage would do on a node that is not there yet, for check mode."""
    from ..backend import desired
    from ..plan import plan
    from ..state import EMPTY

    if stage == "node":
        return differs(map(str, plan(desired(cluster, name), EMPTY)), f"network of {name}")
    if stage == "attach":
        return differs((f"+ pod {pod.name}" for pod in cluster.pods_of(name)), f"pods of {name}")
    return {"changed": False, "skipped": True, "msg": f"{name} is not there yet"}
