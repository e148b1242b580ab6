"""What bridge and ptp have in common: names and MAC addresses that need no look-up, sysctls, routes.

Every name and MAC address is a function of the attachment, so that DEL finds the device without asking
anybody, concurrent first ADDs agree, and CHECK compares values that intent alone gives.
"""

from __future__ import annotations

from hashlib import sha256
from ipaddress import ip_network

from ...errors import CNI_INVALID_NETWORK_CONFIG, CniError
from ...ipam.allocator import Reservation
from ...ipam.ranges import IpConfig
from ...lean import TYPE_CHECKING
from ...model import PROTOCOL_BOOT, Address, IPAddress, Link, MacAddress, Route, Sysctl
from ...state import State
from ..netconf import Attachment, CniRoute, IpamConf, NetConf
from ..result import Interface

if TYPE_CHECKING:
    from typing import FrozenSet, Iterable, List, Optional, Tuple

_DEFAULT = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}


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


def interface(link: Link, sandbox: str = "") -> Interface:
    """A device as a result tells of it."""
    return Interface(link.name, link.mac, sandbox, link.mtu or 0)


def forwarding(versions: Iterable[int]) -> FrozenSet[Sysctl]:
    """The node forwards each family."""
    keys = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}
    return frozenset(Sysctl(keys[version], "1") for version in versions)


def no_router(device: str) -> Sysctl:
    """The node takes no router advertisements from pods (CVE-2020-10749)."""
    return Sysctl(f"net/ipv6/conf/{device}/accept_ra", "0")


def pod_state(link: Link, ips: Iterable[IpConfig], *, prefix_route: bool = True) -> State:
    """The container's device with its addresses.

    No wait for duplicate address detection; addresses are announced when the device comes up or gets
    a MAC address, and IPv6 ones survive its going down.
    """
    name = link.name
    sysctls = {f"net/ipv4/conf/{name}/arp_notify": "1", f"net/ipv6/conf/{name}/accept_dad": "0"}
    if any(each.address.version == 6 for each in ips):
        sysctls[f"net/ipv6/conf/{name}/disable_ipv6"] = "0"
        sysctls["net/ipv6/conf/lo/disable_ipv6"] = "0"
        sysctls[f"net/ipv6/conf/{name}/keep_addr_on_down"] = "1"
        sysctls[f"net/ipv6/conf/{name}/ndisc_notify"] = "1"
    return State(
        links=frozenset({link}),
        sysctls=frozenset(Sysctl(key, value) for key, value in sysctls.items()),
        addresses=frozenset(Address(name, each.address, each.address.version == 6, prefix_route) for each in ips),
    )


def pod_routes(ifname: str, routes: Iterable[CniRoute], ips: Tuple[IpConfig, ...]) -> FrozenSet[Route]:
    """The routes of a result; one without gateway goes through that of the family's first address."""
    found = []
    for each in routes:
        gateway: Optional[IPAddress] = each.gateway or next(
            (ip.gateway for ip in ips if ip.address.version == each.destination.version), None
        )
        if gateway is not None:
            found.append(Route(each.destination, gateway, ifname, protocol=PROTOCOL_BOOT))
    return frozenset(found)


def with_default(routes: Tuple[CniRoute, ...], ips: Iterable[IpConfig]) -> Tuple[CniRoute, ...]:
    """``isDefaultGateway``: a default route for each family that has none."""
    found: List[CniRoute] = list(routes)
    for each in ips:
        default = _DEFAULT[each.address.version]
        if default not in [route.destination for route in found]:
            found.append(CniRoute(default, each.gateway))
    return tuple(found)


def require_ipam(conf: NetConf, reservation: Optional[Reservation]) -> Tuple[IpamConf, Tuple[IpConfig, ...]]:
    """The ``ipam`` part and the reserved addresses; CniError 7 without."""
    ipam = conf.ipam
    if ipam is None or reservation is None:
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {conf.name}, plugin {conf.type}: ipam is required")
    return ipam, reservation.ips
