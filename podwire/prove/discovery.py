"""Clusters with pods of other runtimes: sandboxes are discovered on each node, and intent is inferred from them.

``find`` runs on every node before any of them probes; ``infer`` is pure, and notes the source of each value.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Dict, Iterator, List, Mapping, NamedTuple, Sequence, Tuple, TypedDict

from ..backend import BackendSettings
from ..backend.host_gw import HostGwBackend
from ..backend.vxlan import VxlanBackend
from ..intent.cluster import Cluster, CniSettings, Node, Pod
from ..model.objects import IPAddress, IPNetwork
from ..observe import snapshot
from ..sandbox import sandboxes
from . import responders
from .leases import blocks_of
from .observations import real_devices


class DiscoveredPod(TypedDict):
    """``port``: of podwire's server in it, 0 if none could listen."""

    netns: str
    addresses: List[str]
    port: int


class _DiscoveredOptions(TypedDict, total=False):
    snapshot: snapshot.Snapshot
    pods: Dict[str, DiscoveredPod]


class Discovered(_DiscoveredOptions):
    """What a node has, as JSON: ``pods`` and ``snapshot`` if pods are discovered, and in ``sinks`` the ports of
    servers that discard what they receive."""

    sinks: Dict[str, int]


class Inferred(NamedTuple):
    """The discovered cluster; ``addresses`` and ``netns`` by pod; ``notes`` say what was inferred from what."""

    cluster: Cluster
    addresses: Dict[str, List[str]]
    netns: Dict[str, str]
    notes: Tuple[str, ...]


def find(cluster: Cluster, node: str, throughput: bool = False) -> Discovered:
    """Prepare the node this process runs in until ``leave``: start servers in discovered pods, and if ``throughput``
    is measured, sinks in the node and one of its pods."""
    pods: Dict[str, DiscoveredPod] = {}
    result: Discovered = {"sinks": {}}
    if cluster.discovered:
        declared = cluster.node(node)
        result["snapshot"] = snapshot.take(
            node, uplinks={declared.interface, *(port.device for port in declared.ports)}
        )
        for name, sandbox in result["snapshot"]["sandboxes"].items():
            addresses = real_devices(sandbox["namespace"])["addresses"]
            if addresses:
                key = f"{node}/{re.sub(r'[^A-Za-z0-9._-]', '-', name)}"
                pods[key] = {"netns": sandbox["netns"], "addresses": addresses, "port": 0}
        result["pods"] = pods
    paths = {name: pod["netns"] for name, pod in pods.items()}
    servers = dict(paths)
    if not cluster.discovered:
        paths = {running.pod: running.netns for running in sandboxes.running().values() if not running.host_network}
    sinks = {node: "/proc/self/ns/net"} if throughput else {}
    if throughput and paths:
        last = list(paths)[-1]  # the first one sends
        sinks[last] = paths[last]
    started = responders.start(node, servers, sinks)
    for name, pod in pods.items():
        pod["port"] = started.servers.get(name, 0)
    result["sinks"] = dict(started.sinks)
    return result


def leave() -> None:
    """Stop what ``find`` started."""
    responders.stop()


def infer(cluster: Cluster, by_node: Mapping[str, Discovered]) -> Inferred:
    """The declared cluster with the pods, pod CIDRs, MTU, backend and CNI of the nodes that reported."""
    pods: List[Pod] = []
    addresses: Dict[str, List[str]] = {}
    netns: Dict[str, str] = {}
    ips: Dict[str, List[IPAddress]] = {}
    for node, discovered in by_node.items():
        for name, pod in discovered["pods"].items():
            pods.append(Pod(name, node, port=pod["port"] or 1))
            addresses[name], netns[name] = pod["addresses"], pod["netns"]
            ips.setdefault(node, []).extend(map(ip_address, pod["addresses"]))
    versions = sorted({ip.version for pod in ips.values() for ip in pod})
    notes = [f"{len(pods)} pods found by their network namespaces on {len(by_node)} nodes"]
    if not pods:
        return Inferred(cluster, {}, {}, tuple(notes))
    nodes, sources = _nodes(cluster, by_node, ips, versions)
    notes += [f"pod CIDRs from {source}" for source in sorted(sources)]
    mtu, source = _mtu(by_node)
    notes.append(f"MTU {mtu} from {source}")
    inferred = replace(
        cluster,
        cluster_cidrs=tuple(_cluster_cidr(cluster, by_node, nodes, version) for version in versions),
        service_cidrs=tuple(cidr for cidr in cluster.service_cidrs if cidr.version in versions),
        nodes=tuple(nodes),
        pods=tuple(pods),
        cni=_cni(by_node),
        backend=replace(_backend(by_node), mtu=mtu or None),
    )
    silent_pods = sorted(name for node in by_node.values() for name, pod in node["pods"].items() if not pod["port"])
    if silent_pods:
        notes.append(f"no free port for a server in {', '.join(silent_pods)}")
    return Inferred(inferred, addresses, netns, tuple(notes))


def _nodes(
    cluster: Cluster, by_node: Mapping[str, Discovered], ips: Mapping[str, List[IPAddress]], versions: Sequence[int]
) -> Tuple[List[Node], List[str]]:
    """The nodes with their pod CIDRs, and the sources of these."""
    nodes: List[Node] = []
    sources = set()
    for node in cluster.nodes:
        cidrs: List[IPNetwork] = []
        for version in versions:
            pod_ips = [ip for ip in ips.get(node.name, ()) if ip.version == version]
            if pod_ips:
                cidr, source = _block(by_node[node.name]["snapshot"], pod_ips)
                cidrs.append(cidr)
                sources.add(source)
        nodes.append(replace(node, pod_cidrs=tuple(cidrs)))
    return nodes, sorted(sources)


def _block(node_snapshot: snapshot.Snapshot, pod_ips: Sequence[IPAddress]) -> Tuple[IPNetwork, str]:
    """The pod CIDR with at least half of a node's pods, so that a stray one is recognised: as configured, else of the
    node's devices, else the smallest."""
    for network, file in blocks_of(node_snapshot):
        if _has_most(network, pod_ips):
            return network, "subnet.env" if file == "subnet.env" else "CNI configuration"
    for address in node_snapshot["namespace"]["addresses"]:
        network = ip_interface((address["address"], address["prefix"])).network
        if network.prefixlen < network.max_prefixlen and _has_most(network, pod_ips):
            return network, "the nodes' devices"
    return _least(pod_ips), "the pods' addresses"


def _has_most(network: IPNetwork, pod_ips: Sequence[IPAddress]) -> bool:
    return 2 * sum(ip in network for ip in pod_ips) >= len(pod_ips)


def _least(ips: Sequence[IPAddress]) -> IPNetwork:
    """The smallest network that has all addresses."""
    least: IPNetwork = ip_network(ips[0])
    while not all(ip in least for ip in ips):
        least = least.supernet()
    return least


def _cluster_cidr(
    cluster: Cluster, by_node: Mapping[str, Discovered], nodes: Sequence[Node], version: int
) -> IPNetwork:
    """The network that has the nodes' pod CIDRs: as configured, else the smallest."""
    blocks = [cidr for node in nodes for cidr in node.pod_cidrs if cidr.version == version]
    ends = [ip for block in blocks for ip in (block[0], block[-1])]
    for network in (*_flannel_networks(by_node), *cluster.cluster_cidrs):
        if network.version == version and all(ip in network for ip in ends):
            return network
    return _least(ends)


def _flannel_networks(by_node: Mapping[str, Discovered]) -> Iterator[IPNetwork]:
    for discovered in by_node.values():
        for key in ("FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK"):
            text = discovered["snapshot"]["subnet_env"].get(key, "")
            if text:
                try:
                    yield ip_network(text)
                except ValueError:
                    continue


def _mtu(by_node: Mapping[str, Discovered]) -> Tuple[int, str]:
    """The pods' MTU: that of most of their devices."""
    counts: Counter[int] = Counter()
    for discovered in by_node.values():
        for sandbox in discovered["snapshot"]["sandboxes"].values():
            mtu = real_devices(sandbox["namespace"])["mtu"]
            if mtu:
                counts[mtu] += 1
    return (counts.most_common(1)[0][0], "the pods' devices") if counts else (0, "nowhere")


def _cni(by_node: Mapping[str, Discovered]) -> CniSettings:
    """``bridge``, with the name and hairpin mode of most of the pods' ports; ``ptp`` if there are none."""
    ports: Counter[Tuple[str, bool]] = Counter()
    for discovered in by_node.values():
        node_snapshot = discovered["snapshot"]
        numbers = {sandbox["nsid"] for sandbox in node_snapshot["sandboxes"].values()}
        for link in node_snapshot["namespace"]["links"]:
            if link.get("link_netnsid") in numbers and link.get("master"):
                ports[link["master"], link.get("port", {}).get("hairpin", False)] += 1
    if not ports:
        return CniSettings("ptp")
    bridge, hairpin = ports.most_common(1)[0][0]
    return CniSettings("bridge", bridge=bridge, hairpin=hairpin)


def _backend(by_node: Mapping[str, Discovered]) -> BackendSettings:
    for discovered in by_node.values():
        for link in discovered["snapshot"]["namespace"]["links"]:
            if "vxlan" in link and link["up"]:
                return BackendSettings(VxlanBackend.type, vni=link["vxlan"]["vni"], port=link["vxlan"]["port"])
    return BackendSettings(HostGwBackend.type)
