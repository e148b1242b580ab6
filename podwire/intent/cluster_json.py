"""A Cluster as JSON, from the controller to the nodes. Addresses are strings there and nowhere else.

A node of a large cluster reads the whole of it, so that file is written for reading fast: what follows
from something else (public IPs without NAT, the external interface's addresses of a lab node) is left out.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from socket import AF_INET, inet_pton
from typing import Any, Dict, Iterable, List, Tuple

from ..backend import BackendSettings
from ..errors import IntentError
from ..model.objects import IPAddress, IPInterface, IPNetwork
from .cluster import (
    Check,
    Cluster,
    CniSettings,
    DeclaredFault,
    Node,
    Pod,
    Port,
    Router,
    Segment,
    Underlay,
)

VERSION = 1


def cluster_to_json(cluster: Cluster) -> Dict[str, Any]:
    """A cluster as plain JSON values."""
    faults = {"faults": [list(vars(fault).values()) for fault in cluster.faults]} if cluster.faults else {}
    return {
        **faults,
        "version": VERSION,
        "id": cluster.id,
        "cluster_cidrs": _strings(cluster.cluster_cidrs),
        "service_cidrs": _strings(cluster.service_cidrs),
        "node_prefix_lengths": list(cluster.node_prefix_lengths),
        "backend": vars(cluster.backend),
        "cni": vars(cluster.cni),
        "masquerade": cluster.masquerade,
        "nodes": [_node_to_json(node) for node in cluster.nodes],
        "pods": [[pod.name, pod.node, pod.host_network, pod.port] for pod in cluster.pods],
        "underlay": {
            "segments": [[segment.name, _strings(segment.cidrs), segment.mtu] for segment in cluster.underlay.segments],
            "routers": [[router.name, _ports_to_json(router.ports)] for router in cluster.underlay.routers],
        },
        "checks": [vars(check) for check in cluster.checks],
        "discovered": cluster.discovered,
    }


def cluster_from_json(data: Any) -> Cluster:
    """Read what ``cluster_to_json`` gave; IntentError for anything else."""
    try:
        if data["version"] != VERSION:
            raise ValueError(f"version {data['version']} is not {VERSION}")
        return _cluster(data)
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise IntentError([f"failed to read the cluster's intent: {error!r}; run site.yml again"]) from error


def _cluster(data: Dict[str, Any]) -> Cluster:
    return Cluster(
        id=data["id"],
        cluster_cidrs=_networks(data["cluster_cidrs"]),
        service_cidrs=_networks(data["service_cidrs"]),
        node_prefix_lengths=tuple(data["node_prefix_lengths"]),
        backend=BackendSettings(**data["backend"]),
        cni=CniSettings(**{**data["cni"], "plugin_dirs": tuple(data["cni"]["plugin_dirs"])}),
        masquerade=data["masquerade"],
        nodes=tuple([_node(node) for node in data["nodes"]]),
        pods=tuple([Pod(*pod) for pod in data["pods"]]),
        underlay=Underlay(
            tuple(Segment(name, _networks(cidrs), mtu) for name, cidrs, mtu in data["underlay"]["segments"]),
            tuple(Router(name, _ports(ports)) for name, ports in data["underlay"]["routers"]),
        ),
        checks=tuple([Check(**check) for check in data["checks"]]),
        discovered=data["discovered"],
        faults=tuple(DeclaredFault(*fault) for fault in data.get("faults", ())),
    )


def _node_to_json(node: Node) -> Dict[str, Any]:
    data: Dict[str, Any] = {
        "name": node.name,
        "kind": node.kind,
        "interface": node.interface,
        "pod_cidrs": _strings(node.pod_cidrs),
        "mtu": node.mtu,
    }
    if node.ports:
        data["ports"] = _ports_to_json(node.ports)
    if not node.ports or node.ports[0].addresses != node.addresses:
        data["addresses"] = _strings(node.addresses)
    if node.public_ips != tuple(address.ip for address in node.addresses):
        data["public_ips"] = _strings(node.public_ips)
    return data


def _node(data: Dict[str, Any]) -> Node:
    ports = _ports(data.get("ports", ()))
    addresses = _interfaces(data["addresses"]) if "addresses" in data else ports[0].addresses
    public = tuple(map(_address, data["public_ips"])) if "public_ips" in data else tuple([a.ip for a in addresses])
    return Node(
        data["name"],
        data["kind"],
        data["interface"],
        addresses,
        public,
        _networks(data["pod_cidrs"]),
        data["mtu"],
        ports,
    )


def _ports_to_json(ports: Iterable[Port]) -> List[List[Any]]:
    return [[port.segment, port.device, _strings(port.addresses)] for port in ports]


def _ports(data: Iterable[Any]) -> Tuple[Port, ...]:
    return tuple([Port(segment, device, _interfaces(addresses)) for segment, device, addresses in data])


def _strings(values: Iterable[object]) -> List[str]:
    return list(map(str, values))


def _address(text: str) -> IPAddress:
    return IPv6Address(text) if ":" in text else IPv4Address(text)


def _networks(texts: Iterable[str]) -> Tuple[IPNetwork, ...]:
    return tuple([IPv6Network(text) if ":" in text else IPv4Network(_numbers(text)) for text in texts])


def _interfaces(texts: Iterable[str]) -> Tuple[IPInterface, ...]:
    return tuple([IPv6Interface(text) if ":" in text else IPv4Interface(_numbers(text)) for text in texts])


def _numbers(text: str) -> Tuple[int, int]:
    """``10.0.0.1/24`` as numbers: what ipaddress spends on the text is half the time of reading 5,000 nodes."""
    address, _, prefix = text.partition("/")
    return int.from_bytes(inet_pton(AF_INET, address), "big"), int(prefix)
