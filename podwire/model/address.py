"""Addresses of devices. Source: include/uapi/linux/if_addr.h."""

from __future__ import annotations

import struct
from ipaddress import IPv4Interface, IPv6Interface

from ..startup_typing import TYPE_CHECKING, NamedTuple
from .kind import NETLINK, REMOVE
from .values import IPInterface
from .wire import AF_INET, AF_INET6, FAMILY, REPLACING, after, attribute, ip, number, scope_name, u32

if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from typing import Any, List

    from .command import Command
    from .wire import Index, Message, Names, Row

RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
_IFADDR = struct.Struct("=BBBBI")
_ADDRESS, _LOCAL, _FLAGS = 1, 2, 8
_SECONDARY, _NODAD, _DADFAILED, _DEPRECATED, _TENTATIVE, _NOPREFIXROUTE = 0x01, 0x02, 0x08, 0x20, 0x40, 0x200
#: ipaddress knows these too, and 50 more, which it takes 0.3 ms to prepare.
_LOOPBACK6 = bytes(15) + b"\1"
_LINK_LOCAL6 = frozenset(bytes((0xFE, second)) for second in range(0x80, 0xC0))


class Address(NamedTuple):
    """An address of a device. Without ``prefix_route`` the kernel makes no route to the address's
    network (IFA_F_NOPREFIXROUTE): what pods behind ptp want, whose neighbours are not on their link."""

    device: str
    interface: IPInterface
    nodad: bool = False
    prefix_route: bool = True

    def __str__(self) -> str:
        flags = (" nodad" if self.nodad else "") + ("" if self.prefix_route else " noprefixroute")
        return f"address {self.interface} dev {self.device}{flags}"

    @staticmethod
    def field() -> str:
        return "addresses"

    def identity(self) -> Any:
        return self.device, self.interface

    def rank(self) -> Any:
        interface = self.interface
        return self.device, interface.version, int(interface.ip), interface.network.prefixlen

    def batch(self, action: str) -> str:
        return NETLINK

    def changes_in_place(self, old: Address) -> bool:
        return False

    def compared(self, old: Address) -> str:
        return f" (was: {old})"

    def goes_with(self, devices: Container[str], next_hops: Container[int]) -> bool:
        return self.device in devices

    def commands(self, action: str, old: Any) -> List[Command]:
        from .command import command

        if action == REMOVE:
            return [command("ip addr del {} dev {}", self.interface, self.device)]
        flags = [*(["nodad"] if self.nodad else []), *([] if self.prefix_route else ["noprefixroute"])]
        return [command("ip addr replace {} dev {}", self.interface, self.device, more=flags)]

    def messages(self, action: str, old: Any, index: Index, namespaces: Mapping[str, int]) -> List[Message]:
        interface = self.interface
        packed = interface.ip.packed
        head = _IFADDR.pack(FAMILY[interface.version], interface.network.prefixlen, 0, 0, index(self.device))
        body = head + attribute(_LOCAL, packed) + attribute(_ADDRESS, packed)
        if action == REMOVE:
            return [(RTM_DELADDR, 0, body)]
        flags = (_NODAD if self.nodad else 0) | (0 if self.prefix_route else _NOPREFIXROUTE)
        return [(RTM_NEWADDR, REPLACING, body + u32(_FLAGS, flags) if flags else body)]

    def request(self, index: Index) -> None:
        """Only dumps tell of addresses."""

    @staticmethod
    def decode(payload: bytes, names: Names) -> Address | None:
        """None for those that the kernel gives by itself (link-local, loopback)."""
        family, prefix, _, _, index = _IFADDR.unpack_from(payload)
        values = after(payload, 8)
        packed = values.get(_LOCAL) or values.get(_ADDRESS)
        if packed is None or family not in (AF_INET, AF_INET6):
            return None
        if packed[0] == 127 if family == AF_INET else packed == _LOOPBACK6 or packed[:2] in _LINK_LOCAL6:
            return None
        flags = number(values[_FLAGS]) if _FLAGS in values else 0
        interface = IPv4Interface((packed, prefix)) if family == AF_INET else IPv6Interface((packed, prefix))
        return Address(names.get(index, ""), interface, bool(flags & _NODAD), not flags & _NOPREFIXROUTE)

    def feature(self) -> str:
        return "the feature"


def address_request(index: int) -> bytes:
    """Payload of a dump of one device's addresses (inet_valid_dump_ifaddr_req)."""
    return _IFADDR.pack(0, 0, 0, 0, index)


class AddressStatus(NamedTuple):
    """How an address does. ``secondary`` means temporary for IPv6."""

    packed: bytes
    tentative: bool
    taken: bool
    secondary: bool
    deprecated: bool


def status(payload: bytes) -> AddressStatus:
    """Of an RTM_NEWADDR."""
    values = after(payload, 8)
    flags = number(values[_FLAGS]) if _FLAGS in values else payload[2]
    bits = (bool(flags & bit) for bit in (_TENTATIVE, _DADFAILED, _SECONDARY, _DEPRECATED))
    return AddressStatus(values.get(_LOCAL) or values.get(_ADDRESS) or b"", *bits)


def row(payload: bytes, names: Names) -> Row:
    """Any address, for a snapshot."""
    _, prefix, flags, scope, index = _IFADDR.unpack_from(payload)
    values = after(payload, 8)
    flags = number(values[_FLAGS]) if _FLAGS in values else flags
    packed = values.get(_LOCAL) or values[_ADDRESS]
    result: Row = {"device": names.get(index, str(index)), "address": str(ip(packed)), "prefix": prefix}
    if scope:
        result["scope"] = scope_name(scope)
    words = ((_DADFAILED, "dadfailed"), (_TENTATIVE, "tentative"), (_NOPREFIXROUTE, "noprefixroute"))
    if any(flags & bit for bit, _ in words):
        result["flags"] = [word for bit, word in words if flags & bit]
    return result
