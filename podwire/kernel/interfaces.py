"""What a machine has before podwire: its interfaces with their addresses."""

from __future__ import annotations

import struct

from ..model.objects import BACKEND_ALIAS
from ..startup_typing import NamedTuple
from .namespaces import Namespace
from .netlink import rtnetlink

_LOOPBACK = 772  # ARPHRD_LOOPBACK
_SECONDARY, _DEPRECATED = 0x01, 0x20  # linux/if_addr.h; for IPv6 the first one says "temporary"


class Interface(NamedTuple):
    """An interface with addresses, ``address/length`` each, those first that the kernel would send from."""

    name: str
    mtu: int
    addresses: list[str]


def interfaces(namespace: Namespace) -> list[Interface]:
    """Every interface that has addresses, in the kernel's order; without loopback and a backend's own devices.
    Link-local, temporary and deprecated addresses are left out."""
    names: dict[int, str] = {}
    found: dict[str, Interface] = {}
    for _, payload in namespace.socket.dump(rtnetlink.RTM_GETLINK, bytes(16)):
        index, name = rtnetlink.read_link_name(payload)
        kind = struct.unpack_from("=BxH", payload)[1]
        if kind != _LOOPBACK and rtnetlink.read_alias(payload) != BACKEND_ALIAS:
            names[index] = name
            found[name] = Interface(name, rtnetlink.read_link(payload, {}).mtu or 0, [])
    later: list[tuple[str, str]] = []
    for _, payload in namespace.socket.dump(rtnetlink.RTM_GETADDR, bytes(8)):
        address, flags = rtnetlink.read_address(payload, names), payload[2]
        if address is None or address.device not in found or flags & _DEPRECATED:
            continue
        if not flags & _SECONDARY:
            found[address.device].addresses.append(str(address.interface))
        elif address.interface.version == 4:
            later.append((address.device, str(address.interface)))
    for device, text in later:
        found[device].addresses.append(text)
    return [each for each in found.values() if each.addresses]
