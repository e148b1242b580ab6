"""What bridge and ptp have in common: interfaces, sysctls, routes, and what IPAM gives."""

from __future__ import annotations

from ipaddress import ip_network

from ...errors import CNI_INVALID_NETWORK_CONFIG, CniError
from ...model.objects import MAIN_TABLE, PROTOCOL_BOOT, Address, IPAddress, Link, MacAddress, Route, Sysctl
from ...model.state import State
from ...startup_typing import TYPE_CHECKING
from ..spec.result import Dns, Interface, Result, ResultIp
from ..spec.route import CniRoute

if TYPE_CHECKING:
    from typing import FrozenSet, Iterable, List, Optional, Tuple

    from ..spec.netconf import NetConf

#: ether_setup's, which veth and bridge devices start with.
DEFAULT_MTU = 1500
_SCOPES = {0: "global", 253: "link", 254: "host"}
_DEFAULT = {4: "0.0.0.0/0", 6: "::/0"}


def interface(link: Link, sandbox: str = "") -> Interface:
    """A device as a result tells of it."""
    return Interface(link.name, link.mac, sandbox, link.mtu or DEFAULT_MTU)


def forwarding(versions: Iterable[int]) -> FrozenSet[Sysctl]:
    """The node forwards each family."""
    keys = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}
    return frozenset(Sysctl(keys[version], "1") for version in versions)


def disable_accept_ra(device: str) -> Sysctl:
    """The node takes no router advertisements from pods (CVE-2020-10749)."""
    return Sysctl(f"net/ipv6/conf/{device}/accept_ra", "0")


def pod_state(link: Link, ips: Iterable[ResultIp], *, prefix_route: bool = True, dad: bool = False) -> State:
    """The container's device with its addresses.

    No wait for duplicate address detection, unless ``dad``; addresses are announced when the device comes up or
    gets a MAC address, and IPv6 ones survive its going down.
    """
    name = link.name
    sysctls = {f"net/ipv4/conf/{name}/arp_notify": "1"}
    if not dad:
        sysctls[f"net/ipv6/conf/{name}/accept_dad"] = "0"
    if any(ip.address.version == 6 for ip in ips):
        sysctls[f"net/ipv6/conf/{name}/disable_ipv6"] = "0"
        sysctls["net/ipv6/conf/lo/disable_ipv6"] = "0"
        sysctls[f"net/ipv6/conf/{name}/keep_addr_on_down"] = "1"
        sysctls[f"net/ipv6/conf/{name}/ndisc_notify"] = "1"
    return State(
        links=frozenset({link}),
        sysctls=frozenset(Sysctl(key, value) for key, value in sysctls.items()),
        addresses=frozenset(Address(name, ip.address, ip.address.version == 6 and not dad, prefix_route) for ip in ips),
    )


def pod_routes(ifname: str, routes: Iterable[CniRoute], ips: Tuple[ResultIp, ...]) -> FrozenSet[Route]:
    """The routes of a result; one without gateway goes through that of the family's first address, if that has one."""
    found = []
    for route in routes:
        gateway: Optional[IPAddress] = route.gateway
        scope = _SCOPES.get(route.scope or 0)
        if scope is None:
            raise CniError(CNI_INVALID_NETWORK_CONFIG, f"route {route.destination}: unknown scope {route.scope}")
        if gateway is None and scope == "global":
            gateway = next((ip.gateway for ip in ips if ip.address.version == route.destination.version), None)
        found.append(
            Route(
                route.destination,
                gateway,
                ifname,
                protocol=PROTOCOL_BOOT,
                scope=scope if route.destination.version == 4 else "global",
                metric=route.priority,
                table=route.table or MAIN_TABLE,
                mtu=route.mtu,
                advmss=route.advmss,
            )
        )
    return frozenset(found)


def with_default(routes: Tuple[CniRoute, ...], ips: Iterable[ResultIp]) -> Tuple[CniRoute, ...]:
    """``isDefaultGateway``: a default route for each family that has none."""
    found: List[CniRoute] = list(routes)
    for ip in ips:
        default = ip_network(_DEFAULT[ip.address.version])
        if ip.gateway is not None and default not in [route.destination for route in found]:
            found.append(CniRoute(default, ip.gateway))
    return tuple(found)


def addresses(conf: NetConf, ipam: Optional[Result]) -> Result:
    """What IPAM gave, all empty for a layer-2 network; ``dns`` of the configuration comes before IPAM's."""
    declared = conf.data.get("dns")
    try:
        dns = Dns.from_json(declared) if declared else Dns()
    except (TypeError, AttributeError) as error:
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {conf.name}: invalid dns: {error}") from error
    if not conf.data.get("ipam") or ipam is None:
        return Result(dns=dns)
    return ipam._replace(dns=dns) if any(dns) else ipam


def with_gateways(ips: Tuple[ResultIp, ...]) -> Tuple[ResultIp, ...]:
    """Each address with a gateway: where IPAM gave none, the first address of its subnet."""
    return tuple(ip._replace(gateway=ip.gateway or ip.address.network[1]) for ip in ips)


def wanted_mac(conf: NetConf, arguments: str = "") -> Optional[MacAddress]:
    """The MAC address asked for: runtimeConfig.mac before args.cni.mac before CNI_ARGS MAC."""
    args = (conf.data.get("args") or {}).get("cni") or {}
    text = (conf.data.get("runtimeConfig") or {}).get("mac") or args.get("mac") or arguments
    if not text:
        return None
    try:
        return MacAddress.parse(text)
    except (ValueError, AttributeError) as error:
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {conf.name}: invalid mac {text!r}: {error}") from error
