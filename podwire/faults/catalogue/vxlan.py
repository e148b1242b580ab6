"""The VXLAN device and the tables behind it: three have to agree on each peer, on both sides."""

from __future__ import annotations

from typing import Any, List, Tuple

from ...model.objects import FdbEntry, Link, MacAddress, Neighbour, Vxlan
from .. import requirements
from ..context import Context
from ..edit import Edit, Patch
from ..fault import Fault
from ..places import NODE
from ..symptom import Symptom
from .routing import unused, ways
from .rules import chain, table
from .symptoms import FAR

#: What a VTEP may have been called before its node was rebuilt.
_OLD_MAC = MacAddress.parse("66:00:00:00:01:d0")
_ETHERNET_MTU = 1500
#: What a pod whose MTU leaves room for VXLAN says to a packet of that size.
_TOO_LARGE = frozenset({"too large"})


def _vtep(context: Context) -> Link:
    return context.link(context.vtep)


def _settings(context: Context) -> Vxlan:
    settings = _vtep(context).settings
    assert isinstance(settings, Vxlan)
    return settings


def _neighbour(context: Context) -> Neighbour:
    gateway = context.block(context.peer)[0]
    return next(e for e in context.state().neighbours if (e.device, e.address) == (context.vtep, gateway))


def _entry(context: Context) -> FdbEntry:
    mac = _neighbour(context).mac
    return next(e for e in context.state().fdb if (e.device, e.mac) == (context.vtep, mac))


def _fdb_missing(context: Context) -> List[Edit]:
    return [Patch(NODE, (_entry(context),))]


def _neighbour_missing(context: Context) -> List[Edit]:
    return [Patch(NODE, (_neighbour(context),))]


def _missed(context: Context) -> List[Edit]:
    return [Patch(NODE, (*ways(context), _neighbour(context), _entry(context)))]


def _wrong_vtep(context: Context) -> List[Edit]:
    right = _entry(context)
    return [Patch(NODE, (right,), (right._replace(destination=context.underlay(context.third)),))]


def _stale_mac(context: Context) -> List[Edit]:
    neighbour, entry = _neighbour(context), _entry(context)
    new = (neighbour._replace(mac=_OLD_MAC), entry._replace(mac=_OLD_MAC))
    return [Patch(NODE, (neighbour, entry), new)]


def _remade(context: Context, mtu: int | None = None, **settings: Any) -> List[Edit]:
    """The device made anew with other settings, and everything on it as before."""
    device = _vtep(context)
    new = device._replace(settings=_settings(context)._replace(**settings), mtu=mtu or device.mtu)
    return [Patch(NODE, (device,), (new,))]


def _down(context: Context) -> List[Edit]:
    device = _vtep(context)
    return [Patch(NODE, (device,), (device._replace(up=False),), _on_it(context))]


def _on_it(context: Context) -> Tuple[Any, ...]:
    """What goes with the device when it goes down: its routes and IPv4 neighbours, also the permanent ones
    (neigh_ifdown in net/core/neighbour.c). FDB entries stay."""
    state, name = context.state(), context.vtep
    hops = {hop.id for hop in state.next_hops if hop.device == name}
    routes = [route for route in state.routes if route.device == name or route.next_hop in hops]
    return (*routes, *(neighbour for neighbour in state.neighbours if neighbour.device == name))


def _flapped(context: Context) -> List[Edit]:
    device = _vtep(context)
    lower = device._replace(up=False)
    gone = _on_it(context)
    return [Patch(NODE, (device,), (lower,)), Patch(NODE, (lower, *gone), (device,))]


def _oversized(context: Context, df: bool) -> List[Edit]:
    """The pods' side has to be as large as the device's, or no packet would ever be."""
    edits = _remade(context, _ETHERNET_MTU, device="", df=df)
    port, bridge = context.link(context.port(context.pod)), context.link(context.cluster.cni.bridge)
    inside = context.link("eth0", context.place(context.pod))
    node = (port, bridge)
    edits.append(Patch(NODE, node, tuple(each._replace(mtu=_ETHERNET_MTU) for each in node)))
    edits.append(Patch(context.place(context.pod), (inside,), (inside._replace(mtu=_ETHERNET_MTU),)))
    return edits


def _checksum(context: Context) -> List[Edit]:
    rule = f"udp dport {context.cluster.backend.port} udp checksum set 0xdead"
    return [table("ip", "nic", chain("postrouting", rule, priority=300))]


_VANISHED = Symptom("fragments", "pod", "vtep", frozenset({"lost", "too big"}), _ETHERNET_MTU, _TOO_LARGE)
_FRAGMENTED = Symptom("fragments", "pod", "vtep", frozenset({"fragmented"}), _ETHERNET_MTU, _TOO_LARGE)
_REQUIRED = (requirements.PEER, requirements.POD, requirements.VXLAN)
_V4 = (*_REQUIRED, requirements.IPV4)
_BOTH = ("peer", "pod")
FAULTS = (
    Fault(
        "vxlan_fdb_missing", 33, "vxlan", "the VXLAN device does not know which node has the peer's VTEP",
        "bridge fdb del 66:… dev flannel.1 dst 172.30.0.12", _fdb_missing, FAR, requires=_REQUIRED, parameters=_BOTH,
    ),
    Fault(
        "vxlan_neighbour_missing", 34, "vxlan", "the peer's VTEP has no MAC address: ARP asks in vain",
        "ip neigh del 10.244.1.0 dev flannel.1", _neighbour_missing, FAR, requires=_REQUIRED, parameters=_BOTH,
    ),
    Fault(
        "vxlan_fdb_wrong_vtep", 35, "vxlan", "packets for the peer go to a third node",
        "bridge fdb replace 66:… dev flannel.1 dst 172.30.0.13", _wrong_vtep, FAR,
        requires=(*_REQUIRED, requirements.THIRD),
        parameters=_BOTH,
    ),
    Fault(
        "vtep_mac_stale", 36, "vxlan", "the node sends to a MAC address that the peer's VTEP had before it was rebuilt",
        "ip neigh replace 10.244.1.0 lladdr 66:00:00:00:01:d0 dev flannel.1 nud permanent", _stale_mac, FAR,
        requires=_REQUIRED, parameters=_BOTH,
    ),
    Fault(
        "vni_mismatch", 37, "vxlan", "the node's VXLAN device has another network identifier than its peers",
        "ip link add flannel.1 type vxlan id 4242 …", lambda g: _remade(g, vni=4242), FAR, requires=_REQUIRED,
        parameters=_BOTH,
    ),
    Fault(
        "vxlan_port_mismatch", 38, "vxlan", "the node's VXLAN device has another UDP port than its peers",
        "ip link add flannel.1 type vxlan id 1 dstport 4789 …",
        lambda g: _remade(g, port=4789 if _settings(g).port != 4789 else 8472), FAR,
        requires=_REQUIRED, parameters=_BOTH,
    ),
    Fault(
        "vtep_down", 39, "vxlan", "the VXLAN device is down", "ip link set flannel.1 down", _down, FAR, requires=_V4,
        parameters=_BOTH,
    ),
    Fault(
        "vtep_flapped", 40, "vxlan", "the VXLAN device was down for a moment: routes and neighbours did not come back",
        "ip link set flannel.1 down; ip link set flannel.1 up", _flapped, FAR, requires=_V4, parameters=_BOTH,
    ),
    Fault(
        "vxlan_local_wrong", 41, "vxlan", "the VXLAN device sends from an address that the node does not have",
        "ip link add flannel.1 type vxlan id 1 local 172.30.255.254 …", lambda g: _remade(g, local=unused(g)), FAR,
        requires=_V4, parameters=_BOTH,
    ),
    Fault(
        "vxlan_mtu_too_big", 42, "vxlan", "the overlay's MTU leaves no room for VXLAN: the underlay fragments",
        "ip link set flannel.1 mtu 1500", lambda g: _oversized(g, False), _FRAGMENTED,
        requires=(*_V4, requirements.BRIDGE), parameters=_BOTH,
    ),
    Fault(
        "vxlan_mtu_too_big_df", 43, "vxlan", "the same where outer packets may not be fragmented: large ones vanish",
        "ip link add flannel.1 type vxlan id 1 df set …; ip link set flannel.1 mtu 1500",
        lambda g: _oversized(g, True), _VANISHED, requires=(*_V4, requirements.BRIDGE), parameters=_BOTH,
    ),
    Fault(
        "outer_checksum_bad", 44, "vxlan", "outer UDP checksums are wrong, as of a broken offload",
        "nft add rule ip nic postrouting udp dport 8472 udp checksum set 0xdead", _checksum, FAR,
        requires=(*_V4, requirements.NFT, requirements.NIC), parameters=_BOTH,
    ),
    Fault(
        "peer_missed", 71, "vxlan", "the node's agent missed a node that joined: no route, no neighbour, no FDB entry",
        "systemctl stop flanneld    # while the peer joins", _missed, FAR, requires=_REQUIRED, parameters=_BOTH,
    ),
)  # fmt: skip
