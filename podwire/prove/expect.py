"""What the guarantees require of a cluster: who probes whom, and which source addresses count as "no NAT". Pure.

The promise "no NAT" is made for pod addresses: a pod's own address is what every other pod must see.
A hostNetwork pod has its node's addresses, which lie outside the cluster CIDRs, so for it a set of
addresses is accepted:

- pod -> hostNetwork pod on another node: the packet leaves the cluster CIDRs, so the pod's own address
  or, with ``masquerade``, one of its node's. On its own node nothing is masqueraded: the pod's own.
- hostNetwork pod -> pod: what the node's routing selects: an address of the node, of its VXLAN device
  (the base of its podCIDR) or of its bridge (base + 1).
- hostNetwork pod -> hostNetwork pod: an address of the source's node.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address
from typing import Dict, FrozenSet, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from ..intent.cluster import Cluster, Node

#: Up to so many ordered pairs, every pair is probed by all protocols. Above, a sample (classes of pairs).
ALL_PAIRS = 10_000
#: Up to so many pairs, the path MTU of every pair is measured. Above, that of the sample.
MEASURED_PAIRS = 1000
#: Which pairs are probed: ``auto`` is ``all`` for a cluster that is small enough.
MODES = ("auto", "all", "classes")

#: Addresses of pods as the nodes attached them: pod -> addresses as text.
Addresses = Mapping[str, Sequence[str]]


class Endpoint(NamedTuple):
    """One address of one pod. ``address`` is text, as sockets take it; empty for a pod without one."""

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
    """Every address of every declared pod; one with an empty address for each family that a pod lacks, so that
    checks that cannot run are counted. A hostNetwork pod has its node's public IPs."""
    ends: List[Endpoint] = []
    for pod in cluster.pods:
        if pod.host_network:
            ips = list(cluster.node(pod.node).public_ips)
        else:
            ips = [ip_address(text.partition("/")[0]) for text in addresses.get(pod.name, ())]
            lacking = set(cluster.versions) - {ip.version for ip in ips}
            ends += [Endpoint(pod.name, pod.node, version, "", pod.port, False) for version in sorted(lacking)]
        ends += [Endpoint(pod.name, pod.node, ip.version, str(ip), pod.port, pod.host_network) for ip in ips]
    return tuple(ends)


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


def count_pairs(ends: Sequence[Endpoint]) -> int:
    """How many ordered pairs of the same family there are."""
    counts = Counter(end.version for end in ends)
    return sum(count * (count - 1) for count in counts.values())


def mode_for(ends: Sequence[Endpoint], wanted: str = "auto") -> str:
    """``all`` or ``classes``."""
    return wanted if wanted != "auto" else "all" if count_pairs(ends) <= ALL_PAIRS else "classes"


def measures_all(ends: Sequence[Endpoint]) -> bool:
    """Whether the cluster is small enough to measure the path MTU of every pair."""
    return count_pairs([end for end in ends if not end.host_network]) <= MEASURED_PAIRS


def mtu_pairs_from(node: str, ends: Sequence[Endpoint]) -> Iterator[Pair]:
    """The pairs whose path MTU ``node`` measures: all, or classes. hostNetwork pods have the underlay's MTU
    and are left out."""
    pod_ends = [end for end in ends if not end.host_network]
    return pairs_from(node, pod_ends) if measures_all(ends) else classes_from(node, pod_ends)


def bulk_pairs_from(node: str, ends: Sequence[Endpoint]) -> Iterator[Pair]:
    """One pair of pods for each node that ``node`` sends to, and family."""
    pod_ends = [end for end in ends if not end.host_network]
    covered = set()
    for pair in classes_from(node, pod_ends):
        if (pair.target.node, pair.target.version) not in covered:
            covered.add((pair.target.node, pair.target.version))
            yield pair


def classes_from(node: str, ends: Sequence[Endpoint]) -> Iterator[Pair]:
    """A sample of the pairs from ``node``: one for each pair of nodes, and one to and one from each pod.

    A packet's path depends on the two nodes and on the two pods' devices. The peers rotate, so that
    an error that a node has about some of another node's pods affects some of these pairs.
    """
    yield from dict.fromkeys(_classes(node, ends))


def _classes(node: str, ends: Sequence[Endpoint]) -> Iterator[Pair]:
    for version in (4, 6):
        by_node: Dict[str, List[Endpoint]] = {}
        for end in ends:
            if end.version == version:
                by_node.setdefault(end.node, []).append(end)
        names = list(by_node)
        if node not in by_node:
            continue
        local, position = by_node[node], names.index(node)
        for turn, name in enumerate(names):
            yield from _pair(local[turn % len(local)], by_node[name], position)
        others = len(names) - 1
        for place, end in enumerate(local):  # each local pod to some pod of another node
            peer = names[(position + 1 + place % others) % len(names)] if others else node
            yield from _pair(end, by_node[peer], place)
        for name in names:  # and to those pods of other nodes that it is this node's turn to send to
            at = names.index(name)
            for place, end in enumerate(by_node[name]):
                sender = names[(at + 1 + place % others) % len(names)] if others else node
                if sender == node:
                    yield from _pair(local[place % len(local)], [end], 0)


def _pair(source: Endpoint, candidates: Sequence[Endpoint], start: int) -> Iterator[Pair]:
    """The source with the first candidate from ``start`` on that is another pod."""
    for step in range(min(2, len(candidates))):
        target = candidates[(start + step) % len(candidates)]
        if target.pod != source.pod:
            yield Pair(source, target)
            return


def members(failed: Sequence[Pair], node: str, ends: Sequence[Endpoint]) -> Iterator[Pair]:
    """The pairs from ``node`` that failed pairs of the sample represent: all between their two nodes, all from
    the source, and all from the node to the target."""
    between = {(pair.target.node, pair.source.version) for pair in failed}
    sources = {pair.source for pair in failed}
    targets = {pair.target for pair in failed}
    known = set(failed)
    for pair in pairs_from(node, ends):
        near = (pair.target.node, pair.source.version) in between
        if (near or pair.source in sources or pair.target in targets) and pair not in known:
            yield pair


def node_targets(cluster: Cluster, node: str, ends: Sequence[Endpoint]) -> List[Tuple[Endpoint, str]]:
    """What the node's pods must reach: (pod's endpoint, address of the node)."""
    declared = cluster.node(node)
    return [
        (end, str(ip))
        for end in ends
        if end.node == node and not end.host_network
        for ip in declared.public_ips
        if ip.version == end.version and any(ip == address.ip for address in declared.addresses)
    ]


def accepted_sources(cluster: Cluster, pair: Pair) -> FrozenSet[str]:
    """The addresses the target may see as the pair's source; see the module's docstring."""
    source, target = pair
    node = cluster.node(source.node)
    if not source.host_network:
        pod_address = frozenset((source.address,))
        leaves = target.host_network and target.node != source.node and cluster.masquerade
        return pod_address | node_addresses(node, source.version) if leaves else pod_address
    if target.host_network:
        return node_addresses(node, source.version)
    block = node.pod_cidr(source.version)
    overlay = (str(block[0]), str(block[1])) if block is not None else ()
    return node_addresses(node, source.version).union(overlay)


def node_addresses(node: Node, version: int) -> FrozenSet[str]:
    """Every address of a family that intent gives a node on its underlay."""
    interfaces = [*node.addresses, *(address for port in node.ports for address in port.addresses)]
    texts = {str(interface.ip) for interface in interfaces if interface.version == version}
    return frozenset(texts | {str(ip) for ip in node.public_ips if ip.version == version})
