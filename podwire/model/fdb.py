"""Forwarding database entries of VXLAN devices. Source: include/uapi/linux/neighbour.h, drivers/net/vxlan."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

from ..startup_typing import TYPE_CHECKING, NamedTuple
from .kind import NETLINK, REMOVE
from .neighbour import (
    DST4,
    LLADDR,
    NDA_DST,
    NDA_LLADDR,
    NDMSG,
    NUD_NOARP,
    NUD_PERMANENT,
    RTM_DELNEIGH,
    RTM_GETNEIGH,
    RTM_NEWNEIGH,
)
from .values import IPAddress, MacAddress
from .wire import AF_BRIDGE, REPLACING, after, attribute, ip, number, put

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping
    from typing import Any, List

    from .command import Command
    from .wire import Index, Message, Names, Row

_SELF, _STICKY = 0x02, 0x40  # NTF_SELF, NTF_STICKY
_PORT, _VNI, _MASTER = 6, 7, 9
_UNICAST = 1
_IPV4 = struct.Struct("=BxxxiHBBHH6sxxHH4s")
_IPV6 = struct.Struct("=BxxxiHBBHH6sxxHH16s")
#: How much of a dumped entry tells it from all others.
HEAD_BYTES = 12 + 12 + 8
#: The MAC address of entries for whatever a VXLAN device has no other entry for.
_FLOOD = bytes(6)


class FdbEntry(NamedTuple):
    """A permanent ``self`` entry of a VXLAN device: frames for ``mac`` go to VTEP ``destination``."""

    device: str
    mac: MacAddress
    destination: IPAddress

    def __str__(self) -> str:
        return f"fdb {self.mac} dst {self.destination} dev {self.device} self permanent"

    @staticmethod
    def field() -> str:
        return "fdb"

    def identity(self) -> Any:
        return self.device, self.mac

    def rank(self) -> Any:
        return self.device, self.mac, int(self.destination)

    def batch(self, action: str) -> str:
        return NETLINK

    def changes_in_place(self, old: FdbEntry) -> bool:
        return True

    def compared(self, old: FdbEntry) -> str:
        return f" (was: {old})"

    def goes_with(self, devices: Container[str], next_hops: Container[int]) -> bool:
        return self.device in devices

    def commands(self, action: str, old: Any) -> List[Command]:
        """Of all destinations that an entry floods to none is replaced (vxlan_fdb_update_existing)."""
        from .command import command

        mac, device, destination = self.mac, self.device, self.destination
        if action == REMOVE:
            return [command("bridge fdb del {} dev {} dst {} self", mac, device, destination)]
        verb = "append" if mac == _FLOOD else "replace"
        step = command("bridge fdb {} {} dev {} dst {} self permanent", verb, mac, device, destination)
        return [step, *old.commands(REMOVE, None)] if mac == _FLOOD and old is not None else [step]

    def messages(self, action: str, old: Any, index: Index, namespaces: Mapping[str, int]) -> tuple[Message]:
        packed, device = self.destination.packed, index(self.device)
        if len(packed) == 4:
            body = _IPV4.pack(AF_BRIDGE, device, NUD_PERMANENT, _SELF, 0, 10, 2, self.mac, 8, 1, packed)
        else:
            body = _IPV6.pack(AF_BRIDGE, device, NUD_PERMANENT, _SELF, 0, 10, 2, self.mac, 20, 1, packed)
        return ((RTM_DELNEIGH, 0, body) if action == REMOVE else (RTM_NEWNEIGH, REPLACING, body),)

    def request(self, index: Index) -> tuple[int, bytes]:
        return RTM_GETNEIGH, fdb_lookup(self.mac, index(self.device))

    @staticmethod
    def decode(payload: bytes, names: Names) -> FdbEntry | None:
        """An entry of a VXLAN device's own table; None for those that somebody learned."""
        _, index, state, flags, _ = NDMSG.unpack_from(payload)
        if not flags & _SELF or not state & (NUD_PERMANENT | NUD_NOARP):
            return None
        if payload[12:16] == LLADDR and payload[24:28] == DST4:  # vxlan_fdb_info's order
            return FdbEntry(names.get(index, ""), MacAddress(payload[16:22]), ip(payload[28:32]))
        values = after(payload, 12)
        if NDA_DST not in values or len(values.get(NDA_LLADDR, b"")) != 6:
            return None
        return FdbEntry(names.get(index, ""), MacAddress(values[NDA_LLADDR]), ip(values[NDA_DST]))

    def feature(self) -> str:
        return "the feature"

    @staticmethod
    def heads(entries: Iterable[FdbEntry], index: int) -> Iterator[tuple[bytes, FdbEntry]]:
        """How dumped messages begin for entries of one device (vxlan_fdb_info); of IPv4, which are many."""
        head = NDMSG.pack(AF_BRIDGE, index, NUD_PERMANENT, _SELF, _UNICAST) + LLADDR
        for entry in entries:
            if type(entry.destination) is IPv4Address:
                yield head + entry.mac + b"\0\0" + DST4 + entry.destination.packed, entry


def fdb_request(index: int = 0) -> bytes:
    """Payload of a dump of one device's own entries (valid_fdb_dump_strict), or of those of all."""
    return NDMSG.pack(AF_BRIDGE, index, 0, 0, 0)


def fdb_lookup(mac: bytes, index: int) -> bytes:
    """Payload of an RTM_GETNEIGH for a VXLAN device's own entry."""
    return NDMSG.pack(AF_BRIDGE, index, 0, _SELF, 0) + attribute(NDA_LLADDR, bytes(mac))


def destination_of(payload: bytes) -> IPAddress | None:
    """Where a VXLAN device sends by an entry."""
    packed = after(payload, 12).get(NDA_DST)
    return None if packed is None else ip(packed)


def row(payload: bytes, names: Names) -> Row | None:
    """Entries of bridges and VXLAN devices, for a snapshot; not the multicast groups that every device lists."""
    _, index, state, flags, _ = NDMSG.unpack_from(payload)
    values = after(payload, 12)
    mac = values.get(NDA_LLADDR, b"")
    if len(mac) != 6 or (mac[0] & 1 and NDA_DST not in values):
        return None
    result: Row = {"device": names.get(index, ""), "mac": str(MacAddress(mac))}
    put(result, "permanent", True if state & NUD_PERMANENT else None)
    put(result, "sticky", True if flags & _STICKY else None)
    put(result, "master", names.get(number(values[_MASTER]), "") if _MASTER in values else None)
    put(result, "destination", str(ip(values[NDA_DST])) if NDA_DST in values else None)
    put(result, "vni", number(values[_VNI]) if _VNI in values else None)
    put(result, "port", int.from_bytes(values[_PORT], "big") if _PORT in values else None)
    return result
