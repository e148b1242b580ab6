"""ptp: every container on a link of its own with the node, which routes to it.

::

    node                                          pod
    veth1a2b3c4d 10.244.1.1/32 ══════════════════ eth0 10.244.1.2/24 (no prefix route)
    10.244.1.2/32 dev veth1a2b3c4d scope host     10.244.1.1/32 dev eth0 scope link src 10.244.1.2
                                                  10.244.1.0/24 via 10.244.1.1 src 10.244.1.2
                                                  default via 10.244.1.1

The container's neighbours in its subnet are not on its link, so the kernel's own route to the subnet
would send it asking for them in vain; everything goes through the gateway, which is the node's end.
"""

from __future__ import annotations

from ipaddress import ip_network

from ...errors import CNI_INVALID_NETWORK_CONFIG, CniError
from ...ipam.ranges import with_prefix
from ...model.objects import PROTOCOL_BOOT, Address, Chain, IPAddress, IPNetwork, Link, Route, VethPeer
from ...model.state import EMPTY, State
from ...startup_typing import TYPE_CHECKING
from ..spec.netconf import Attachment, NetConf
from ..spec.result import Result, ResultIp
from . import common, masquerade, naming
from .base import PluginBase
from .plugin import Plugin, Projection

if TYPE_CHECKING:
    from typing import FrozenSet, Optional, Tuple

    from .chains import Kind


class Ptp(PluginBase):
    """The plugin."""

    type = "ptp"

    def project(
        self, conf: NetConf, attachment: Attachment, ipam: Optional[Result], previous: Optional[Result]
    ) -> Projection:
        """Both ends of the pair, with the routes between them."""
        mtu = conf.number("mtu", 68, 65535) or None
        given = common.addresses(conf, ipam)
        if not given.ips:
            raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {conf.name}, plugin ptp: IPAM gave no address")
        ips = common.with_gateways(given.ips)
        veth, ifname = naming.host_veth(attachment), attachment.ifname
        outside = Link(veth, "veth", mtu, naming.mac_of_veth(veth), peer=VethPeer(attachment.name, ifname))
        inside = Link(ifname, "veth", mtu, common.wanted_mac(conf) or naming.mac_of(ips[0].address.ip))
        routes = common.pod_routes(ifname, given.routes, ips) | _pod_routes(ifname, ips)
        return Projection(
            Result(
                (common.interface(outside), common.interface(inside, attachment.netns)),
                tuple(ResultIp(ip.address, ip.gateway, 1) for ip in ips),
                given.routes,
                given.dns,
            ),
            node=_node_state(outside, ips)
            | (masquerade.state(conf, attachment, ips) if conf.flag("ipMasq") else EMPTY),
            pod=common.pod_state(inside, ips, prefix_route=False) | State(routes=routes),
            shared=State(sysctls=common.forwarding(ip.address.version for ip in ips)),
        )

    def devices(self, conf: NetConf, attachment: Attachment) -> FrozenSet[str]:
        """The node's end."""
        return frozenset({naming.host_veth(attachment)})

    def chains(self, conf: NetConf) -> Tuple[Chain, ...]:
        """Where attachments may have rules."""
        return (masquerade.CHAIN,) if conf.flag("ipMasq") else ()

    def iptables_chains(self, conf: NetConf) -> Tuple[Kind, ...]:
        """ipMasq's."""
        return masquerade.iptables_chains() if conf.flag("ipMasq") else ()


PLUGIN: Plugin = Ptp()


def _node_state(link: Link, ips: Tuple[ResultIp, ...]) -> State:
    gateways = {with_prefix(ip.gateway, ip.gateway.max_prefixlen) for ip in ips if ip.gateway}
    return State(
        links=frozenset({link}),
        sysctls=frozenset({common.disable_accept_ra(link.name)}),
        addresses=frozenset(Address(link.name, gateway, nodad=gateway.version == 6) for gateway in gateways),
        routes=frozenset(
            Route(
                _alone(ip.address.ip),
                device=link.name,
                protocol=PROTOCOL_BOOT,
                scope="host" if ip.address.version == 4 else "global",
            )
            for ip in ips
        ),
    )


def _pod_routes(ifname: str, ips: Tuple[ResultIp, ...]) -> FrozenSet[Route]:
    found = set()
    for address, gateway, _ in ips:
        assert gateway is not None
        scope = "link" if address.version == 4 else "global"
        found.add(Route(_alone(gateway), device=ifname, protocol=PROTOCOL_BOOT, scope=scope, source=address.ip))
        found.add(Route(address.network, gateway, ifname, protocol=PROTOCOL_BOOT, source=address.ip))
    return frozenset(found)


def _alone(address: IPAddress) -> IPNetwork:
    """The network of one address."""
    return ip_network(address)
