"""Checks that combine variables. They look at the finished Cluster, and name the variables that made it."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_network
from typing import Collection, Dict, List, Sequence, Set, Tuple

from ...backend import BACKENDS, Endpoint, device_names
from ...model.objects import IPNetwork
from ..cluster import Cluster, Node
from .field import ALL, Problems, root
from .nodes import NodeIntent
from .settings import LONGEST

#: RFC 6890 and RFC 4291: ranges that cannot hold pods, services or nodes.
_RESERVED = {
    ip_network("0.0.0.0/8"): "this network",
    ip_network("127.0.0.0/8"): "loopback",
    ip_network("169.254.0.0/16"): "link-local",
    ip_network("224.0.0.0/4"): "multicast",
    ip_network("240.0.0.0/4"): "reserved",
    ip_network("::/128"): "unspecified",
    ip_network("::1/128"): "loopback",
    ip_network("fe80::/10"): "link-local",
    ip_network("ff00::/8"): "multicast",
}
#: BR_MAX_PORTS of net/bridge/br_private.h, port 0 apart.
_BRIDGE_PORTS = 1023
_LOWEST_MTU = {4: 576, 6: 1280}


def check(cluster: Cluster, intents: Sequence[NodeIntent], declared: Collection[str], problems: Problems) -> None:
    """Every check of a whole cluster. ``declared`` are the cluster's variables that are not defaults."""
    _ranges(cluster, declared, problems)
    _kinds(cluster, declared, problems)
    _families(cluster, problems)
    _capacity(cluster, intents, problems)
    _public_ips(cluster, intents, problems)
    _mtu(cluster, problems)
    _routers(cluster, problems)
    if cluster.backend_driver.needs_adjacency and problems.sound("underlay", "cluster_cidrs"):
        for version in cluster.versions:
            _adjacency(cluster, version, problems)


def _ranges(cluster: Cluster, declared: Collection[str], problems: Problems) -> None:
    """Pod, service and node ranges do not overlap each other or what the Internet reserves."""
    ranges: List[Tuple[str, IPNetwork]] = []
    for path, cidrs in (("cluster_cidrs", cluster.cluster_cidrs), ("service_cidrs", cluster.service_cidrs)):
        ranges += [(f"{path}[{i}]", cidr) for i, cidr in enumerate(cidrs) if problems.sound(path)]
    segments = [(f"underlay.segments.{segment.name}.cidrs", segment) for segment in cluster.underlay.segments]
    ranges += [(path, cidr) for path, segment in segments for cidr in segment.cidrs]
    # The range that the user wrote is the one to change: defaults first, so that it is named.
    defaults = {path for path, _ in ranges if root(path) not in declared}
    ranges.sort(key=lambda entry: entry[0] not in defaults)
    for i, (path, cidr) in enumerate(ranges):
        for reserved, what in _RESERVED.items():
            if reserved.version == cidr.version and reserved.overlaps(cidr):
                right = "write a private range, e.g. out of 10.0.0.0/8 or fd00::/8"
                problems.add(ALL, path, str(cidr), f"overlaps {reserved} ({what})", right)
        for other_path, other in ranges[:i]:
            both_segments = path.startswith("underlay") and other_path.startswith("underlay")
            if cidr.version == other.version and cidr.overlaps(other) and not both_segments:
                right = "write ranges for pods, services and nodes that do not overlap"
                default = " (the default)" if other_path in defaults else ""
                problems.add(ALL, path, str(cidr), f"overlaps {other_path} = {other}{default}", right)
    for node in cluster.nodes:
        if node.kind == "ssh":
            for address in (*(interface.ip for interface in node.addresses), *node.public_ips):
                for path, cidr in ranges:
                    if address in cidr and not path.startswith("underlay"):
                        right = f"choose {root(path)} away from the nodes' network"
                        problems.add(node.name, "node_address", str(address), f"inside {path} = {cidr}", right)


def _kinds(cluster: Cluster, declared: Collection[str], problems: Problems) -> None:
    """Nodes of different kinds do not see each other; an external interface is nobody else's."""
    lab = next((node for node in cluster.nodes if node.kind != "ssh"), None)
    docker = [node for node in cluster.nodes if node.kind == "docker"]
    if docker and cluster.underlay.routers:
        cause = f"Docker drops what it would have to forward between its networks, and {docker[0].name} is on one"
        problems.add(ALL, "underlay.routers", None, cause, "leave it out, or make the nodes netns nodes")
    if lab is None and "underlay" in declared:
        problems.add(ALL, "underlay", None, "all nodes are ssh nodes, which have a network already", "leave it out")
    for node in cluster.nodes:
        if lab is not None and node.kind != lab.kind:
            place = "lies inside this machine" if node.kind == "ssh" else "is another"
            cause = f"{lab.name} is a {lab.kind} node, whose underlay {place}"
            problems.add(node.name, "node_kind", node.kind, cause, "declare them in two inventories")
        if node.kind == "ssh" and node.interface in _made_devices(cluster):
            cause = "the name of a device that podwire makes"
            problems.add(node.name, "node_interface", node.interface, cause, "write the external interface's name")


def _made_devices(cluster: Cluster) -> Set[str]:
    return {cluster.cni.bridge, *device_names(cluster.backend)}


def _families(cluster: Cluster, problems: Problems) -> None:
    """Pods, services and the underlay speak the same families."""
    for version in cluster.versions:
        if problems.sound("service_cidrs") and all(
            service_cidr.version != version for service_cidr in cluster.service_cidrs
        ):
            right = f"add one, e.g. {'10.96.0.0/16' if version == 4 else 'fd00:10:96::/112'}"
            value = list(map(str, cluster.service_cidrs))
            problems.add(ALL, "service_cidrs", value, f"no IPv{version} CIDR, and pods have IPv{version}", right)
        lacking: Dict[str, List[Node]] = {}
        for node in cluster.nodes:
            if node.address(version) is None:
                lacking.setdefault(node.ports[0].segment if node.ports else "", []).append(node)
        for segment, nodes in lacking.items():
            cause = f"no IPv{version} address, and the peers of IPv{version} pods are reached over IPv{version}"
            if not segment:
                for node in nodes:
                    if node.addresses:  # that it has none at all is said already
                        addresses = list(map(str, node.addresses))
                        problems.add(node.name, "node_addresses", addresses, cause, f"add one of IPv{version}")
            elif problems.sound("underlay"):
                cidrs = [
                    str(c) for declared in cluster.underlay.segments if declared.name == segment for c in declared.cidrs
                ]
                right = f"add an IPv{version} CIDR for {nodes[0].name} and what else stands there"
                problems.add(ALL, f"underlay.segments.{segment}.cidrs", cidrs, cause, right)
    for i, cidr in enumerate(cluster.service_cidrs):
        if problems.sound("service_cidrs", "cluster_cidrs") and cidr.version not in cluster.versions:
            right = f"remove it, or add an IPv{cidr.version} CIDR to cluster_cidrs"
            problems.add(ALL, f"service_cidrs[{i}]", str(cidr), f"no pod has IPv{cidr.version}", right)


def usable(cidr_length: int, version: int) -> int:
    """Addresses that host-local gives to pods: not the network, not the gateway, not IPv4's broadcast."""
    return int(2 ** ((32 if version == 4 else 128) - cidr_length)) - (3 if version == 4 else 2)


def _capacity(cluster: Cluster, intents: Sequence[NodeIntent], problems: Problems) -> None:
    """Each node's pod CIDR has room for its pods."""
    asked = Counter(pod.node for pod in cluster.pods if not pod.host_network)
    if not problems.sound("pods", "node_pods", "node_prefix_length", "cluster_cidrs"):
        return
    for intent, node in zip(intents, cluster.nodes):
        count = asked[node.name]
        for cidr in node.pod_cidrs:
            if usable(cidr.prefixlen, cidr.version) >= count:
                continue
            fits = next(n for n in range(LONGEST[cidr.version], -1, -1) if usable(n, cidr.version) >= count)
            right = f"write /{fits} or shorter, or ask for fewer pods"
            room = f"room for {usable(cidr.prefixlen, cidr.version)} of the {count} pods"
            if cidr.version in intent.pod_cidrs:
                intent.pod_cidrs[cidr.version][0].fail(room, right)
            else:
                problems.add(node.name, "node_prefix_length", cidr.prefixlen, f"a pod CIDR has {room}", right)
        if cluster.cni.type == "bridge" and count > _BRIDGE_PORTS:
            cause = f"{count} pods on one node, and a Linux bridge has {_BRIDGE_PORTS} ports"
            problems.add(node.name, "node_pods" if intent.pods else "pods", None, cause, "set cni.type to ptp")


def _public_ips(cluster: Cluster, intents: Sequence[NodeIntent], problems: Problems) -> None:
    """Public IPs tell nodes apart, and belong to a family that the node has."""
    owners: Dict[object, str] = {}
    for intent, node in zip(intents, cluster.nodes):
        for version, (variable, _) in intent.public_ips.items():
            if node.address(version) is None:
                right = f"leave it out, or give the node an IPv{version} address"
                variable.fail(f"{node.name} has no IPv{version} address", right)
        for ip in node.public_ips:
            other = owners.setdefault(ip, node.name)
            if other != node.name:
                path = "node_public_ip" if intent.public_ips else "node_address"
                cause = f"{other} is reached at this address as well"
                problems.add(node.name, path, str(ip), cause, "give each node its own")


def _mtu(cluster: Cluster, problems: Problems) -> None:
    """The pods' MTU fits below the underlay's, and IP fits into it."""
    if not problems.sound("underlay", "backend", "node_mtu"):
        return
    underlay = cluster.underlay_mtu
    room = min(cluster.overlay_mtu(version) for version in cluster.versions)
    overhead, title = underlay - room, cluster.backend_driver.title
    less = f"the smallest MTU of the underlay is {underlay}" + (f", less {overhead} for {title}" if overhead else "")
    lowest = max(_LOWEST_MTU[version] for version in cluster.versions)
    if room < lowest:
        cause = f"leaves pods an MTU of {room}, and IPv{6 if lowest == 1280 else 4} needs {lowest}: {less}"
        segment = next((candidate for candidate in cluster.underlay.segments if candidate.mtu == underlay), None)
        path = f"underlay.segments.{segment.name}.mtu" if segment else "node_mtu"
        problems.add(ALL, path, underlay, cause, f"write {lowest + overhead} or more")
    elif cluster.backend.mtu is not None and cluster.backend.mtu > room:
        problems.add(ALL, "backend.mtu", cluster.backend.mtu, f"leaves no room: {less}", f"write auto, or up to {room}")


def _routers(cluster: Cluster, problems: Problems) -> None:
    """Nodes on different segments have routers between them, in every family of the pods."""
    if not problems.sound("underlay"):
        return
    for version in cluster.versions:
        reach: Dict[str, Set[str]] = {segment.name: {segment.name} for segment in cluster.underlay.segments}
        for router in cluster.underlay.routers:
            ends = [p.segment for p in router.ports if any(a.version == version for a in p.addresses)]
            joined = set().union(*(reach[end] for end in ends)) if ends else set()
            for segment in joined:
                reach[segment] = joined
        first: Dict[int, Node] = {}
        for node in cluster.nodes:
            if node.ports and node.address(version) is not None:
                first.setdefault(id(reach[node.ports[0].segment]), node)
        one = next(iter(first.values()), None)
        for other in list(first.values())[1:]:
            assert one is not None
            ends = [one.ports[0].segment, other.ports[0].segment]
            cause = f"no router leads from {ends[0]} to {ends[1]} over IPv{version}: {_ends(one, other, version)}"
            right = f"add one, e.g. {{spine: {{segments: [{', '.join(ends)}]}}}}"
            problems.add(ALL, "underlay.routers", None, cause, right)


def _adjacency(cluster: Cluster, version: int, problems: Problems) -> None:
    """For a backend that sends to a peer's own address on a shared segment: no NAT, no router between."""
    kind = cluster.backend.type
    others = " or ".join(backend.type for backend in BACKENDS.values() if not backend.needs_adjacency)
    groups: List[List[Endpoint]] = []
    for node in cluster.nodes:
        endpoint = node.endpoint(version)
        if endpoint is None:  # that is a problem of its own
            continue
        own_address = endpoint.address.ip
        if endpoint.public_ip != own_address:
            cause = f"{kind} needs the node's own address, {own_address}, and peers see another behind NAT"
            right = f"leave it out, or set backend.type to {others}"
            problems.add(node.name, "node_public_ip", str(endpoint.public_ip), cause, right)
            continue
        group = next((group for group in groups if group[0].is_adjacent(endpoint)), None)
        if group is None:
            groups.append([endpoint])
        else:
            group.append(endpoint)
    for group in groups[1:]:
        one, other = groups[0][0], group[0]
        cause = f"{one.name} ({one.address}) and {other.name} ({other.address}) are not on one segment"
        right = f"write {others} (with direct_routing: true, peers on one segment are still routed directly)"
        problems.add(ALL, "backend.type", kind, cause, right)


def _ends(one: Node, other: Node, version: int) -> str:
    return f"{one.name} ({one.address(version)}) and {other.name} ({other.address(version)})"
