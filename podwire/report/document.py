"""The document of a run, results.json: intent, verdict and observations as one value of JSON's types. Pure."""

from __future__ import annotations

from itertools import chain, zip_longest
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..intent.cluster import Cluster, Node, Pod
from ..model.objects import IPNetwork
from ..observe.node_state import NodeState
from ..prove.expect import Addresses
from ..prove.observations import Observations, PodDevices, Summary
from ..prove.verdict import Failure, Guarantee, Verdict
from . import discovered
from .source_locations import Origins

VERSION = 1
#: Failing checks that the document lists for each guarantee; all of them are counted.
LISTED = 5000
#: Guarantee -> its checks in a node's observations.
_SUMMARIES: Dict[str, Callable[[Observations], Optional[Summary]]] = {
    "pods": lambda observed: observed.get("pairs"),
    "agents": lambda observed: observed.get("agents"),
    "nodes": lambda observed: observed.get("nodes"),
    "mtu": lambda observed: observed.get("path_mtu"),
    "bulk": lambda observed: observed.get("bulk"),
}


class Run(NamedTuple):
    """When and how it ran. Times are Unix times; ``limit``: the only nodes of the run, None for all."""

    inventory: str
    began: float
    finished: float
    podwire: str
    kernel: str = ""
    limit: Optional[Tuple[str, ...]] = None


def build(
    cluster: Cluster,
    verdict: Verdict,
    addresses: Addresses,
    observations: Mapping[str, Observations],
    run: Run,
    origins: Origins,
    causes: Sequence[Mapping[str, Any]] = (),
    unexplained: Sequence[Sequence[str]] = (),
    ruled_out: Sequence[str] = (),
) -> Dict[str, Any]:
    """The whole document. ``observations`` by node that reported; ``causes`` of explain, failing pairs that are
    ``unexplained``, and candidates that were ``ruled_out``."""
    reports = {node: observed for node, observed in observations.items() if node in verdict.nodes}
    return {
        "format": "podwire results",
        "version": VERSION,
        "ok": verdict.ok,
        "run": {
            "podwire": run.podwire,
            "kernel": run.kernel,
            "inventory": run.inventory,
            "began": round(run.began, 3),
            "finished": round(run.finished, 3),
            "seconds": round(run.finished - run.began, 1),
            "probe_seconds": verdict.seconds,
            "limit": None if run.limit is None else list(run.limit),
            "missing": list(verdict.missing),
            "inferred": list(verdict.inferred),
        },
        "cluster": _cluster(cluster, addresses, reports, origins),
        "guarantees": [_guarantee(guarantee, verdict, reports) for guarantee in verdict.guarantees],
        "mtu": {
            "expected": cluster.mtu,
            "underlay": cluster.underlay_mtu,
        },
        "leases": _leases(cluster, reports),
        "routes": _routes(cluster, reports),
        "causes": [dict(cause) for cause in causes],
        "unexplained": [list(pair) for pair in unexplained],
        "ruled_out": list(ruled_out),
    }


def _cluster(
    cluster: Cluster, addresses: Addresses, reports: Mapping[str, Observations], origins: Origins
) -> Dict[str, Any]:
    devices_of = {pod: devices for observed in reports.values() for pod, devices in observed["pods"].items()}
    return {
        "id": cluster.id,
        "cluster_cidrs": _texts(cluster.cluster_cidrs),
        "service_cidrs": _texts(cluster.service_cidrs),
        "masquerade": cluster.masquerade,
        "backend": {
            "type": cluster.backend.type,
            "vni": cluster.backend_driver.network_id,
            "port": cluster.backend_driver.udp_port,
            "direct_routing": cluster.backend.direct_routing,
        },
        "cni": {"type": cluster.cni.type, "name": cluster.cni.name, "bridge": _bridge(cluster)},
        "segments": [
            {"name": segment.name, "cidrs": _texts(segment.cidrs), "mtu": segment.mtu}
            for segment in cluster.underlay.segments
        ],
        "routers": [
            {"name": router.name, "ports": [_port(port) for port in router.ports]}
            for router in cluster.underlay.routers
        ],
        "nodes": [_node(cluster, node, origins) for node in cluster.nodes],
        "pods": [_pod(cluster, pod, addresses, devices_of.get(pod.name), origins) for pod in cluster.pods],
        "origins": dict(origins.variables),
    }


def _bridge(cluster: Cluster) -> str:
    return cluster.cni.bridge if cluster.cni.type == "bridge" else ""


def _port(port: Any) -> Dict[str, Any]:
    return {"segment": port.segment, "device": port.device, "addresses": _texts(port.addresses)}


def _node(cluster: Cluster, node: Node, origins: Origins) -> Dict[str, Any]:
    return {
        "name": node.name,
        "kind": node.kind,
        "interface": node.interface,
        "mtu": node.mtu,
        "addresses": _texts(node.addresses),
        "networks": [str(address.network) for address in node.addresses],
        "public_ips": _texts(node.public_ips),
        "pod_cidrs": _texts(node.pod_cidrs),
        "ports": [_port(port) for port in node.ports],
        "vteps": [end for cidr in node.pod_cidrs for end in _tunnel_ends(cluster, node, cidr.version)],
        "origin": origins.node(node.name),
    }


def _tunnel_ends(cluster: Cluster, node: Node, version: int) -> Iterator[Dict[str, Any]]:
    """The backend's devices on a node, as they should be."""
    endpoint = node.endpoint(version)
    if endpoint is None:
        return
    state = cluster.backend_driver.desired(endpoint, (), cluster.device_mtu(version))
    addresses = {address.device: str(address.interface.ip) for address in state.addresses}
    for link in sorted(state.links):
        yield {
            "device": link.name,
            "version": version,
            "address": addresses.get(link.name, ""),
            "mac": str(link.mac or ""),
            "mtu": link.mtu,
        }


def _pod(
    cluster: Cluster, pod: Pod, addresses: Addresses, devices: Optional[PodDevices], origins: Origins
) -> Dict[str, Any]:
    given = [text.partition("/")[0] for text in addresses.get(pod.name, ())]
    if pod.host_network:
        given = _texts(cluster.node(pod.node).public_ips)
    return {
        "name": pod.name,
        "node": pod.node,
        "host_network": pod.host_network,
        "port": pod.port,
        "addresses": given,
        "mtu": None if devices is None else devices.get("mtu"),
        "origin": origins.pod(pod.name, pod.node),
    }


def _guarantee(guarantee: Guarantee, verdict: Verdict, reports: Mapping[str, Observations]) -> Dict[str, Any]:
    failures = list(guarantee.failures)
    if guarantee.failed > len(failures):  # a verdict lists few; observations have more
        summary_of = _SUMMARIES.get(guarantee.key, lambda _: None)
        summaries = filter(None, map(summary_of, reports.values()))
        failures = (
            _fairly([[Failure(*row) for row in summary["failures"]] for summary in summaries], LISTED) or failures
        )
    nodes = set(verdict.nodes)
    # Whether the ends of checks are pods or nodes follows from the key, or from the failures.
    sources = guarantee.key == "agents" or any(failure.source in nodes for failure in failures)
    targets = guarantee.key == "nodes" or any(failure.target in nodes for failure in failures)
    return {
        "key": guarantee.key,
        "title": guarantee.title,
        "unit": guarantee.unit,
        "state": "failed" if guarantee.failed else "not run" if guarantee.not_run else "passed",
        "passed": guarantee.passed,
        "failed": guarantee.failed,
        "not_run": guarantee.not_run,
        "seconds": float(guarantee.seconds),
        "sources": "nodes" if sources else "pods",
        "targets": "nodes" if targets else "pods",
        "shared": list(guarantee.shared),
        "notes": list(guarantee.notes),
        "failures": [failure._asdict() for failure in failures],
        "classes": [list(cls_) for cls_ in guarantee.classes],
    }


def _fairly(lists: Sequence[Sequence[Failure]], most: int) -> List[Failure]:
    """The first of each list, the second of each, and so on, up to ``most`` in total, so that every node has some."""
    if sum(map(len, lists)) <= most:
        return list(chain.from_iterable(lists))
    turns = chain.from_iterable(zip_longest(*lists))
    return [turn for turn in turns if turn is not None][:most]


def _leases(cluster: Cluster, reports: Mapping[str, Observations]) -> Dict[str, Any]:
    """The nodes' pod CIDRs, and the IP allocations (rows: node, address, container, interface, pod)."""
    reservations = []
    for node, observed in reports.items():
        for address, container, interface, pod in _network(observed)["reservations"]:
            reservations.append([node, address, container, interface, pod])
    subnets = [
        {"node": node.name, "cidr": str(cidr), "size": _usable(cidr)}
        for node in cluster.nodes
        for cidr in node.pod_cidrs
    ]
    return {"subnets": subnets, "reservations": reservations}


def _usable(block: IPNetwork) -> int:
    """Addresses for pods: without network address, gateway and, of IPv4, broadcast; at most what JSON can count."""
    return max(0, min(block.num_addresses - (3 if block.version == 4 else 2), 1 << 53))


def _routes(cluster: Cluster, reports: Mapping[str, Observations]) -> Dict[str, Any]:
    """Kernel objects, desired and actual: rows of node, kind, device, peer, object, desired, actual."""
    peers = _peers(cluster)
    rows = []
    for node, observed in reports.items():
        for kind, device, towards, text, desired, actual in _network(observed)["objects"]:
            rows.append([node, kind, device, peers.get(towards, ""), text, desired, actual])
    unlisted = sum(_network(observed)["unlisted"] for observed in reports.values())
    return {"rows": rows, "unlisted": unlisted}


def _peers(cluster: Cluster) -> Dict[str, str]:
    """Pod CIDR, its first address (the VTEP's) and public IP -> their node."""
    node_of: Dict[str, str] = {}
    for node in cluster.nodes:
        for block in node.pod_cidrs:
            node_of[str(block)] = node_of[str(block.network_address)] = node.name
        for ip in node.public_ips:
            node_of[str(ip)] = node.name
    return node_of


def _network(observed: Observations) -> NodeState:
    """A node's kernel objects: compared with intent, or as discovered."""
    if "network" in observed:
        return observed["network"]
    if "snapshot" in observed:
        return discovered.network(observed["snapshot"])
    return {"objects": [], "unlisted": 0, "reservations": []}


def _texts(values: Sequence[object]) -> List[str]:
    return list(map(str, values))
