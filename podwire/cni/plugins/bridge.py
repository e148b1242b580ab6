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

from ...errors import CNI_CONFLICT, CNI_INVALID_NETWORK_CONFIG, CniError
from ...ipam.ranges import with_prefix
from ...model.device_name import is_device_name
from ...model.objects import Address, Chain, IPAddress, Link, MacAddress, Neighbour, VethPeer
from ...model.state import EMPTY, State
from ...startup_typing import TYPE_CHECKING, NamedTuple, lru_cache
from ..spec.netconf import Attachment, NetConf
from ..spec.result import Result, ResultIp
from . import common, masquerade, naming, spoofcheck, vlan
from .base import NODE, PluginBase
from .plugin import Plugin, Projection

if TYPE_CHECKING:
    from typing import FrozenSet, Optional, Tuple

    from .chains import Kind


class Settings(NamedTuple):
    """The keys of a bridge's NetConf."""

    bridge: str
    is_gateway: bool
    is_default_gateway: bool
    hairpin: bool
    isolated: bool
    mtu: Optional[int]
    promisc: bool
    force_address: bool
    dad: bool
    plain: bool
    pin_gateway: bool
    vlans: Optional[vlan.Vlans]

    @property
    def access(self) -> int:
        """The VLAN of what comes and goes without tag; 0 for none."""
        return self.vlans.access if self.vlans else 0


_VLAN_KEYS = ("vlan", "vlanTrunk", "preserveDefaultVlan")


def settings_of(conf: NetConf) -> Settings:
    """Parse; CniError for wrong types and for features that are not here."""
    default_gateway = conf.flag("isDefaultGateway")
    name = conf.text("bridge", "cni0")
    if not is_device_name(name):
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {conf.name}: bridge {name!r} is no device name")
    _refuse_nonsense(conf)
    return Settings(
        name,
        conf.flag("isGateway") or default_gateway,
        default_gateway,
        conf.flag("hairpinMode"),
        conf.flag("portIsolation"),
        conf.number("mtu", 68, 65535) or None,
        conf.flag("promiscMode"),
        conf.flag("forceAddress"),
        conf.flag("enabledad"),
        conf.flag("disableContainerInterface"),
        conf.flag("pinGateway"),
        vlan.parse(conf) if any(key in conf.data for key in _VLAN_KEYS) else None,
    )


def _refuse_nonsense(conf: NetConf) -> None:
    if conf.flag("hairpinMode") and conf.flag("promiscMode"):
        raise _invalid(conf, "cannot set hairpin mode and promiscuous mode at the same time")
    if conf.flag("disableContainerInterface") and conf.data.get("ipam"):
        raise _invalid(conf, "cannot use IPAM when disableContainerInterface is set")


def _invalid(conf: NetConf, problem: str) -> CniError:
    return CniError(CNI_INVALID_NETWORK_CONFIG, f"network {conf.name}, plugin bridge: {problem}")


class Bridge(PluginBase):
    """The plugin."""

    type = "bridge"

    def project(
        self, conf: NetConf, attachment: Attachment, ipam: Optional[Result], previous: Optional[Result]
    ) -> Projection:
        """A port of the bridge, the container's end with its addresses, and the bridge itself."""
        settings = settings_of(conf)
        given = common.addresses(conf, ipam)
        ips = common.with_gateways(given.ips) if settings.is_gateway else given.ips
        routes = common.with_default(given.routes, ips) if settings.is_default_gateway else given.routes
        veth, ifname, mtu = naming.host_veth(attachment), attachment.ifname, settings.mtu
        port = Link(
            veth,
            "veth",
            mtu,
            naming.mac_of_veth(veth),
            master=settings.bridge,
            peer=VethPeer(attachment.name, ifname),
            hairpin=settings.hairpin,
            isolated=settings.isolated,
        )
        gateway = _gateway(conf, settings, ips)
        bridge = _bridge(settings, gateway, ips)
        own = naming.mac_of(ips[0].address.ip) if ips else naming.mac_of_veth(f"{veth} {ifname}")
        inside = Link(ifname, "veth", mtu, common.wanted_mac(conf) or own, up=not settings.plain)
        interfaces = [common.interface(bridge), common.interface(port), common.interface(inside, attachment.netns)]
        if gateway:
            interfaces.append(common.interface(gateway))
        mac = (gateway or bridge).mac
        pinned = [Neighbour(ifname, ip.gateway, mac) for ip in ips if settings.pin_gateway and mac and ip.gateway]
        node = State(
            links=frozenset({port}), vlans=settings.vlans.of_port(veth) if settings.vlans else frozenset()
        ) | _rules(conf, attachment, ips, inside.mac)
        return Projection(
            Result(tuple(interfaces), tuple(ResultIp(ip.address, ip.gateway, 2) for ip in ips), routes, given.dns),
            node=node,
            pod=common.pod_state(inside, ips, dad=settings.dad)
            | State(routes=common.pod_routes(ifname, routes, ips), neighbours=frozenset(pinned)),
            shared=_bridge_state(
                settings,
                bridge,
                gateway,
                tuple((ip.gateway, ip.address.network.prefixlen) for ip in ips if ip.gateway),
            ),
        )

    def devices(self, conf: NetConf, attachment: Attachment) -> FrozenSet[str]:
        """The port."""
        return frozenset({naming.host_veth(attachment)})

    def chains(self, conf: NetConf) -> Tuple[Chain, ...]:
        """Where attachments may have rules."""
        masquerading = (masquerade.CHAIN,) if conf.flag("ipMasq") else ()
        return masquerading + ((spoofcheck.CHAIN,) if conf.flag("macspoofchk") else ())

    def iptables_chains(self, conf: NetConf) -> Tuple[Kind, ...]:
        """ipMasq's."""
        return masquerade.iptables_chains() if conf.flag("ipMasq") else ()

    def refuse_clash(self, conf: NetConf, shared: State, device: State) -> State:
        """Addresses in the gateway's subnet, which ``forceAddress`` replaces. CniError 101 without."""
        names = {link.name for link in device.links}
        wanted = frozenset(address for address in shared.addresses if address.device in names)
        clashing = frozenset(old for old in device.addresses - wanted for new in wanted if _overlap(old, new))
        if clashing and not settings_of(conf).force_address:
            raise CniError(
                CNI_CONFLICT,
                f"bridge {', '.join(names)} already has {', '.join(sorted(str(old.interface) for old in clashing))} "
                f"instead of {', '.join(sorted(str(new.interface) for new in wanted))}",
                "remove it, or set forceAddress",
            )
        return State(addresses=clashing)

    def without_device(self, conf: NetConf, shared: State, device: str) -> State:
        """A VLAN's gateway may be on another's port, which is as good."""
        settings = settings_of(conf)
        if device == f"{settings.bridge}.{settings.access}":
            return _without_port(shared, settings.bridge, device)
        return shared

    def optional_features(self, conf: NetConf) -> str:
        """The keys, with their values, that not every kernel can do."""
        vlans = settings_of(conf).vlans
        return str(vlans) if vlans and vlans.filter else ""


PLUGIN: Plugin = Bridge()


def _rules(conf: NetConf, attachment: Attachment, ips: Tuple[ResultIp, ...], mac: Optional[MacAddress]) -> State:
    found = EMPTY
    if conf.flag("ipMasq"):
        found |= masquerade.state(conf, attachment, ips)
    if conf.flag("macspoofchk"):
        found |= State(rules=spoofcheck.rules(conf, attachment, naming.host_veth(attachment), mac))
    return found


def _overlap(old: Address, new: Address) -> bool:
    return old.interface.version == new.interface.version and old.interface.network.overlaps(new.interface.network)


def _gateway(conf: NetConf, settings: Settings, ips: Tuple[ResultIp, ...]) -> Optional[Link]:
    """The device with the gateway's addresses, where that is not the bridge itself."""
    if not settings.access or not settings.is_gateway or not ips:
        return None
    name = vlan.gateway_name(conf, settings.bridge, settings.access)
    return Link(name, "veth", mac=_gateway_mac(name, ips))


def _bridge(settings: Settings, gateway: Optional[Link], ips: Tuple[ResultIp, ...]) -> Link:
    name = settings.bridge
    return Link(
        name,
        "bridge",
        settings.mtu,
        naming.mac_of_veth(name) if gateway else _gateway_mac(name, ips),
        alias=naming.ALIAS,
        promisc=settings.promisc or None,
        vlan_filtering=(settings.vlans and settings.vlans.filter) or None,
    )


def _gateway_mac(name: str, ips: Tuple[ResultIp, ...]) -> MacAddress:
    gateway = next((ip.gateway for ip in ips if ip.gateway is not None), None)
    return naming.mac_of(gateway) if gateway is not None else naming.mac_of_veth(name)


def _without_port(shared: State, bridge: str, device: str) -> State:
    port = naming.host_veth(Attachment(bridge, device))
    return shared._replace(
        links=frozenset(link for link in shared.links if link.name != port),
        vlans=frozenset(vlan for vlan in shared.vlans if vlan.device != port),
    )


@lru_cache(maxsize=8)
def _bridge_state(
    settings: Settings, bridge: Link, gateway: Optional[Link], gateways: Tuple[Tuple[IPAddress, int], ...]
) -> State:
    """The bridge, with its gateway addresses and what makes the node a gateway: one for all attachments."""
    state = State(links=frozenset({bridge}), sysctls=frozenset({common.disable_accept_ra(bridge.name)}))
    if not settings.is_gateway:
        return state
    if gateway and settings.vlans:
        state |= vlan.gateway(bridge.name, gateway.name, NODE, settings.vlans, gateway.mac)
    device = (gateway or bridge).name
    addresses = (Address(device, with_prefix(ip, length), nodad=ip.version == 6) for ip, length in gateways)
    return state._replace(
        addresses=frozenset(addresses), sysctls=state.sysctls | common.forwarding(ip.version for ip, _ in gateways)
    )
