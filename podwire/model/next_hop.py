"""Next-hop objects. Source: include/uapi/linux/nexthop.h, net/ipv4/nexthop.c."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

from ..startup_typing import TYPE_CHECKING, NamedTuple
from .kind import CHANGE, NETLINK, REMOVE
from .values import ROUTE_PROTOCOL, IPAddress
from .wire import AF_INET, AF_INET6, EXCLUSIVE, ONLINK, REPLACING, after, attribute, ip, number, put, u32

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping
    from typing import Any, List

    from .command import Command
    from .wire import Index, Message, Names, Row

RTM_NEWNEXTHOP, RTM_DELNEXTHOP, RTM_GETNEXTHOP = 104, 105, 106
_NHMSG = struct.Struct("=BBBxI")
_ID, _GROUP, _BLACKHOLE, _OIF, _GATEWAY = 1, 2, 4, 5, 6
_SCOPE_LINK = 253
#: A whole message with id, device and gateway.
_IPV4 = struct.Struct("=BBBxIHHIHHIHH4s")
_NUMBER = struct.Struct("=HHI").pack
_GATEWAY_HEAD = struct.pack("=HH", 8, _GATEWAY)


class NextHop(NamedTuple):
    """A next-hop object (``ip nexthop``), which keeps IPv4 route insertion linear in the peers."""

    id: int
    gateway: IPAddress
    device: str
    onlink: bool = False
    protocol: int = ROUTE_PROTOCOL

    def __str__(self) -> str:
        onlink = " onlink" if self.onlink else ""
        return f"nexthop id {self.id} via {self.gateway} dev {self.device}{onlink}"

    @staticmethod
    def field() -> str:
        return "next_hops"

    def identity(self) -> Any:
        return self.id

    def rank(self) -> Any:
        return self.id

    def batch(self, action: str) -> str:
        return NETLINK

    def changes_in_place(self, old: NextHop) -> bool:
        return True

    def compared(self, old: NextHop) -> str:
        return f" (was: {old})"

    def goes_with(self, devices: Container[str], next_hops: Container[int]) -> bool:
        return self.device in devices

    def commands(self, action: str, old: Any) -> List[Command]:
        from .command import command

        if action == REMOVE:
            return [command("ip nexthop del id {}", self.id)]
        words = [*(["onlink"] if self.onlink else []), "proto", self.protocol]
        return [command("ip nexthop replace id {} via {} dev {}", self.id, self.gateway, self.device, more=words)]

    def messages(self, action: str, old: Any, index: Index, namespaces: Mapping[str, int]) -> tuple[Message]:
        if action == REMOVE:
            return ((RTM_DELNEXTHOP, 0, _NHMSG.pack(0, 0, 0, 0) + u32(_ID, self.id)),)
        flags = ONLINK if self.onlink else 0
        id, device, packed = self.id, index(self.device), self.gateway.packed
        if len(packed) == 4:
            body = _IPV4.pack(AF_INET, 0, self.protocol, flags, 8, _ID, id, 8, _OIF, device, 8, _GATEWAY, packed)
        else:
            head = _NHMSG.pack(AF_INET6, 0, self.protocol, flags)
            body = head + u32(_ID, id) + u32(_OIF, device) + attribute(_GATEWAY, packed)
        return ((RTM_NEWNEXTHOP, REPLACING if action == CHANGE else EXCLUSIVE, body),)

    def request(self, index: Index) -> tuple[int, bytes]:
        return RTM_GETNEXTHOP, _NHMSG.pack(0, 0, 0, 0) + u32(_ID, self.id)

    @staticmethod
    def decode(payload: bytes, names: Names) -> NextHop | None:
        """None for groups and blackholes, which podwire does not make."""
        _, _, protocol, flags = _NHMSG.unpack_from(payload)
        values = after(payload, 8)
        if _GATEWAY not in values or _OIF not in values:
            return None
        device = names.get(number(values[_OIF]), "")
        return NextHop(number(values[_ID]), ip(values[_GATEWAY]), device, bool(flags & ONLINK), protocol)

    def feature(self) -> str:
        return "the feature"

    @staticmethod
    def heads(hops: Iterable[NextHop], index: int) -> Iterator[tuple[bytes, NextHop]]:
        """Whole dumped messages of next hops over one device (nh_fill_node); of IPv4, which are many."""
        tail = _NUMBER(8, _OIF, index) + _GATEWAY_HEAD
        for hop in hops:
            if type(hop.gateway) is IPv4Address:
                head = _NHMSG.pack(AF_INET, _SCOPE_LINK, hop.protocol, ONLINK if hop.onlink else 0)
                yield head + _NUMBER(8, _ID, hop.id) + tail + hop.gateway.packed, hop


def row(payload: bytes, names: Names) -> Row:
    """Any next-hop object, for a snapshot."""
    _, _, protocol, flags = _NHMSG.unpack_from(payload)
    values = after(payload, 8)
    result: Row = {"id": number(values[_ID]), "protocol": protocol}
    put(result, "device", names.get(number(values[_OIF]), "") if _OIF in values else None)
    put(result, "gateway", str(ip(values[_GATEWAY])) if _GATEWAY in values else None)
    if _GROUP in values:  # struct nexthop_grp
        result["group"] = [number(values[_GROUP][start:]) for start in range(0, len(values[_GROUP]), 8)]
    put(result, "blackhole", True if _BLACKHOLE in values else None)
    put(result, "onlink", True if flags & ONLINK else None)
    return result
