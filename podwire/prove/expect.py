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

from ..intent.cluster import Cluster, Node

#: Up to so many ordered pairs are probed one by one, each by all protocols. Beyond, classes of pairs are.
ALL_PAIRS = 10_000
#: Up to so many, every one of them gets its path MTU measured; beyond, every class.
MEASURED_PAIRS = 1000
#: Which pairs are probed: ``auto`` is ``all`` for a cluster that is small enough.
MODES = ("auto", "all", "classes")

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
    own = [end for end in ends if not end.host_network]
    return pairs_from(node, own) if measures_all(ends) else classes_from(node, own)


def bulk_pairs_from(node: str, ends: Sequence[Endpoint]) -> Iterator[Pair]:
    """One pair of pods for each node that ``node`` sends to, and family."""
    own = [end for end in ends if not end.host_network]
    seen = set()
    for pair in classes_from(node, own):
        if (pair.target.node, pair.target.version) not in seen:
            seen.add((pair.target.node, pair.target.version))
            yield pair


def classes_from(node: str, ends: Sequence[Endpoint]) -> Iterator[Pair]:
    """Pairs from ``node`` that stand for all: one for each pair of nodes, and for each pod one away and one back.

    What a packet meets depends on the two nodes and on the two pods' own devices. The peers rotate, so that
    whatever a node has wrong about a part of another node's pods is met by some of these pairs.
    """
    yield from dict.fromkeys(_classes(node, ends))


def _classes(node: str, ends: Sequence[Endpoint]) -> Iterator[Pair]:
    for version in (4, 6):
        on: Dict[str, List[Endpoint]] = {}
        for end in ends:
            if end.version == version:
                on.setdefault(end.node, []).append(end)
        names = list(on)
        if node not in on:
            continue
        own, here = on[node], names.index(node)
        for turn, name in enumerate(names):
            yield from _pair(own[turn % len(own)], on[name], here)
        others = len(names) - 1
        for place, end in enumerate(own):  # each of ours to some pod of another node
            away = names[(here + 1 + place % others) % len(names)] if others else node
            yield from _pair(end, on[away], place)
        for name in names:  # and those of other nodes that it is our turn to send to
            at = names.index(name)
            for place, end in enumerate(on[name]):
                whose = names[(at + 1 + place % others) % len(names)] if others else node
                if whose == node:
                    yield from _pair(own[place % len(own)], [end], 0)


def _pair(source: Endpoint, candidates: Sequence[Endpoint], start: int) -> Iterator[Pair]:
    """The source with the first candidate from ``start`` on that is another pod."""
    for step in range(min(2, len(candidates))):
        target = candidates[(start + step) % len(candidates)]
        if target.pod != source.pod:
            yield Pair(source, target)
            return


def members(failed: Sequence[Pair], node: str, ends: Sequence[Endpoint]) -> Iterator[Pair]:
    """The pairs from ``node`` that the classes of failed ones stand for: all between their two nodes, all from
    the source, and all from the node towards the target."""
    between = {(pair.target.node, pair.source.version) for pair in failed}
    sources = {pair.source for pair in failed}
    targets = {pair.target for pair in failed}
    known = set(failed)
    for pair in pairs_from(node, ends):
        near = (pair.target.node, pair.source.version) in between
        if (near or pair.source in sources or pair.target in targets) and pair not in known:
            yield pair


def node_targets(cluster: Cluster, node: str, ends: Sequence[Endpoint]) -> List[Tuple[Endpoint, str]]:
    """What the node's own pods must reach: (pod's endpoint, address of the node)."""
    here = cluster.node(node)
    return [
        (end, str(ip))
        for end in ends
        if end.node == node and not end.host_network
        for ip in here.public_ips
        if ip.version == end.version and any(ip == address.ip for address in here.addresses)
    ]


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
    interfaces = [*node.addresses, *(address for port in node.ports for address in port.addresses)]
    found = {str(interface.ip) for interface in interfaces if interface.version == version}
    return frozenset(found | {str(ip) for ip in node.public_ips if ip.version == version})
