"""Neighbours: ARP and ND entries. Source: include/uapi/linux/neighbour.h."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

from ..startup_typing import TYPE_CHECKING, NamedTuple
from .kind import NETLINK, REMOVE
from .values import IPAddress, MacAddress
from .wire import AF_INET, AF_INET6, FAMILY, REPLACING, after, attribute, ip, u32

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping
    from typing import Any, List

    from .command import Command
    from .wire import Index, Message, Names, Row

RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
NDMSG = struct.Struct("=BxxxiHBB")
NDA_DST, NDA_LLADDR = 1, 2
NUD_PERMANENT, NUD_NOARP = 0x80, 0x40
_IFINDEX = 8
_PROXY = 8  # NTF_PROXY
_UNICAST = 1  # RTN_UNICAST
_STATES = {
    1: "incomplete", 2: "reachable", 4: "stale", 8: "delay", 16: "probe", 32: "failed", 64: "noarp", 128: "permanent",
}  # fmt: skip
#: Whole messages with an attribute each for address and MAC address.
_IPV4 = struct.Struct("=BxxxiHBBHH4sHH6sxx")
_IPV6 = struct.Struct("=BxxxiHBBHH16sHH6sxx")
#: The heads of attributes of one length, as they stand in a message: NDA_DST and NDA_LLADDR.
DST4, LLADDR = struct.pack("=HH", 8, NDA_DST), struct.pack("=HH", 10, NDA_LLADDR)
#: How much of a dumped entry tells it from all others. What follows is its age.
HEAD_BYTES = 12 + 8 + 4 + 6


class Neighbour(NamedTuple):
    """A permanent ARP or ND entry (NUD_PERMANENT)."""

    device: str
    address: IPAddress
    mac: MacAddress

    def __str__(self) -> str:
        return f"neighbour {self.address} lladdr {self.mac} dev {self.device} permanent"

    @staticmethod
    def field() -> str:
        return "neighbours"

    def identity(self) -> Any:
        return self.device, self.address

    def rank(self) -> Any:
        return self.device, self.address.version, int(self.address)

    def batch(self, action: str) -> str:
        return NETLINK

    def changes_in_place(self, old: Neighbour) -> bool:
        return True

    def compared(self, old: Neighbour) -> str:
        return f" (was: {old})"

    def goes_with(self, devices: Container[str], next_hops: Container[int]) -> bool:
        return self.device in devices

    def commands(self, action: str, old: Any) -> List[Command]:
        from .command import command

        if action == REMOVE:
            return [command("ip neigh del {} dev {}", self.address, self.device)]
        words = self.address, self.mac, self.device
        return [command("ip neigh replace {} lladdr {} dev {} nud permanent", *words)]

    def messages(self, action: str, old: Any, index: Index, namespaces: Mapping[str, int]) -> tuple[Message]:
        address, device = self.address, index(self.device)
        if address.version == 4:
            body = _IPV4.pack(AF_INET, device, NUD_PERMANENT, 0, 0, 8, 1, address.packed, 10, 2, self.mac)
        else:
            body = _IPV6.pack(AF_INET6, device, NUD_PERMANENT, 0, 0, 20, 1, address.packed, 10, 2, self.mac)
        return ((RTM_DELNEIGH, 0, body) if action == REMOVE else (RTM_NEWNEIGH, REPLACING, body),)

    def request(self, index: Index) -> tuple[int, bytes]:
        return RTM_GETNEIGH, neighbour_lookup(self.address.packed, index(self.device))

    @staticmethod
    def decode(payload: bytes, names: Names) -> Neighbour | None:
        """None for an entry that is not permanent."""
        _, index, state, _, _ = NDMSG.unpack_from(payload)
        if not state & NUD_PERMANENT:
            return None
        if payload[12:16] == DST4 and payload[20:24] == LLADDR:  # neigh_fill_info's order, 5 times faster
            return Neighbour(names.get(index, ""), ip(payload[16:20]), MacAddress(payload[24:30]))
        values = after(payload, 12)
        if NDA_DST not in values or len(values.get(NDA_LLADDR, b"")) != 6:
            return None
        return Neighbour(names.get(index, ""), ip(values[NDA_DST]), MacAddress(values[NDA_LLADDR]))

    def feature(self) -> str:
        return "the feature"

    @staticmethod
    def heads(entries: Iterable[Neighbour], index: int) -> Iterator[tuple[bytes, Neighbour]]:
        """How dumped messages begin for entries of one device (neigh_fill_info); of IPv4, which are many."""
        head = NDMSG.pack(AF_INET, index, NUD_PERMANENT, 0, _UNICAST) + DST4
        for entry in entries:
            if type(entry.address) is IPv4Address:
                yield head + entry.address.packed + LLADDR + entry.mac, entry


def neighbour_request(index: int) -> bytes:
    """Payload of a dump of one device's neighbours (neigh_valid_dump_req)."""
    return bytes(12) + u32(_IFINDEX, index)


def neighbour_lookup(packed: bytes, index: int) -> bytes:
    """Payload of an RTM_GETNEIGH for one address on one device."""
    return NDMSG.pack(FAMILY[4 if len(packed) == 4 else 6], index, 0, 0, 0) + attribute(NDA_DST, packed)


def resolved(payload: bytes) -> tuple[bytes, MacAddress | None]:
    """(packed address, MAC address) of an entry in whatever state."""
    values = after(payload, 12)
    mac = values.get(NDA_LLADDR, b"")
    return values.get(NDA_DST, b""), MacAddress(mac) if len(mac) == 6 else None


def row(payload: bytes, names: Names) -> Row | None:
    """Any entry, for a snapshot."""
    _, index, state, flags, _ = NDMSG.unpack_from(payload)
    packed, mac = resolved(payload)
    if len(packed) not in (4, 16):
        return None
    result: Row = {"device": names.get(index, ""), "address": str(ip(packed)), "state": _STATES.get(state, str(state))}
    if mac is not None:
        result["mac"] = str(mac)
    if flags & _PROXY:
        result["proxy"] = True
    return result
