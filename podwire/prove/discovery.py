"""Clusters whose pods somebody else made: found on each node, and intent inferred from what was found.

``find`` runs on every node before any of them probes; ``infer`` is pure, and says where each thing came from.
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
    """``port``: of a server of ours in it, 0 where none could listen."""

    netns: str
    addresses: List[str]
    port: int


class _DiscoveredOptions(TypedDict, total=False):
    snapshot: snapshot.Snapshot
    pods: Dict[str, DiscoveredPod]


class Discovered(_DiscoveredOptions):
    """What a node has, as JSON: ``pods`` and ``snapshot`` where the pods are to be found, and in ``sinks`` the port of
    whoever swallows what it is sent."""

    sinks: Dict[str, int]


class Inferred(NamedTuple):
    """The cluster as it was found; ``addresses`` and ``netns`` by pod; ``notes`` say what was inferred from what."""

    cluster: Cluster
    addresses: Dict[str, List[str]]
    netns: Dict[str, str]
    notes: Tuple[str, ...]


def find(cluster: Cluster, node: str, throughput: bool = False) -> Discovered:
    """Prepare the node this process runs in until ``leave``: pods of others answer, and where ``throughput`` is
    to be measured the node and one of its pods swallow what they are sent."""
    pods: Dict[str, DiscoveredPod] = {}
    result: Discovered = {"sinks": {}}
    if cluster.discovered:
        here = cluster.node(node)
        result["snapshot"] = snapshot.take(node, uplinks={here.interface, *(port.device for port in here.ports)})
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
    """End what ``find`` started."""
    responders.stop()


def infer(cluster: Cluster, found: Mapping[str, Discovered]) -> Inferred:
    """The declared cluster with pods, blocks, MTU, backend and CNI as they are on the nodes that were looked at."""
    pods: List[Pod] = []
    addresses: Dict[str, List[str]] = {}
    netns: Dict[str, str] = {}
    ips: Dict[str, List[IPAddress]] = {}
    for node, told in found.items():
        for name, each in told["pods"].items():
            pods.append(Pod(name, node, port=each["port"] or 1))
            addresses[name], netns[name] = each["addresses"], each["netns"]
            ips.setdefault(node, []).extend(map(ip_address, each["addresses"]))
    versions = sorted({ip.version for each in ips.values() for ip in each})
    notes = [f"{len(pods)} pods found by their network namespaces on {len(found)} nodes"]
    if not pods:
        return Inferred(cluster, {}, {}, tuple(notes))
    nodes, sources = _nodes(cluster, found, ips, versions)
    notes += [f"pod CIDRs from {source}" for source in sorted(sources)]
    mtu, source = _mtu(found)
    notes.append(f"MTU {mtu} from {source}")
    inferred = replace(
        cluster,
        cluster_cidrs=tuple(_cluster_cidr(cluster, found, nodes, version) for version in versions),
        service_cidrs=tuple(cidr for cidr in cluster.service_cidrs if cidr.version in versions),
        nodes=tuple(nodes),
        pods=tuple(pods),
        cni=_cni(found),
        backend=replace(_backend(found), mtu=mtu or None),
    )
    mute = sorted(name for node in found.values() for name, each in node["pods"].items() if not each["port"])
    if mute:
        notes.append(f"no free port for a server in {', '.join(mute)}")
    return Inferred(inferred, addresses, netns, tuple(notes))


def _nodes(
    cluster: Cluster, found: Mapping[str, Discovered], ips: Mapping[str, List[IPAddress]], versions: Sequence[int]
) -> Tuple[List[Node], List[str]]:
    """The nodes with their blocks, and where these are written."""
    nodes: List[Node] = []
    sources = set()
    for node in cluster.nodes:
        cidrs: List[IPNetwork] = []
        for version in versions:
            own = [ip for ip in ips.get(node.name, ()) if ip.version == version]
            if own:
                cidr, source = _block(found[node.name]["snapshot"], own)
                cidrs.append(cidr)
                sources.add(source)
        nodes.append(replace(node, pod_cidrs=tuple(cidrs)))
    return nodes, sorted(sources)


def _block(taken: snapshot.Snapshot, own: Sequence[IPAddress]) -> Tuple[IPNetwork, str]:
    """The block that holds a node's pods, or half of them at least, so that a stray one is seen to be outside: as it is
    written, else as the node's devices have it, else the least."""
    for network, place in blocks_of(taken):
        if _holds(network, own):
            return network, "subnet.env" if place == "subnet.env" else "CNI configuration"
    for address in taken["namespace"]["addresses"]:
        network = ip_interface((address["address"], address["prefix"])).network
        if network.prefixlen < network.max_prefixlen and _holds(network, own):
            return network, "the nodes' devices"
    return _least(own), "the pods' addresses"


def _holds(network: IPNetwork, own: Sequence[IPAddress]) -> bool:
    return 2 * sum(ip in network for ip in own) >= len(own)


def _least(ips: Sequence[IPAddress]) -> IPNetwork:
    """The smallest network that holds all."""
    least: IPNetwork = ip_network(ips[0])
    while not all(ip in least for ip in ips):
        least = least.supernet()
    return least


def _cluster_cidr(cluster: Cluster, found: Mapping[str, Discovered], nodes: Sequence[Node], version: int) -> IPNetwork:
    """The network that holds the nodes' blocks: as it is written, else the least."""
    blocks = [cidr for node in nodes for cidr in node.pod_cidrs if cidr.version == version]
    ends = [ip for block in blocks for ip in (block[0], block[-1])]
    for network in (*_flannel_networks(found), *cluster.cluster_cidrs):
        if network.version == version and all(ip in network for ip in ends):
            return network
    return _least(ends)


def _flannel_networks(found: Mapping[str, Discovered]) -> Iterator[IPNetwork]:
    for told in found.values():
        for key in ("FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK"):
            text = told["snapshot"]["subnet_env"].get(key, "")
            if text:
                try:
                    yield ip_network(text)
                except ValueError:
                    continue


def _mtu(found: Mapping[str, Discovered]) -> Tuple[int, str]:
    """The pods' MTU: what most of their devices have."""
    counts: Counter[int] = Counter()
    for told in found.values():
        for sandbox in told["snapshot"]["sandboxes"].values():
            mtu = real_devices(sandbox["namespace"])["mtu"]
            if mtu:
                counts[mtu] += 1
    return (counts.most_common(1)[0][0], "the pods' devices") if counts else (0, "nowhere")


def _cni(found: Mapping[str, Discovered]) -> CniSettings:
    """``bridge`` with its name where pods' devices are ports of one, as most of them are ports."""
    ports: Counter[Tuple[str, bool]] = Counter()
    for told in found.values():
        taken = told["snapshot"]
        numbers = {sandbox["nsid"] for sandbox in taken["sandboxes"].values()}
        for link in taken["namespace"]["links"]:
            if link.get("link_netnsid") in numbers and link.get("master"):
                ports[link["master"], link.get("port", {}).get("hairpin", False)] += 1
    if not ports:
        return CniSettings("ptp")
    bridge, hairpin = ports.most_common(1)[0][0]
    return CniSettings("bridge", bridge=bridge, hairpin=hairpin)


def _backend(found: Mapping[str, Discovered]) -> BackendSettings:
    for told in found.values():
        for link in told["snapshot"]["namespace"]["links"]:
            if "vxlan" in link and link["up"]:
                return BackendSettings(VxlanBackend.type, vni=link["vxlan"]["vni"], port=link["vxlan"]["port"])
    return BackendSettings(HostGwBackend.type)
