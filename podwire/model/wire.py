"""Netlink messages as bytes: attributes, numbers and addresses. Pure.

Sources: RFC 3549, include/uapi/linux/{netlink,rtnetlink}.h. Messages of kinds are in the kinds' own modules, tested
byte for byte against pyroute2 (which needs 150 ms to import and 1-3 ms a message).
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from ..startup_typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, Optional

    from .values import IPAddress

    #: Device names by ifindex.
    Names = Mapping[int, str]
    #: A row of a snapshot: JSON's values.
    Row = dict[str, Any]

Message = tuple[int, int, bytes]
"""(nlmsg_type, nlmsg_flags, payload) of a request."""

Index = Callable[[str], int]
"""Name of a device to its ifindex; KernelError if there is none."""

NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800
#: An addition excludes: what came between show and execute is an error, never overwritten.
EXCLUSIVE = NLM_F_CREATE | NLM_F_EXCL
REPLACING = NLM_F_CREATE | NLM_F_REPLACE

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
AF_INET, AF_BRIDGE, AF_INET6 = 2, 7, 10
FAMILY = {4: AF_INET, 6: AF_INET6}
#: Of routes and next hops: the gateway is on the device's link, whatever the routes say (RTNH_F_ONLINK).
ONLINK = 4
#: RT_SCOPE_*: of routes and addresses.
SCOPES = {"global": 0, "link": 253, "host": 254}

_U32 = struct.Struct("=I")
_HEAD = struct.Struct("=HH")
_ATTRIBUTE = _HEAD.unpack_from


def attribute(kind: int, value: bytes) -> bytes:
    """A netlink attribute, padded to four bytes."""
    length = 4 + len(value)
    return _HEAD.pack(length, kind) + value + b"\0" * (-length & 3)


def attributes(data: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """(type, value) of the attributes between two offsets, NLA_F_NESTED and NLA_F_NET_BYTEORDER cut off."""
    while start + 4 <= end:
        length, kind = _ATTRIBUTE(data, start)
        if length < 4:
            return
        yield kind & 0x3FFF, data[start + 4 : start + length]
        start += (length + 3) & ~3


def u32(kind: int, value: int) -> bytes:
    """An attribute with a number."""
    return attribute(kind, _U32.pack(value))


def text(kind: int, value: str) -> bytes:
    """An attribute with a string and its NUL."""
    return attribute(kind, value.encode() + b"\0")


def after(payload: bytes, start: int) -> dict[int, bytes]:
    """The attributes behind a message's header of ``start`` bytes."""
    return dict(attributes(payload, start, len(payload)))


def nested(value: bytes) -> dict[int, bytes]:
    """The attributes within an attribute."""
    return dict(attributes(value, 0, len(value)))


def number(value: bytes) -> int:
    """A u32."""
    return int(_U32.unpack_from(value)[0])


def string(value: bytes) -> str:
    """A string, with or without NUL."""
    return value.rstrip(b"\0").decode(errors="replace")


_addresses: dict[bytes, IPAddress] = {}


def ip(packed: bytes) -> IPAddress:
    """An address; the same bytes give the same object, because comparing those is free."""
    address = _addresses.get(packed)
    if address is None:
        if len(_addresses) > 100_000:
            _addresses.clear()
        address = IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)
        _addresses[packed] = address
    return address


def scope_name(scope: int) -> str:
    """The name of a scope, or its number where it has none."""
    return next((name for name, number in SCOPES.items() if number == scope), str(scope))


def put(row: Row, key: str, value: Optional[object]) -> None:
    """Have a key in a row where there is a value for it."""
    if value is not None:
        row[key] = value
