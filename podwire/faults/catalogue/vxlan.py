"""The VXLAN device and the tables behind it: three have to agree on each peer, on both sides."""

from __future__ import annotations

from typing import Any, List, Tuple

from ...model.objects import FdbEntry, Link, MacAddress, Neighbour, Vxlan
from .. import requirements
from ..context import Ground
from ..fault import NODE, Edit, Fault, Patch, Symptom
from .routing import unused, ways
from .rules import chain, table
from .symptoms import FAR

#: What a VTEP may have been called before its node was rebuilt.
_OLD_MAC = MacAddress.parse("66:00:00:00:01:d0")
_ETHERNET_MTU = 1500
#: What a pod whose MTU leaves room for VXLAN says to a packet of that size.
_TOO_LARGE = frozenset({"too large"})


def _vtep(ground: Ground) -> Link:
    return ground.link(ground.vtep)


def _settings(ground: Ground) -> Vxlan:
    settings = _vtep(ground).settings
    assert isinstance(settings, Vxlan)
    return settings


def _neighbour(ground: Ground) -> Neighbour:
    gateway = ground.block(ground.peer)[0]
    return next(e for e in ground.state().neighbours if (e.device, e.address) == (ground.vtep, gateway))


def _entry(ground: Ground) -> FdbEntry:
    mac = _neighbour(ground).mac
    return next(e for e in ground.state().fdb if (e.device, e.mac) == (ground.vtep, mac))


def _fdb_missing(ground: Ground) -> List[Edit]:
    return [Patch(NODE, (_entry(ground),))]


def _neighbour_missing(ground: Ground) -> List[Edit]:
    return [Patch(NODE, (_neighbour(ground),))]


def _missed(ground: Ground) -> List[Edit]:
    return [Patch(NODE, (*ways(ground), _neighbour(ground), _entry(ground)))]


def _wrong_vtep(ground: Ground) -> List[Edit]:
    right = _entry(ground)
    return [Patch(NODE, (right,), (right._replace(destination=ground.underlay(ground.third)),))]


def _stale_mac(ground: Ground) -> List[Edit]:
    neighbour, entry = _neighbour(ground), _entry(ground)
    new = (neighbour._replace(mac=_OLD_MAC), entry._replace(mac=_OLD_MAC))
    return [Patch(NODE, (neighbour, entry), new)]


def _remade(ground: Ground, mtu: int | None = None, **settings: Any) -> List[Edit]:
    """The device made anew with other settings, and everything on it as before."""
    device = _vtep(ground)
    new = device._replace(settings=_settings(ground)._replace(**settings), mtu=mtu or device.mtu)
    return [Patch(NODE, (device,), (new,))]


def _down(ground: Ground) -> List[Edit]:
    device = _vtep(ground)
    return [Patch(NODE, (device,), (device._replace(up=False),), _on_it(ground))]


def _on_it(ground: Ground) -> Tuple[Any, ...]:
    """What goes with the device when it goes down: its routes and IPv4 neighbours, also the permanent ones
    (neigh_ifdown in net/core/neighbour.c). FDB entries stay."""
    state, name = ground.state(), ground.vtep
    hops = {hop.id for hop in state.next_hops if hop.device == name}
    routes = [route for route in state.routes if route.device == name or route.next_hop in hops]
    return (*routes, *(neighbour for neighbour in state.neighbours if neighbour.device == name))


def _flapped(ground: Ground) -> List[Edit]:
    device = _vtep(ground)
    lower = device._replace(up=False)
    gone = _on_it(ground)
    return [Patch(NODE, (device,), (lower,)), Patch(NODE, (lower, *gone), (device,))]


def _oversized(ground: Ground, df: bool) -> List[Edit]:
    """The pods' side has to be as large as the device's, or no packet would ever be."""
    edits = _remade(ground, _ETHERNET_MTU, device="", df=df)
    port, bridge = ground.link(ground.port(ground.pod)), ground.link(ground.cluster.cni.bridge)
    inside = ground.link("eth0", ground.place(ground.pod))
    node = (port, bridge)
    edits.append(Patch(NODE, node, tuple(each._replace(mtu=_ETHERNET_MTU) for each in node)))
    edits.append(Patch(ground.place(ground.pod), (inside,), (inside._replace(mtu=_ETHERNET_MTU),)))
    return edits


def _checksum(ground: Ground) -> List[Edit]:
    rule = f"udp dport {ground.cluster.backend.port} udp checksum set 0xdead"
    return [table("ip", "nic", chain("postrouting", rule, priority=300))]


_VANISHED = Symptom("fragments", "pod", "vtep", frozenset({"lost", "too big"}), _ETHERNET_MTU, _TOO_LARGE)
_FRAGMENTED = Symptom("fragments", "pod", "vtep", frozenset({"fragmented"}), _ETHERNET_MTU, _TOO_LARGE)
_NEEDS = (requirements.PEER, requirements.POD, requirements.VXLAN)
_V4 = (*_NEEDS, requirements.IPV4)
_BOTH = ("peer", "pod")
FAULTS = (
    Fault(
        "vxlan_fdb_missing", 33, "vxlan", "the VXLAN device does not know which node has the peer's VTEP",
        "bridge fdb del 66:… dev flannel.1 dst 172.30.0.12", _fdb_missing, FAR, needs=_NEEDS, parameters=_BOTH,
    ),
    Fault(
        "vxlan_neighbour_missing", 34, "vxlan", "the peer's VTEP has no MAC address: ARP asks in vain",
        "ip neigh del 10.244.1.0 dev flannel.1", _neighbour_missing, FAR, needs=_NEEDS, parameters=_BOTH,
    ),
    Fault(
        "vxlan_fdb_wrong_vtep", 35, "vxlan", "packets for the peer go to a third node",
        "bridge fdb replace 66:… dev flannel.1 dst 172.30.0.13", _wrong_vtep, FAR, needs=(*_NEEDS, requirements.THIRD),
        parameters=_BOTH,
    ),
    Fault(
        "vtep_mac_stale", 36, "vxlan", "the node sends to a MAC address that the peer's VTEP had before it was rebuilt",
        "ip neigh replace 10.244.1.0 lladdr 66:00:00:00:01:d0 dev flannel.1 nud permanent", _stale_mac, FAR,
        needs=_NEEDS, parameters=_BOTH,
    ),
    Fault(
        "vni_mismatch", 37, "vxlan", "the node's VXLAN device has another network identifier than its peers",
        "ip link add flannel.1 type vxlan id 4242 …", lambda g: _remade(g, vni=4242), FAR, needs=_NEEDS,
        parameters=_BOTH,
    ),
    Fault(
        "vxlan_port_mismatch", 38, "vxlan", "the node's VXLAN device has another UDP port than its peers",
        "ip link add flannel.1 type vxlan id 1 dstport 4789 …",
        lambda g: _remade(g, port=4789 if _settings(g).port != 4789 else 8472), FAR, needs=_NEEDS, parameters=_BOTH,
    ),
    Fault(
        "vtep_down", 39, "vxlan", "the VXLAN device is down", "ip link set flannel.1 down", _down, FAR, needs=_V4,
        parameters=_BOTH,
    ),
    Fault(
        "vtep_flapped", 40, "vxlan", "the VXLAN device was down for a moment: routes and neighbours did not come back",
        "ip link set flannel.1 down; ip link set flannel.1 up", _flapped, FAR, needs=_V4, parameters=_BOTH,
    ),
    Fault(
        "vxlan_local_wrong", 41, "vxlan", "the VXLAN device sends from an address that the node does not have",
        "ip link add flannel.1 type vxlan id 1 local 172.30.255.254 …", lambda g: _remade(g, local=unused(g)), FAR,
        needs=_V4, parameters=_BOTH,
    ),
    Fault(
        "vxlan_mtu_too_big", 42, "vxlan", "the overlay's MTU leaves no room for VXLAN: the underlay fragments",
        "ip link set flannel.1 mtu 1500", lambda g: _oversized(g, False), _FRAGMENTED,
        needs=(*_V4, requirements.BRIDGE), parameters=_BOTH,
    ),
    Fault(
        "vxlan_mtu_too_big_df", 43, "vxlan", "the same where outer packets may not be fragmented: large ones vanish",
        "ip link add flannel.1 type vxlan id 1 df set …; ip link set flannel.1 mtu 1500",
        lambda g: _oversized(g, True), _VANISHED, needs=(*_V4, requirements.BRIDGE), parameters=_BOTH,
    ),
    Fault(
        "outer_checksum_bad", 44, "vxlan", "outer UDP checksums are wrong, as of a broken offload",
        "nft add rule ip nic postrouting udp dport 8472 udp checksum set 0xdead", _checksum, FAR,
        needs=(*_V4, requirements.NFT, requirements.NIC), parameters=_BOTH,
    ),
    Fault(
        "peer_missed", 71, "vxlan", "the node's agent missed a node that joined: no route, no neighbour, no FDB entry",
        "systemctl stop flanneld    # while the peer joins", _missed, FAR, needs=_NEEDS, parameters=_BOTH,
    ),
)  # fmt: skip
