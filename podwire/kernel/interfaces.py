"""What a machine has before podwire: its interfaces with their addresses, and by which of them it sends."""

from __future__ import annotations

import struct
from ipaddress import ip_address

from ..model.objects import BACKEND_ALIAS
from ..startup_typing import TYPE_CHECKING, NamedTuple
from .namespaces import Namespace
from .netlink import rtnetlink
from .netlink.socket import attribute, attributes

if TYPE_CHECKING:
    from ..model.objects import IPAddress

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


def way(namespace: Namespace, destination: IPAddress) -> tuple[str, str] | None:
    """(device, source address) of a packet to ``destination``; None if there is no route."""
    family = rtnetlink.AF_INET if destination.version == 4 else rtnetlink.AF_INET6
    header = struct.pack("=8BI", family, destination.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
    answer = namespace.socket.get(rtnetlink.RTM_GETROUTE, header + attribute(1, destination.packed))
    if answer is None:
        return None
    found = dict(attributes(answer, 12, len(answer)))
    if 4 not in found or 7 not in found:  # RTA_OIF, RTA_PREFSRC
        return None
    index = struct.unpack("=I", found[4])[0]
    link = namespace.socket.get(rtnetlink.RTM_GETLINK, rtnetlink.index_request(index))
    return None if link is None else (rtnetlink.read_link_name(link)[1], str(ip_address(found[7])))
