"""Names and MAC addresses of an attachment's devices.

Each is a function of the attachment or of an address, so that DEL finds the device without asking anybody, concurrent
first ADDs agree, and CHECK compares values that intent alone gives.
"""

from __future__ import annotations

from ...model.objects import MacAddress
from ...startup_typing import TYPE_CHECKING, sha256

if TYPE_CHECKING:
    from typing import Iterable

    from ...model.objects import Address, IPAddress, Link
    from ..spec.netconf import Attachment

#: IFLA_IFALIAS of a bridge that podwire made.
ALIAS = "podwire cni"


def host_veth(attachment: Attachment) -> str:
    """The node's end of an attachment's veth pair: ``veth`` and 8 hex digits."""
    seed = f"{attachment.container_id}/{attachment.ifname}"
    return "veth" + sha256(seed.encode()).hexdigest()[:8]


def mac_of(address: IPAddress) -> MacAddress:
    """The MAC address of the device that holds an address: 0a:58 and the IPv4 address, as CNI's
    bridge once had it (pkg/utils/hwaddr), or a digest of the IPv6 address.

    An address that is used again comes with the MAC address that the neighbours still know.
    """
    if address.version == 4:
        return MacAddress(b"\x0a\x58" + address.packed)
    return MacAddress(b"\x0a\x59" + sha256(address.packed).digest()[:4])


def mac_of_veth(name: str) -> MacAddress:
    """The MAC address of a node's end. One that is set is one that udev leaves alone."""
    return MacAddress(b"\x0a\x5a" + sha256(name.encode()).digest()[:4])


def is_ours(link: Link, addresses: Iterable[Address], *more: MacAddress) -> bool:
    """Whether podwire made a bridge. Before it had an alias, its MAC address told: that follows from its name or from
    an address that it has, which no other program's does; ``more`` are those of addresses that it may have lost."""
    if link.alias is not None:
        return link.alias == ALIAS
    return link.mac in (mac_of_veth(link.name), *(mac_of(address.interface.ip) for address in addresses), *more)
