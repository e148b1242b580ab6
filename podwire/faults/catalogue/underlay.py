"""The network below: addresses, ARP and MTU between the nodes. Some of it is the switch's side of a lab."""

from __future__ import annotations

from ipaddress import ip_interface
from typing import List

from ...intent import underlay
from ...model.objects import Address, Link, MacAddress, Neighbour
from .. import requirements
from ..context import Ground
from ..fault import NODE, UNDERLAY, Edit, Fault, Patch, Put
from ..resources import Qdisc
from .routing import unused
from .rules import chain, table
from .symptoms import FAR, LARGE, SLOW

_BAD_MAC = MacAddress.parse("02:00:00:00:de:ad")
#: So much smaller than the pods' packets need.
_LESS = 100


def _blocked(ground: Ground) -> List[Edit]:
    rule = f"udp dport {ground.cluster.backend.port} counter drop"
    return [table("inet", "hostfw", chain("input", rule))]


def _switch_port(ground: Ground) -> Link:
    pair = next(p for p in underlay.pairs(ground.cluster) if (p.name, p.device) == (ground.node.name, "eth0"))
    return ground.link(pair.port, UNDERLAY)


def _small(ground: Ground) -> List[Edit]:
    port = _switch_port(ground)
    return [Patch(UNDERLAY, (port,), (port._replace(mtu=(port.mtu or 1500) - _LESS),))]


def _no_icmp(ground: Ground) -> List[Edit]:
    """A smaller MTU on the way is honest as long as it is told; here it is not."""
    device = ground.link(ground.vtep)
    return [
        table("ip", "hardening", chain("output", "icmp type destination-unreachable counter drop")),
        Patch(NODE, (device,), (device._replace(mtu=(device.mtu or 1450) - _LESS),)),
    ]


def _ends(ground: Ground) -> List[Edit]:
    port = ground.link(ground.port(ground.pod))
    return [Patch(NODE, (port,), (port._replace(mtu=(port.mtu or 1450) - _LESS),))]


def _duplicate(ground: Ground) -> List[Edit]:
    own = ground.node.address(ground.version)
    assert own is not None
    address = Address(ground.node.interface, ip_interface(f"{ground.underlay(ground.peer)}/{own.network.prefixlen}"))
    return [Patch(NODE, new=(address,))]


def _wrong_arp(ground: Ground) -> List[Edit]:
    peer, device = ground.underlay(ground.peer), ground.node.interface
    right = tuple(e for e in ground.state().neighbours if (e.device, e.address) == (device, peer))
    return [Patch(NODE, right, (Neighbour(device, peer, _BAD_MAC),))]


def _nat(ground: Ground) -> List[Edit]:
    """Out by another address, and in by none: what a NAT does to a node whose peers send to its private address."""
    port, device = ground.cluster.backend.port, ground.node.interface
    out = chain("postrouting", f"oifname {device} udp dport {port} snat to {unused(ground)}", kind="nat", priority=100)
    into = chain("prerouting", f"iifname {device} udp dport {port} drop", priority=-150)
    return [table("ip", "cpe", out, into)]


def _shaped(ground: Ground, words: str) -> List[Edit]:
    """Of a machine that is reached over SSH only what pods send: the way in shall be there to mend it."""
    device = ground.vtep if ground.node.kind == "ssh" else ground.node.interface
    return [Put(NODE, Qdisc(device), words)]


_NEEDS = (requirements.PEER, requirements.POD)
_BOTH = ("peer", "pod")
FAULTS = (
    Fault(
        "vxlan_port_blocked", 45, "underlay", "the node's firewall drops what peers send by VXLAN",
        "nft add rule inet hostfw input udp dport 8472 drop", _blocked, FAR,
        needs=(*_NEEDS, requirements.VXLAN, requirements.NFT), parameters=_BOTH,
    ),
    Fault(
        "underlay_mtu_low", 46, "underlay", "the switch takes smaller packets than the nodes believe",
        "ip link set node-1.eth0 mtu 1400    # on the switch", _small, LARGE, needs=(requirements.LAB, *_NEEDS),
        parameters=_BOTH,
    ),
    Fault(
        "pmtu_icmp_filtered", 47, "underlay", "the way is narrower, and the ICMP that says so is filtered",
        "ip link set flannel.1 mtu 1350; nft add rule ip hardening output icmp type destination-unreachable drop",
        _no_icmp, LARGE, needs=(*_NEEDS, requirements.VXLAN, requirements.IPV4, requirements.NFT), parameters=_BOTH,
    ),
    Fault(
        "veth_mtu_mismatch", 48, "underlay", "the two ends of a pod's veth pair have different MTUs",
        "ip link set veth0 mtu 1350", _ends, LARGE, needs=(*_NEEDS, requirements.BRIDGE), parameters=_BOTH,
    ),
    Fault(
        "duplicate_node_ip", 49, "underlay", "the node has the peer's address, too",
        "ip addr add 172.30.0.12/16 dev eth0", _duplicate, FAR,
        needs=(*_NEEDS, requirements.IPV4, requirements.VXLAN, requirements.SAME_SEGMENT),
        parameters=_BOTH,
    ),
    Fault(
        "underlay_neighbour_wrong", 50, "underlay", "the node sends to the peer at a MAC address that nobody has",
        "ip neigh replace 172.30.0.12 lladdr 02:00:00:00:de:ad dev eth0 nud permanent", _wrong_arp, FAR,
        needs=(*_NEEDS, requirements.SAME_SEGMENT), parameters=_BOTH,
    ),
    Fault(
        "node_behind_nat", 51, "underlay", "the node stands behind a NAT, and peers send to its private address",
        "nft add rule ip cpe postrouting udp dport 8472 snat to 172.30.255.254", _nat, FAR,
        needs=(*_NEEDS, requirements.VXLAN, requirements.IPV4, requirements.NFT), parameters=_BOTH,
    ),
    Fault(
        "link_slow", 68, "underlay", "the node's link has a rate of 256 kbit/s",
        "tc qdisc replace dev eth0 root tbf rate 256kbit burst 10kb latency 20ms",
        lambda ground: _shaped(ground, "tbf rate 256kbit burst 10kb latency 20ms"), SLOW,
        needs=(requirements.TBF, requirements.WAY_IN, *_NEEDS), parameters=_BOTH,
    ),
    Fault(
        "link_lossy", 69, "underlay", "the node's link loses most packets",
        "tc qdisc replace dev eth0 root netem loss 70%", lambda ground: _shaped(ground, "netem loss 70%"), SLOW,
        needs=(requirements.NETEM, requirements.WAY_IN, *_NEEDS), parameters=_BOTH,
    ),
    Fault(
        "link_delayed", 70, "underlay", "the node's link delays packets by a second",
        "tc qdisc replace dev eth0 root netem delay 1s", lambda ground: _shaped(ground, "netem delay 1s"), SLOW,
        needs=(requirements.NETEM, requirements.WAY_IN, *_NEEDS), parameters=_BOTH,
    ),
)  # fmt: skip
