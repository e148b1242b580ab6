"""Subnet leases and underlay addresses: who gets what, and the Record that keeps it so.

Everything here is arithmetic on unit numbers: block number n of a cluster CIDR, host number n of a
segment. A unit that an owner got in an earlier run is kept, also for owners that are gone and may
come back; a unit that is asked for explicitly goes before every record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_interface, ip_network
from itertools import chain
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from ..errors import IntentError
from ..model.objects import IPInterface, IPNetwork
from .cluster import Cluster, Port

#: Closed interval of units.
Span = Tuple[int, int]
#: Addresses by segment.
Addresses = Mapping[str, Tuple[IPInterface, ...]]


def hand_out(
    wanting: Iterable[str], held: Mapping[str, int], taken: Iterable[Span], choice: Sequence[Span]
) -> Dict[str, int]:
    """Give every owner of ``wanting`` a unit of its own; owners that are missing in the answer got none.

    held:   units of an earlier run by owner, also of owners that want nothing now.
    taken:  spans that nobody may get.
    choice: spans to choose new units from, the preferred first; they must not overlap.
    """
    occupied = _merged(taken)
    given: Dict[str, int] = {}
    kept: Set[int] = set()
    wanting = list(wanting)
    for owner in wanting:
        unit = held.get(owner)
        if unit is not None and unit not in kept and not _covers(occupied, unit):
            given[owner] = unit
            kept.add(unit)
    waiting = set(wanting)
    reserved = {unit for owner, unit in held.items() if owner not in waiting} - kept
    without = [owner for owner in wanting if owner not in given]
    if without:
        singles = [(unit, unit) for unit in kept | reserved]
        fresh = _free(_merged(occupied + singles), choice)
        allowed = _merged(choice)
        # A removed node's unit is better than none at all.
        last = (unit for unit in sorted(reserved) if _covers(allowed, unit) and not _covers(occupied, unit))
        given.update(zip(without, chain(fresh, last)))
    return given


def _merged(spans: Iterable[Span]) -> List[Span]:
    merged: List[Span] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def _covers(merged: List[Span], unit: int) -> bool:
    low, high = 0, len(merged)
    while low < high:
        middle = (low + high) // 2
        if merged[middle][1] < unit:
            low = middle + 1
        else:
            high = middle
    return low < len(merged) and merged[low][0] <= unit


def _free(occupied: List[Span], choice: Sequence[Span]) -> Iterator[int]:
    """Units of the choice outside the occupied spans: the gaps, so that a huge range costs nothing."""
    for first, last in choice:
        position = first
        for begin, end in occupied:
            if end >= position and begin <= last:
                yield from range(position, min(begin, last + 1))
                position = end + 1
        yield from range(position, last + 1)


def block(cidr: IPNetwork, prefix_length: int, number: int) -> IPNetwork:
    """Block ``number`` of a cluster CIDR."""
    base = int(cidr.network_address) + (number << (cidr.max_prefixlen - prefix_length))
    return IPv4Network((base, prefix_length)) if cidr.version == 4 else IPv6Network((base, prefix_length))


def lease(
    cidr: IPNetwork,
    prefix_length: int,
    nodes: Sequence[str],
    explicit: Mapping[str, IPNetwork],
    record: Record,
) -> Dict[str, IPNetwork]:
    """One pod CIDR out of a cluster CIDR for each node; nodes missing in the answer found no room.

    ``explicit`` ones are inside the cluster CIDR and do not overlap; their length may differ from the others'.
    Recorded ones that fit neither it nor the length are forgotten.
    """
    base, last = int(cidr.network_address), int(cidr.broadcast_address)
    shift = cidr.max_prefixlen - prefix_length
    held = {}
    for node, blocks in record.pod_cidrs.items():
        for pod_cidr in blocks:
            first = int(pod_cidr.network_address)
            if pod_cidr.version == cidr.version and pod_cidr.prefixlen == prefix_length and base <= first <= last:
                held[node] = (first - base) >> shift
    taken = [
        ((int(pod_cidr.network_address) - base) >> shift, (int(pod_cidr.broadcast_address) - base) >> shift)
        for pod_cidr in explicit.values()
    ]
    wanting = [node for node in nodes if node not in explicit]
    for node in explicit:  # what it held before is free again
        held.pop(node, None)
    numbers = hand_out(wanting, held, taken, [(0, (last - base) >> shift)])
    return {**explicit, **{node: block(cidr, prefix_length, number) for node, number in numbers.items()}}


class External(NamedTuple):
    """The external interface of a node that exists already: MTU in bytes, at most one address a family."""

    interface: str
    mtu: int
    addresses: Tuple[IPInterface, ...]

    def __str__(self) -> str:
        return f"{self.interface} {' '.join(map(str, self.addresses))} mtu {self.mtu}"


@dataclass(frozen=True)
class Record:
    """What earlier runs gave: pod CIDRs by node, underlay addresses by node or router and segment; and what they
    found: external interfaces by node, for runs that do not reach it. ``pods`` has the nodes of pods that may be
    anywhere: a node that joins or leaves moves none of those on others.

    Nodes that were removed from the inventory stay in it, so that they find their lease when they return.
    """

    pod_cidrs: Mapping[str, Tuple[IPNetwork, ...]] = field(default_factory=dict)
    addresses: Mapping[str, Addresses] = field(default_factory=dict)
    external: Mapping[str, External] = field(default_factory=dict)
    pods: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> Dict[str, Any]:
        """The record as plain JSON values; ``from_json`` reads it back."""
        return {
            "version": 1,
            "pod_cidrs": {node: list(map(str, blocks)) for node, blocks in self.pod_cidrs.items()},
            "addresses": {
                owner: {segment: list(map(str, addresses)) for segment, addresses in segments.items()}
                for owner, segments in self.addresses.items()
            },
            "external": {
                node: [interface.interface, interface.mtu, list(map(str, interface.addresses))]
                for node, interface in self.external.items()
            },
            "pods": dict(self.pods),
        }

    @classmethod
    def from_json(cls, data: Any) -> Record:
        """Read what ``to_json`` gave; IntentError for anything else."""
        try:
            if data["version"] != 1:
                raise ValueError(f"version {data['version']} is not 1")
            return cls(
                {node: tuple(map(ip_network, blocks)) for node, blocks in data["pod_cidrs"].items()},
                {
                    owner: {segment: tuple(map(ip_interface, addresses)) for segment, addresses in segments.items()}
                    for owner, segments in data["addresses"].items()
                },
                {
                    node: External(interface, mtu, tuple(map(ip_interface, addresses)))
                    for node, (interface, mtu, addresses) in data.get("external", {}).items()
                },
                {str(pod): str(node) for pod, node in data.get("pods", {}).items()},
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            cause = f"failed to read the record of earlier leases: {error!r}"
            raise IntentError([f"{cause}; restore it, or remove it to lease anew"]) from error


def record_of(cluster: Cluster, earlier: Optional[Record] = None) -> Record:
    """The record to keep after a run: what the cluster holds now, and what removed nodes held before
    unless somebody else holds it now."""
    earlier = earlier or Record()
    pod_cidrs = {node.name: node.pod_cidrs for node in cluster.nodes}
    addresses = {node.name: _by_segment(node.ports) for node in cluster.nodes if node.ports}
    addresses.update({router.name: _by_segment(router.ports) for router in cluster.underlay.routers})
    blocks = {pod_cidr for held in pod_cidrs.values() for pod_cidr in held}
    hosts = {(name, port) for held in addresses.values() for name, ports in held.items() for port in ports}
    for node, held_blocks in earlier.pod_cidrs.items():
        if node not in pod_cidrs and not blocks.issuperset(held_blocks):
            pod_cidrs[node] = tuple(held_block for held_block in held_blocks if held_block not in blocks)
    for owner, segments in earlier.addresses.items():
        free = {
            name: held_hosts
            for name, held_hosts in segments.items()
            if not any((name, one) in hosts for one in held_hosts)
        }
        if owner not in addresses and free:
            addresses[owner] = free
    ssh_nodes = [node for node in cluster.nodes if node.kind == "ssh"]
    external = {node.name: External(node.interface, node.mtu, node.addresses) for node in ssh_nodes}
    pods = {pod.name: pod.node for pod in cluster.pods if not pod.name.startswith(f"{pod.node}-pod-")}
    return Record(pod_cidrs, addresses, external, pods)


def _by_segment(ports: Iterable[Port]) -> Dict[str, Tuple[IPInterface, ...]]:
    return {port.segment: port.addresses for port in ports}
