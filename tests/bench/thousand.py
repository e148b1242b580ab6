"""1,000 pods on 10 namespace nodes, and podwire's probes of them: the processes that ``prove`` measures.

Pods are routed (ptp). The kernel has one neighbour table for all namespaces, of 1,024 entries (gc_thresh3);
permanent ones do not count, so that is what pods and nodes get for each other.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import ip_address
from typing import Any, Dict, List, Mapping

from podwire.intent.cluster import Cluster, CniSettings, Pod
from podwire.intent.cluster_json import cluster_to_json
from podwire.kernel import Namespace, enter
from podwire.lab import netns, registry
from podwire.model.kind import ADD
from podwire.model.objects import MacAddress, Neighbour
from podwire.observe.snapshot import links
from podwire.prove import prober
from podwire.prove.verdict import judge
from podwire.sandbox import pods, sandboxes
from podwire.sandbox.process import pids_inside
from podwire.stages.node import node as converge_node

from .drive import lab, load


def cluster(nodes: int, each: int) -> Cluster:
    """``each`` pods on every one of ``nodes`` nodes, with room for all of them in the block."""
    base = lab(nodes)
    return replace(
        base,
        cni=CniSettings(type="ptp"),
        pods=tuple(Pod(f"pod{n}-{i}", f"node{n}") for n in range(nodes) for i in range(each)),
    )


def build(path: str, nodes: int, each: int) -> None:
    """Bring the lab up, and write its intent to ``path`` and the pods' addresses beside it."""
    intent = cluster(nodes, each)
    with open(path, "w") as file:
        json.dump(cluster_to_json(intent), file)
    netns.present(intent)
    addresses: Dict[str, List[str]] = {}
    for node in intent.nodes:
        pid = registry.node_pid(intent.id, node.name)
        assert pid is not None
        addresses.update(enter.call(pid, _furnish, intent, node.name))
    with open(f"{path}.addresses", "w") as file:
        json.dump(addresses, file)


def _furnish(intent: Cluster, name: str) -> Dict[str, List[str]]:
    """Inside a node: its backend, its pods, and permanent neighbours on both ends of each pair."""
    converge_node(intent, name, {}, False)
    found = pods.reconcile(intent, name).results
    with Namespace.current(name) as here:
        outside_by_index = {each["ifindex"]: each for each in links(here)}
        for pod, each in sandboxes.running().items():
            with Namespace.open(each.netns, pod) as inside:
                own = next(link for link in links(inside) if link["name"] == "eth0")
                outside = outside_by_index[own["link"]]
                _permanent(here, outside, found[pod][0], own["mac"])
                _permanent(inside, own, str(intent.node(name).pod_cidrs[0][1]), outside["mac"])
    return found


def _permanent(namespace: Namespace, device: Mapping[str, Any], address: str, mac: str) -> None:
    entry = Neighbour(device["name"], ip_address(address), MacAddress.parse(mac))
    index: int = device["ifindex"]
    refused = namespace.socket.batch(entry.messages(ADD, None, lambda _: index, {}))
    assert not refused, refused


def prove(path: str, mode: str) -> None:
    """Probe from all nodes at once and judge. Writes ``PATH.MODE``: seconds, pairs, the largest prober's MB, and
    the seconds a sandbox takes in a snapshot."""
    intent = load(path)
    with open(f"{path}.addresses") as file:
        addresses = json.load(file)
    began = time.monotonic()
    with ThreadPoolExecutor(len(intent.nodes)) as pool:
        told = list(pool.map(lambda node: _visit(intent, node.name, addresses, mode), intent.nodes))
    probed = time.monotonic() - began
    verdict = judge(intent, addresses, {each["node"]: each for each, *_ in told})
    sandboxes = sum(len(each["snapshot"]["sandboxes"]) for each, *_ in told)
    found = {
        "failed": [each.key for each in verdict.guarantees if not each.ok],
        "pairs": next(each.passed for each in verdict.guarantees if each.key == "pods"),
        "probed": probed,
        "memory": max(memory for _, memory, _ in told),
        "snapshot": sum(each["snapshot"]["seconds"] for each, *_ in told) / sandboxes,
        "cpu": sum(cpu for *_, cpu in told),
    }
    with open(f"{path}.{mode}", "w") as file:
        json.dump(found, file)


def _visit(intent: Cluster, name: str, addresses: Any, mode: str) -> Any:
    pid = registry.node_pid(intent.id, name)
    assert pid is not None
    return enter.call(pid, _probe, intent, name, addresses, mode)


def _probe(intent: Cluster, name: str, addresses: Any, mode: str) -> Any:
    gc.disable()
    found = prober.probe(intent, name, addresses, prober.Options(mode))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return found, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def sandbox_pids(path: str, number: int) -> List[int]:
    """Process ids, as they are here, of one sandbox on each of the first nodes."""
    intent = load(path)
    found = []
    for node in intent.nodes[:number]:
        pid = registry.node_pid(intent.id, node.name)
        assert pid is not None
        running = enter.call(pid, sandboxes.running)
        here = pids_inside([pid])[pid]
        found.append(here[next(iter(running.values())).pid])
    return found


def main(verb: str, path: str, *words: str) -> None:
    """``build PATH NODES PODS``, ``prove PATH MODE``, or ``sandboxes PATH NUMBER`` to print processes in some."""
    if verb == "build":
        build(path, *map(int, words))
    elif verb == "sandboxes":
        print(json.dumps(sandbox_pids(path, int(words[0]))))
    else:
        prove(path, *words)


if __name__ == "__main__":
    os.environ.setdefault("PATH", os.defpath)
    main(*sys.argv[1:])
