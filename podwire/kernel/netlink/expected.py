"""How the kernel's dumps will begin for objects that are there as desired.

Most of a dump is what was desired, and comparing bytes costs a third of parsing them. What is not
found here, for whatever reason (another kernel's order of attributes, a flag), is parsed: nothing is
ever taken for granted, only recognised. Covers the kinds that exist by the thousand, for IPv4.
Sources: net/core/neighbour.c (neigh_fill_info), drivers/net/vxlan (vxlan_fdb_info),
net/ipv4/nexthop.c (nh_fill_node), net/ipv4/fib_semantics.c (fib_dump_info).
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

from ...model.objects import MAIN_TABLE, Object
from ...model.state import State
from ...startup_typing import TYPE_CHECKING, defaultdict
from .rtnetlink import AF_BRIDGE, AF_INET, NTF_SELF, NUD_PERMANENT, RTNH_F_ONLINK, is_bare

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

#: How much of a dumped object tells it from all others. What follows is its age, or repeats its next hop.
NEIGHBOUR_BYTES = 12 + 8 + 4 + 6
FDB_BYTES = 12 + 12 + 8
ROUTE_BYTES = 12 + 3 * 8

_RTN_UNICAST = 1
_RT_SCOPE_LINK = 253
_NDMSG = struct.Struct("=BxxxiHBB").pack
_NHMSG = struct.Struct("=BBBxI").pack
_RTMSG = struct.Struct("=BBBBBBBBI").pack
_ATTRIBUTE = struct.Struct("=HH").pack
_U32_ATTRIBUTE = struct.Struct("=HHI").pack
#: Heads of attributes: NDA_DST and RTA_DST (a four-byte address as attribute 1), NDA_LLADDR, NHA_GATEWAY.
_DST = _ATTRIBUTE(8, 1)
_LLADDR = _ATTRIBUTE(10, 2)
_GATEWAY = _ATTRIBUTE(8, 6)


def expected(state: State, indices: Mapping[str, int]) -> dict[bytes, Object]:
    """The beginning of a dumped payload to the object that it is. ``indices``: device name to ifindex."""
    found: dict[bytes, Object] = {}
    for device, each in _by_device(state.neighbours, indices).items():
        head = _NDMSG(AF_INET, indices[device], NUD_PERMANENT, 0, _RTN_UNICAST) + _DST
        for entry in each:
            if type(entry.address) is IPv4Address:
                found[head + entry.address.packed + _LLADDR + entry.mac] = entry
    for device, each in _by_device(state.fdb, indices).items():
        head = _NDMSG(AF_BRIDGE, indices[device], NUD_PERMANENT, NTF_SELF, _RTN_UNICAST) + _LLADDR
        for entry in each:
            if type(entry.destination) is IPv4Address:
                found[head + entry.mac + b"\0\0" + _DST + entry.destination.packed] = entry
    onlink: dict[int, int] = {}
    for device, each in _by_device(state.next_hops, indices).items():
        tail = _U32_ATTRIBUTE(8, 5, indices[device]) + _GATEWAY
        for hop in each:
            if type(hop.gateway) is IPv4Address:
                flags = onlink[hop.id] = RTNH_F_ONLINK if hop.onlink else 0
                head = _NHMSG(AF_INET, _RT_SCOPE_LINK, hop.protocol, flags) + _U32_ATTRIBUTE(8, 1, hop.id)
                found[head + tail + hop.gateway.packed] = hop
    if onlink:
        _routes(state, onlink, found)
    return found


def _by_device(objects: frozenset[Any], indices: Mapping[str, int]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for each in objects:
        if each.device in indices:
            found[each.device].append(each)
    return found


def _routes(state: State, onlink: Mapping[int, int], found: dict[bytes, Object]) -> None:
    table = _U32_ATTRIBUTE(8, 15, MAIN_TABLE) + _DST
    for route in state.routes:
        flags = onlink.get(route.next_hop or 0)
        if flags is not None and is_bare(route):
            destination = route.destination
            head = _RTMSG(AF_INET, destination.prefixlen, 0, 0, MAIN_TABLE, route.protocol, 0, _RTN_UNICAST, flags)
            hop = _U32_ATTRIBUTE(8, 30, route.next_hop)
            found[head + table + destination.network_address.packed + hop] = route
