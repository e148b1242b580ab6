"""Underlay addresses of a lab: routers first, nodes from .11 upwards, kept from run to run."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface
from typing import Dict, Iterable, List, Mapping, Sequence, Tuple

from ...model.objects import IPAddress, IPInterface, IPNetwork
from ..cluster import Port, Router, Segment
from ..leases import Record, hand_out
from .field import ALL, Field, Problems
from .nodes import NodeIntent
from .underlay import RouterIntent, on_segment

#: Host number of the first node, .11 or ::11; the numbers below are left for routers, and for people.
FIRST_NODE = {4: 11, 6: 0x11}
#: Addresses by owner and segment.
_Placed = Dict[Tuple[str, str], List[IPInterface]]


def place(
    nodes: Sequence[NodeIntent],
    segments: Sequence[Segment],
    routers: Sequence[RouterIntent],
    record: Record,
    problems: Problems,
) -> Tuple[Dict[str, Tuple[Port, ...]], Tuple[Router, ...]]:
    """Ports of every lab node by name, and the routers with theirs."""
    placed: _Placed = {}
    on: Dict[str, List[str]] = {segment.name: [] for segment in segments}
    for node in nodes:
        for name in node.segments:
            on[name].append(node.name)
    for segment in segments:
        explicit = _explicit(nodes, segment, routers)
        names = [router.name for router in routers if segment.name in router.segments]
        for cidr in segment.cidrs:
            fixed = _unique([entry for entry in explicit if entry[1].version == cidr.version])
            given = _numbers(cidr, segment.name, names, on[segment.name], fixed, record)
            without = len(names) + len(on[segment.name]) - len(given)
            if without:
                path = f"underlay.segments.{segment.name}.cidrs"
                cause = f"no address left for {without} of {len(names) + len(on[segment.name])} nodes and routers"
                problems.add(ALL, path, str(cidr), cause, "write a shorter prefix")
            base = int(cidr.network_address)
            for owner, number in given.items():
                pair = (base + number, cidr.prefixlen)
                address = IPv4Interface(pair) if cidr.version == 4 else IPv6Interface(pair)
                placed.setdefault((owner, segment.name), []).append(address)
    return (
        {node.name: _ports(node.name, node.segments, placed) for node in nodes if node.segments},
        tuple(Router(router.name, _ports(router.name, router.segments, placed)) for router in routers),
    )


def _ports(owner: str, segments: Iterable[str], placed: _Placed) -> Tuple[Port, ...]:
    return tuple(Port(name, f"eth{i}", tuple(placed.get((owner, name), ()))) for i, name in enumerate(segments))


def _explicit(
    nodes: Iterable[NodeIntent], segment: Segment, routers: Iterable[RouterIntent]
) -> List[Tuple[str, IPAddress, Field]]:
    addresses = []
    for router in routers:
        versions = set()
        for field in router.addresses.get(segment.name, ()):
            address = on_segment(field, segment)
            if address is not None and address.version in versions:
                field.fail(f"a second one of IPv{address.version}", "write one a family")
            elif address is not None:
                versions.add(address.version)
                addresses.append((router.name, address, field))
    for node in nodes:
        if node.explicit and node.segments[0] == segment.name:
            addresses += [(node.name, address, field) for field, address in node.explicit.values()]
    return addresses


def _unique(explicit: Iterable[Tuple[str, IPAddress, Field]]) -> Dict[str, int]:
    owners: Dict[int, str] = {}
    for owner, address, variable in explicit:
        other = owners.setdefault(int(address), owner)
        if other != owner:
            variable.fail(f"{other} has this address as well", "give each its own, or leave it out")
    return {owner: address for address, owner in owners.items()}


def _numbers(
    cidr: IPNetwork,
    segment: str,
    routers: Sequence[str],
    nodes: Sequence[str],
    explicit: Mapping[str, int],
    record: Record,
) -> Dict[str, int]:
    """Host number by owner."""
    base = int(cidr.network_address)
    last = cidr.num_addresses - (2 if cidr.version == 4 else 1)
    held = {}
    for owner, segments in record.addresses.items():
        for address in segments.get(segment, ()):
            if owner not in explicit and address.network == cidr and 0 < int(address) - base <= last:
                held[owner] = int(address) - base
    given = {owner: address - base for owner, address in explicit.items()}
    middle = min(FIRST_NODE[cidr.version], last + 1)
    for owners, choice in (
        (routers, [(1, last)]),
        (nodes, [(middle, last), (1, middle - 1)]),
    ):
        taken = [(number, number) for number in given.values()]
        given.update(hand_out([owner for owner in owners if owner not in given], held, taken, choice))
    return given
