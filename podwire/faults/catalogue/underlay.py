"""The network below: addresses, ARP and MTU between the nodes. Some of it is the switch's side of a lab."""

from __future__ import annotations

from ipaddress import ip_interface
from typing import List

from ...intent import underlay
from ...model.objects import Address, Link, MacAddress, Neighbour
from .. import requirements
from ..context import Context
from ..edit import Edit, Patch, SetResource
from ..fault import Fault
from ..kernel_resources import Qdisc
from ..places import NODE, UNDERLAY
from .routing import unused
from .rules import chain, table
from .symptoms import FAR, LARGE, SLOW

_BAD_MAC = MacAddress.parse("02:00:00:00:de:ad")
#: So much smaller than the pods' packets need.
_LESS = 100


def _blocked(context: Context) -> List[Edit]:
    rule = f"udp dport {context.cluster.backend.port} counter drop"
    return [table("inet", "hostfw", chain("input", rule))]


def _switch_port(context: Context) -> Link:
    pair = next(p for p in underlay.pairs(context.cluster) if (p.name, p.device) == (context.node.name, "eth0"))
    return context.link(pair.port, UNDERLAY)


def _small(context: Context) -> List[Edit]:
    port = _switch_port(context)
    return [Patch(UNDERLAY, (port,), (port._replace(mtu=(port.mtu or 1500) - _LESS),))]


def _no_icmp(context: Context) -> List[Edit]:
    """A smaller MTU on the way is honest as long as it is told; here it is not."""
    device = context.link(context.vtep)
    return [
        table("ip", "hardening", chain("output", "icmp type destination-unreachable counter drop")),
        Patch(NODE, (device,), (device._replace(mtu=(device.mtu or 1450) - _LESS),)),
    ]


def _ends(context: Context) -> List[Edit]:
    port = context.link(context.port(context.pod))
    return [Patch(NODE, (port,), (port._replace(mtu=(port.mtu or 1450) - _LESS),))]


def _duplicate(context: Context) -> List[Edit]:
    own = context.node.address(context.version)
    assert own is not None
    address = Address(context.node.interface, ip_interface(f"{context.underlay(context.peer)}/{own.network.prefixlen}"))
    return [Patch(NODE, new=(address,))]


def _wrong_arp(context: Context) -> List[Edit]:
    peer, device = context.underlay(context.peer), context.node.interface
    right = tuple(e for e in context.state().neighbours if (e.device, e.address) == (device, peer))
    return [Patch(NODE, right, (Neighbour(device, peer, _BAD_MAC),))]


def _nat(context: Context) -> List[Edit]:
    """Out by another address, and in by none: what a NAT does to a node whose peers send to its private address."""
    port, device = context.cluster.backend.port, context.node.interface
    out = chain("postrouting", f"oifname {device} udp dport {port} snat to {unused(context)}", kind="nat", priority=100)
    into = chain("prerouting", f"iifname {device} udp dport {port} drop", priority=-150)
    return [table("ip", "cpe", out, into)]


def _shaped(context: Context, words: str) -> List[Edit]:
    """Of a machine that is reached over SSH only what pods send: the way in shall be there to mend it."""
    device = context.vtep if context.node.kind == "ssh" else context.node.interface
    return [SetResource(NODE, Qdisc(device), words)]


_REQUIRED = (requirements.PEER, requirements.POD)
_BOTH = ("peer", "pod")
FAULTS = (
    Fault(
        "vxlan_port_blocked", 45, "underlay", "the node's firewall drops what peers send by VXLAN",
        "nft add rule inet hostfw input udp dport 8472 drop", _blocked, FAR,
        requires=(*_REQUIRED, requirements.VXLAN, requirements.NFT), parameters=_BOTH,
    ),
    Fault(
        "underlay_mtu_low", 46, "underlay", "the switch takes smaller packets than the nodes believe",
        "ip link set node-1.eth0 mtu 1400    # on the switch", _small, LARGE, requires=(requirements.LAB, *_REQUIRED),
        parameters=_BOTH,
    ),
    Fault(
        "pmtu_icmp_filtered", 47, "underlay", "the path MTU is smaller, and ICMP that reports it is filtered",
        "ip link set flannel.1 mtu 1350; nft add rule ip hardening output icmp type destination-unreachable drop",
        _no_icmp, LARGE,
        requires=(*_REQUIRED, requirements.VXLAN, requirements.IPV4, requirements.NFT), parameters=_BOTH,
    ),
    Fault(
        "veth_mtu_mismatch", 48, "underlay", "the two ends of a pod's veth pair have different MTUs",
        "ip link set veth0 mtu 1350", _ends, LARGE, requires=(*_REQUIRED, requirements.BRIDGE), parameters=_BOTH,
    ),
    Fault(
        "duplicate_node_ip", 49, "underlay", "the node has the peer's address, too",
        "ip addr add 172.30.0.12/16 dev eth0", _duplicate, FAR,
        requires=(*_REQUIRED, requirements.IPV4, requirements.VXLAN, requirements.SAME_SEGMENT),
        parameters=_BOTH,
    ),
    Fault(
        "underlay_neighbour_wrong", 50, "underlay", "the node sends to the peer at an unused MAC address",
        "ip neigh replace 172.30.0.12 lladdr 02:00:00:00:de:ad dev eth0 nud permanent", _wrong_arp, FAR,
        requires=(*_REQUIRED, requirements.SAME_SEGMENT), parameters=_BOTH,
    ),
    Fault(
        "node_behind_nat", 51, "underlay", "the node stands behind a NAT, and peers send to its private address",
        "nft add rule ip cpe postrouting udp dport 8472 snat to 172.30.255.254", _nat, FAR,
        requires=(*_REQUIRED, requirements.VXLAN, requirements.IPV4, requirements.NFT), parameters=_BOTH,
    ),
    Fault(
        "link_slow", 68, "underlay", "the node's link has a rate of 256 kbit/s",
        "tc qdisc replace dev eth0 root tbf rate 256kbit burst 10kb latency 20ms",
        lambda context: _shaped(context, "tbf rate 256kbit burst 10kb latency 20ms"), SLOW,
        requires=(requirements.TBF, requirements.WAY_IN, *_REQUIRED), parameters=_BOTH,
    ),
    Fault(
        "link_lossy", 69, "underlay", "the node's link loses most packets",
        "tc qdisc replace dev eth0 root netem loss 70%", lambda context: _shaped(context, "netem loss 70%"), SLOW,
        requires=(requirements.NETEM, requirements.WAY_IN, *_REQUIRED), parameters=_BOTH,
    ),
    Fault(
        "link_delayed", 70, "underlay", "the node's link delays packets by a second",
        "tc qdisc replace dev eth0 root netem delay 1s", lambda context: _shaped(context, "netem delay 1s"), SLOW,
        requires=(requirements.NETEM, requirements.WAY_IN, *_REQUIRED), parameters=_BOTH,
    ),
)  # fmt: skip
