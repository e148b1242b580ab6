"""What the guarantees ask of a cluster: who probes whom, and which source address counts as "no NAT". Pure.

The promise "no NAT" is made for pod addresses: a pod's own address is what every other pod must see.
A hostNetwork pod has its node's addresses, which lie outside the cluster CIDRs, so for it a set of
addresses is accepted:

- pod -> hostNetwork pod on another node: the packet leaves the cluster CIDRs, so the pod's own address
  or, with ``masquerade``, one of its node's. On its own node nothing is masqueraded: the pod's own.
- hostNetwork pod -> pod: whatever the node's routing picks: an address of the node, of its VXLAN device
  (the base of its podCIDR) or of its bridge (base + 1).
- hostNetwork pod -> hostNetwork pod: an address of the source's node.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address
from typing import Dict, FrozenSet, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from ..cluster import Cluster, Node

#: Up to so many ordered pairs, every one of them gets its path MTU measured; beyond, every class.
ALL_PAIRS = 1000

#: Addresses of pods as the nodes attached them: pod -> addresses as text.
Addresses = Mapping[str, Sequence[str]]


class Endpoint(NamedTuple):
    """One address of one pod. ``address`` is text, as sockets want it; empty for a pod that lacks one."""

    pod: str
    node: str
    version: int
    address: str
    port: int
    host_network: bool


class Pair(NamedTuple):
    """An ordered pair of endpoints of one family."""

    source: Endpoint
    target: Endpoint


def endpoints(cluster: Cluster, addresses: Addresses) -> Tuple[Endpoint, ...]:
    """Every address of every declared pod; one without text for each family that a pod lacks, so that
    what cannot be probed still counts. A hostNetwork pod has its node's public IPs."""
    found: List[Endpoint] = []
    for pod in cluster.pods:
        if pod.host_network:
            ips = list(cluster.node(pod.node).public_ips)
        else:
            ips = [ip_address(text.partition("/")[0]) for text in addresses.get(pod.name, ())]
            lacking = set(cluster.versions) - {ip.version for ip in ips}
            found += [Endpoint(pod.name, pod.node, each, "", pod.port, False) for each in sorted(lacking)]
        found += [Endpoint(pod.name, pod.node, ip.version, str(ip), pod.port, pod.host_network) for ip in ips]
    return tuple(found)


def pairs_from(node: str, ends: Sequence[Endpoint]) -> Iterator[Pair]:
    """Every ordered pair whose source runs on ``node``, source by source. Each source begins behind
    itself in the list, so that probers that start together do not all fall on the same pod."""
    for index, source in enumerate(ends):
        if source.node == node:
            for target in (*ends[index + 1 :], *ends[:index]):
                if target.version == source.version and target.pod != source.pod:
                    yield Pair(source, target)


def agent_targets(node: str, ends: Sequence[Endpoint]) -> List[Endpoint]:
    """What a node's agents must reach: every address of the node's own pods."""
    return [end for end in ends if end.node == node]


def measures_all(ends: Sequence[Endpoint]) -> bool:
    """Whether the cluster is small enough to measure the path MTU of every pair."""
    counts = Counter(end.version for end in ends if not end.host_network)
    return sum(count * (count - 1) for count in counts.values()) <= ALL_PAIRS


def mtu_pairs_from(node: str, ends: Sequence[Endpoint]) -> Iterator[Pair]:
    """The pairs whose path MTU ``node`` measures: all, or one for each (pod, node of the peer).

    A path's MTU depends on the two nodes and on the two pods' own devices, so with classes every pod
    sends to every node, and the targets rotate so that every pod is also sent to. hostNetwork pods
    have the underlay's MTU and are left out.
    """
    own = [end for end in ends if not end.host_network]
    if measures_all(ends):
        yield from pairs_from(node, own)
        return
    groups: Dict[Tuple[str, int], List[Endpoint]] = {}
    for end in own:
        groups.setdefault((end.node, end.version), []).append(end)
    names = list(dict.fromkeys(end.node for end in own))
    for index, source in enumerate(own):
        if source.node != node:
            continue
        for turn, name in enumerate(names):
            candidates = [end for end in groups.get((name, source.version), ()) if end.pod != source.pod]
            if candidates:
                yield Pair(source, candidates[(index + turn) % len(candidates)])


def accepted_sources(cluster: Cluster, pair: Pair) -> FrozenSet[str]:
    """The addresses the target may see as the pair's source; see the module's docstring."""
    source, target = pair
    node = cluster.node(source.node)
    if not source.host_network:
        own = frozenset((source.address,))
        leaves = target.host_network and target.node != source.node and cluster.masquerade
        return own | node_addresses(node, source.version) if leaves else own
    if target.host_network:
        return node_addresses(node, source.version)
    block = node.pod_cidr(source.version)
    overlay = (str(block[0]), str(block[1])) if block is not None else ()
    return node_addresses(node, source.version).union(overlay)


def node_addresses(node: Node, version: int) -> FrozenSet[str]:
    """Every address of a family that intent gives a node on its underlay."""
    interfaces = [*node.addresses, *(each for port in node.ports for each in port.addresses)]
    found = {str(each.ip) for each in interfaces if each.version == version}
    return frozenset(found | {str(ip) for ip in node.public_ips if ip.version == version})
