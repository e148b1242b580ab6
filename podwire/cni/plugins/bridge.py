"""bridge: containers on a Linux bridge of the node, whose address is their gateway.

::

    node                                   pod
    cni0 10.244.1.1/24 ── veth1a2b3c4d ══ eth0 10.244.1.2/24, default via 10.244.1.1

The bridge's MAC address is set, and follows from its address: an unset one is the lowest of its ports' and would
change with them (net/bridge/br_stp_if.c, br_stp_recalculate_bridge_id), leaving every pod with a stale
neighbour.

``pinGateway`` (podwire's own key, false) makes each container's neighbour entry of its gateway permanent. The
kernel counts learnt entries over all namespaces of a machine (gc_thresh3, 1,024 by default), permanent ones not.
"""

from __future__ import annotations

from functools import lru_cache

from ...errors import CNI_INVALID_NETWORK_CONFIG, CniError
from ...ipam.allocator import Reservation
from ...ipam.ranges import with_prefix
from ...lean import TYPE_CHECKING, NamedTuple
from ...model import Address, IPAddress, Link, Neighbour, VethPeer
from ...state import State
from ..netconf import Attachment, NetConf
from ..plugin import Projection
from ..result import Result, ResultIp
from . import common

if TYPE_CHECKING:
    from typing import FrozenSet, Optional, Tuple

_UNSUPPORTED = (
    "ipMasq",
    "promiscMode",
    "vlan",
    "vlanTrunk",
    "macspoofchk",
    "enabledad",
    "disableContainerInterface",
    "forceAddress",
)


class Settings(NamedTuple):
    """The keys of a bridge's NetConf."""

    bridge: str
    is_gateway: bool
    is_default_gateway: bool
    hairpin: bool
    isolated: bool
    mtu: Optional[int]
    pin_gateway: bool


def settings_of(conf: NetConf) -> Settings:
    """Parse; CniError for wrong types and for features that are not here."""
    conf.refuse(*_UNSUPPORTED)
    default_gateway = conf.flag("isDefaultGateway")
    name = conf.text("bridge", "cni0")
    if not 1 <= len(name.encode()) <= 15 or "/" in name or name in (".", ".."):
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {conf.name}: bridge {name!r} is no device name")
    return Settings(
        name,
        conf.flag("isGateway") or default_gateway,
        default_gateway,
        conf.flag("hairpinMode"),
        conf.flag("portIsolation"),
        conf.number("mtu", 68, 65535) or None,
        conf.flag("pinGateway"),
    )


class Bridge:
    """The plugin."""

    type = "bridge"

    def project(
        self, conf: NetConf, attachment: Attachment, reservation: Optional[Reservation], previous: Optional[Result]
    ) -> Projection:
        """A port of the bridge, the container's end with its addresses, and the bridge itself."""
        settings = settings_of(conf)
        ipam, ips = common.require_ipam(conf, reservation)
        routes = common.with_default(ipam.routes, ips) if settings.is_default_gateway else ipam.routes
        veth, ifname, mtu = common.host_veth(attachment), attachment.ifname, settings.mtu
        port = Link(
            veth,
            "veth",
            mtu,
            common.mac_of_veth(veth),
            master=settings.bridge,
            peer=VethPeer(attachment.name, ifname),
            hairpin=settings.hairpin,
            isolated=settings.isolated,
        )
        bridge = Link(settings.bridge, "bridge", mtu, common.mac_of(ips[0].gateway))
        inside = Link(ifname, "veth", mtu, common.mac_of(ips[0].address.ip))
        pinned = [Neighbour(ifname, each.gateway, bridge.mac) for each in ips if settings.pin_gateway and bridge.mac]
        return Projection(
            Result(
                (common.interface(bridge), common.interface(port), common.interface(inside, attachment.netns)),
                tuple(ResultIp(each.address, each.gateway, 2) for each in ips),
                routes,
            ),
            node=State(links=frozenset({port})),
            pod=common.pod_state(inside, ips)
            | State(routes=common.pod_routes(ifname, routes, ips), neighbours=frozenset(pinned)),
            shared=_bridge_state(
                settings, bridge, tuple((each.gateway, each.address.network.prefixlen) for each in ips)
            ),
        )

    def devices(self, conf: NetConf, attachment: Attachment) -> FrozenSet[str]:
        """The port."""
        return frozenset({common.host_veth(attachment)})


@lru_cache(maxsize=8)
def _bridge_state(settings: Settings, bridge: Link, gateways: Tuple[Tuple[IPAddress, int], ...]) -> State:
    """The bridge, with its gateway addresses and what makes the node a gateway: one for all attachments."""
    state = State(links=frozenset({bridge}), sysctls=frozenset({common.no_router(bridge.name)}))
    if not settings.is_gateway:
        return state
    addresses = (Address(bridge.name, with_prefix(ip, length), nodad=ip.version == 6) for ip, length in gateways)
    return state._replace(
        addresses=frozenset(addresses), sysctls=state.sysctls | common.forwarding(ip.version for ip, _ in gateways)
    )
