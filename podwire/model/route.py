"""Routes. Source: include/uapi/linux/rtnetlink.h, net/ipv4/fib_semantics.c."""

from __future__ import annotations

import struct
from ipaddress import IPv4Network, IPv6Network

from ..startup_typing import TYPE_CHECKING, NamedTuple
from .kind import CHANGE, NETLINK, REMOVE
from .values import MAIN_TABLE, ROUTE_PROTOCOL, IPAddress, IPNetwork
from .wire import (
    AF_INET,
    AF_INET6,
    EXCLUSIVE,
    FAMILY,
    ONLINK,
    REPLACING,
    SCOPES,
    after,
    attribute,
    ip,
    nested,
    number,
    put,
    scope_name,
    u32,
)

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping
    from typing import Any, List

    from .command import Command
    from .wire import Index, Message, Names, Row

RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTPROT_KERNEL = 2
RT_TABLE_LOCAL = 255
RTMSG = struct.Struct("=BBBBBBBBI")
RTA_DST, RTA_SRC, RTA_IIF, RTA_OIF, RTA_GATEWAY = 1, 2, 3, 4, 5
_PRIORITY, _PREFSRC, _METRICS, _MULTIPATH, _TABLE, _NH_ID = 6, 7, 8, 9, 15, 30
_MTU, _ADVMSS = 2, 8  # RTAX_*
_FIB_MATCH = 0x2000  # RTM_F_FIB_MATCH: answer with the route of the table, not with what a packet would get
_NEXTHOP = struct.Struct("=HBBi")
_U32 = struct.Struct("=I").unpack_from
_ATTRIBUTE = struct.Struct("=HH").unpack_from
_KINDS = {
    "unicast": 1, "local": 2, "broadcast": 3, "anycast": 4, "multicast": 5, "blackhole": 6, "unreachable": 7,
    "prohibit": 8, "throw": 9,
}  # fmt: skip
_KIND_NAMES = {value: name for name, value in _KINDS.items()}
_UNICAST = 1
#: Kinds without an exit. IPv6 shows lo for them.
_NOWHERE = (6, 7, 8, 9)
_IPV6_METRIC = 1024  # IP6_RT_PRIO_USER, what the kernel makes of a metric of 0
#: A whole message with destination and next-hop object.
_BARE_MESSAGE = struct.Struct("=BBBBBBBBIHH4sHHI")
#: What a Route has between its destination and its next hop, and behind its protocol, when nothing is said.
_BARE = (None, None, False), ("global", None, 0, MAIN_TABLE, "unicast", 0, 0)
#: How much of a dumped route tells it from all others. What follows repeats its next hop.
HEAD_BYTES = 12 + 3 * 8
_NUMBER = struct.Struct("=HHI").pack
_MAIN_AND_DST = _NUMBER(8, _TABLE, MAIN_TABLE) + struct.pack("=HH", 8, RTA_DST)


class Route(NamedTuple):
    """A route. ``device`` is None where ``next_hop`` names a next-hop object or ``kind`` has no exit.

    ``scope``: ``global``, ``link`` or ``host``; IPv6 knows only ``global``. ``metric`` 0 is the
    kernel's default (0 for IPv4, 1024 for IPv6). ``mtu`` and ``advmss`` 0 mean unset.
    """

    destination: IPNetwork
    gateway: IPAddress | None = None
    device: str | None = None
    onlink: bool = False
    next_hop: int | None = None
    protocol: int = ROUTE_PROTOCOL
    scope: str = "global"
    source: IPAddress | None = None
    metric: int = 0
    table: int = MAIN_TABLE
    kind: str = "unicast"
    mtu: int = 0
    advmss: int = 0

    def __str__(self) -> str:
        words = [f"route {self.destination}" if self.kind == "unicast" else f"route {self.kind} {self.destination}"]
        for word, value in (("via", self.gateway), ("dev", self.device), ("nhid", self.next_hop), ("src", self.source)):
            if value is not None:
                words.append(f"{word} {value}")
        if self.scope != "global":
            words.append(f"scope {self.scope}")
        for word, numeric, default in (
            ("metric", self.metric, 0),
            ("table", self.table, MAIN_TABLE),
            ("mtu", self.mtu, 0),
            ("advmss", self.advmss, 0),
        ):
            if numeric != default:
                words.append(f"{word} {numeric}")
        return " ".join(words) + (" onlink" if self.onlink else "") + f" proto {self.protocol}"

    @staticmethod
    def field() -> str:
        return "routes"

    def identity(self) -> Any:
        return self.destination, self.table, self.metric

    def rank(self) -> Any:
        """Routes to a link come before those through a gateway, which may be reachable by nothing else."""
        destination = self.destination
        base = destination.network_address
        return self.gateway is not None, base.version, int(base), destination.prefixlen, self.metric

    def batch(self, action: str) -> str:
        return NETLINK

    def changes_in_place(self, old: Route) -> bool:
        """An IPv6 onlink route that moves to another device cannot: its gateway lies in its own prefix, so
        the old route resolves it, to the wrong device (ip6_route_check_nh_onlink)."""
        return not (self.destination.version == 6 and self.onlink and self.device != old.device)

    def compared(self, old: Route) -> str:
        return f" (was: {old})"

    def goes_with(self, devices: Container[str], next_hops: Container[int]) -> bool:
        return self.device in devices or self.next_hop in next_hops

    def commands(self, action: str, old: Any) -> List[Command]:
        from .command import command

        words: List[object] = [self.kind] if self.kind != "unicast" else []
        words.append(self.destination)
        for word, value in (("via", self.gateway), ("dev", self.device), ("nhid", self.next_hop), ("src", self.source)):
            words += [word, value] if value is not None else []
        words += ["metric", self.metric] if self.metric else []
        words += ["onlink"] if self.onlink else []
        verb = "del" if action == REMOVE else "replace"
        return [command("ip route {}", verb, more=[*words, "proto", self.protocol])]

    def is_bare(self) -> bool:
        """Whether it is of IPv4 and says nothing but destination, next-hop object and protocol: there are many."""
        return (self[1:4], self[6:]) == _BARE and type(self.destination) is IPv4Network

    def messages(self, action: str, old: Any, index: Index, namespaces: Mapping[str, int]) -> tuple[Message]:
        kind = RTM_DELROUTE if action == REMOVE else RTM_NEWROUTE
        flags = 0 if action == REMOVE else REPLACING if action == CHANGE else EXCLUSIVE
        destination = self.destination
        packed = destination.network_address.packed
        if self.next_hop is not None and self.is_bare():
            head = (AF_INET, destination.prefixlen, 0, 0, MAIN_TABLE, self.protocol, 0, _UNICAST, 0)
            return ((kind, flags, _BARE_MESSAGE.pack(*head, 8, RTA_DST, packed, 8, _NH_ID, self.next_hop)),)
        body = RTMSG.pack(
            FAMILY[destination.version],
            destination.prefixlen,
            0,
            0,
            self.table if self.table < 256 else 0,
            self.protocol,
            SCOPES[self.scope] if destination.version == 4 else 0,
            _KINDS[self.kind],
            ONLINK if self.onlink else 0,
        )
        body += attribute(RTA_DST, packed)
        if self.table >= 256:
            body += u32(_TABLE, self.table)
        if self.next_hop is not None:
            body += u32(_NH_ID, self.next_hop)
        if self.gateway is not None:
            body += attribute(RTA_GATEWAY, self.gateway.packed)
        if self.device is not None:
            body += u32(RTA_OIF, index(self.device))
        if self.source is not None:
            body += attribute(_PREFSRC, self.source.packed)
        if self.metric:
            body += u32(_PRIORITY, self.metric)
        if self.mtu or self.advmss:
            metrics = (u32(_MTU, self.mtu) if self.mtu else b"") + (u32(_ADVMSS, self.advmss) if self.advmss else b"")
            body += attribute(_METRICS, metrics)
        return ((kind, flags, body),)

    def request(self, index: Index) -> tuple[int, bytes] | None:
        if self.table != MAIN_TABLE:
            return None
        version, base = self.destination.version, self.destination.network_address.packed
        if not self.destination.prefixlen:  # the unspecified address is never looked up: any other is as good
            base = b"\0\0\0\1" if version == 4 else b"\x20" + bytes(15)
        head = RTMSG.pack(FAMILY[version], len(base) * 8, 0, 0, 0, 0, 0, 0, _FIB_MATCH)
        return RTM_GETROUTE, head + attribute(RTA_DST, base)

    @staticmethod
    def decode(payload: bytes, names: Names) -> Route:
        """A multipath route has neither gateway nor device."""
        family, prefix, _, _, table, protocol, scope, kind, flags = RTMSG.unpack_from(payload)
        values: dict[int, bytes] = {}
        start, end = 12, len(payload)
        while start < end:
            length, attribute_kind = _ATTRIBUTE(payload, start)
            values[attribute_kind & 0x3FFF] = payload[start + 4 : start + length]
            start += (length + 3) & ~3
        metric = _U32(values[_PRIORITY])[0] if _PRIORITY in values else 0
        destination: IPNetwork
        if family == AF_INET:
            destination = IPv4Network((values.get(RTA_DST, b"\0\0\0\0"), prefix))
        else:
            destination = IPv6Network((values.get(RTA_DST, b"\0" * 16), prefix))
            metric = 0 if metric == _IPV6_METRIC else metric
        next_hop = _U32(values[_NH_ID])[0] if _NH_ID in values else None
        metrics = nested(values[_METRICS]) if _METRICS in values else {}
        gateway = device = None
        if next_hop is None:  # with one, the kernel repeats its parts for old readers (nexthop_compat_mode)
            gateway = ip(values[RTA_GATEWAY]) if RTA_GATEWAY in values else None
            device = names.get(_U32(values[RTA_OIF])[0], "") if RTA_OIF in values else None
        return Route(
            destination,
            gateway,
            None if kind in _NOWHERE else device,
            bool(flags & ONLINK) and next_hop is None,
            next_hop,
            protocol,
            scope_name(scope) if family == AF_INET and scope else "global",
            ip(values[_PREFSRC]) if _PREFSRC in values else None,
            metric,
            _U32(values[_TABLE])[0] if _TABLE in values else table,
            _KIND_NAMES.get(kind, str(kind)),
            _U32(metrics[_MTU])[0] if _MTU in metrics else 0,
            _U32(metrics[_ADVMSS])[0] if _ADVMSS in metrics else 0,
        )

    def feature(self) -> str:
        return "the feature"

    @staticmethod
    def heads(routes: Iterable[Route], onlink: Mapping[int, int]) -> Iterator[tuple[bytes, Route]]:
        """How dumped messages begin for bare routes (fib_dump_info). ``onlink``: a flag of next hops by id."""
        for route in routes:
            flags = onlink.get(route.next_hop or 0)
            if flags is not None and route.is_bare():
                destination = route.destination
                head = RTMSG.pack(AF_INET, destination.prefixlen, 0, 0, MAIN_TABLE, route.protocol, 0, _UNICAST, flags)
                tail = _NUMBER(8, _NH_ID, route.next_hop)
                yield head + _MAIN_AND_DST + destination.network_address.packed + tail, route


def header_of(payload: bytes) -> tuple[int, int, bool]:
    """(table of the header, protocol, whether podwire deals with the kind) without reading any attribute."""
    return payload[4], payload[5], payload[7] in (1, 6, 7, 8)


def lookup(destination: IPAddress, source: IPAddress | None = None, iif: int = 0) -> bytes:
    """Payload of an RTM_GETROUTE: how a packet is sent; with ``source`` and ``iif``, how it is forwarded."""
    bits = destination.max_prefixlen
    head = RTMSG.pack(FAMILY[destination.version], bits, bits if source else 0, 0, 0, 0, 0, 0, 0)
    request = head + attribute(RTA_DST, destination.packed)
    return request + (attribute(RTA_SRC, source.packed) + u32(RTA_IIF, iif) if source else b"")


def exit_of(payload: bytes) -> tuple[str, IPAddress | None, int]:
    """(kind, gateway, ifindex) of an answer to a lookup; 0 where it leaves by no device."""
    values = after(payload, 12)
    gateway = ip(values[RTA_GATEWAY]) if RTA_GATEWAY in values else None
    return _KIND_NAMES.get(payload[7], str(payload[7])), gateway, number(values[RTA_OIF]) if RTA_OIF in values else 0


def row(payload: bytes, names: Names) -> Row | None:
    """Any route outside of the local table, for a snapshot, with all that the kernel says of it."""
    family, prefix, _, _, table, protocol, scope, kind, flags = RTMSG.unpack_from(payload)
    if table == RT_TABLE_LOCAL or family not in (AF_INET, AF_INET6):
        return None
    values = after(payload, 12)
    numbers = {kind: number(values[kind]) for kind in (_PRIORITY, _NH_ID, RTA_OIF, _TABLE) if kind in values}
    addresses = {kind: str(ip(values[kind])) for kind in (RTA_GATEWAY, _PREFSRC) if kind in values}
    base = ip(values.get(RTA_DST, bytes(4 if family == AF_INET else 16)))
    result: Row = {
        "destination": f"{base}/{prefix}",
        "kind": _KIND_NAMES.get(kind, str(kind)),
        "protocol": protocol,
        "table": numbers.get(_TABLE, table),
    }
    put(result, "metric", numbers.get(_PRIORITY))
    put(result, "next_hop", numbers.get(_NH_ID))
    put(result, "gateway", addresses.get(RTA_GATEWAY))
    put(result, "device", names.get(numbers[RTA_OIF], "") if RTA_OIF in numbers else None)
    put(result, "source", addresses.get(_PREFSRC))
    put(result, "hops", list(_hops(values[_MULTIPATH], names)) if _MULTIPATH in values else None)
    mtu = nested(values.get(_METRICS, b"")).get(_MTU)
    put(result, "mtu", None if mtu is None else number(mtu))
    put(result, "scope", scope_name(scope) if scope and family == AF_INET else None)
    put(result, "onlink", True if flags & ONLINK else None)
    return result


def _hops(data: bytes, names: Names) -> Iterator[Row]:
    """struct rtnexthop with attributes of its own."""
    start = 0
    while start + 8 <= len(data):
        length, _, _, index = _NEXTHOP.unpack_from(data, start)
        gateway = after(data[start : start + length], 8).get(RTA_GATEWAY)
        yield {"device": names.get(index, ""), **({} if gateway is None else {"gateway": str(ip(gateway))})}
        start += max(8, (length + 3) & ~3)
