"""Sysctls of the node that decide what it forwards."""

from __future__ import annotations

from typing import List

from ...model.objects import PROTOCOL_BOOT, Route
from .. import requirements
from ..context import Ground
from ..fault import NODE, Edit, Fault, Patch
from .routing import ways
from .rules import chain, table
from .symptoms import FAR, NEAR


def _set(ground: Ground, key: str, value: str) -> Patch:
    right = ground.sysctl(key)
    return Patch(NODE, (right,), (right._replace(value=value),))


def _no_forwarding(ground: Ground) -> List[Edit]:
    """Writing ip_forward gives every device's own switch the same value (inet_forward_change); so does undoing it."""
    return [_set(ground, "net/ipv4/ip_forward", "0")]


def _not_from_bridge(ground: Ground) -> List[Edit]:
    return [_set(ground, f"net/ipv4/conf/{ground.cluster.cni.bridge}/forwarding", "0")]


def _strict(ground: Ground) -> List[Edit]:
    """Out by the underlay, back by VXLAN: what is right either way is wrong to a strict reverse path filter."""
    key = "net/ipv4/conf/{}/rp_filter"
    sysctls = [_set(ground, key.format(name), "1") for name in ("all", ground.vtep)]
    direct = Route(
        ground.block(ground.peer), ground.underlay(ground.peer), ground.node.interface, protocol=PROTOCOL_BOOT
    )
    return [*sysctls, Patch(NODE, ways(ground), (direct,))]


def _bridge_filter(ground: Ground) -> List[Edit]:
    bridge, block = ground.cluster.cni.bridge, ground.block(ground.node)
    rule = f"iifname {bridge} oifname {bridge} ip saddr {block} ip daddr {block} counter drop"
    return [
        _set(ground, "net/bridge/bridge-nf-call-iptables", "1"),
        table("ip", "hostfw", chain("forward", rule)),
    ]


_NEEDS = (requirements.IPV4, requirements.PEER, requirements.POD)
_BOTH = ("peer", "pod")
FAULTS = (
    Fault(
        "ip_forward_off", 53, "sysctl", "the node does not forward", "sysctl -w net.ipv4.ip_forward=0",
        _no_forwarding, FAR, needs=_NEEDS, parameters=_BOTH,
    ),
    Fault(
        "device_forwarding_off", 54, "sysctl", "the node does not forward what comes from its pods",
        "sysctl -w net.ipv4.conf.cni0.forwarding=0", _not_from_bridge, FAR, needs=(*_NEEDS, requirements.BRIDGE),
        parameters=_BOTH,
    ),
    Fault(
        "rp_filter_strict", 55, "sysctl", "a strict reverse path filter drops what comes back another way",
        "sysctl -w net.ipv4.conf.all.rp_filter=1; ip route replace 10.244.1.0/24 via 172.30.0.12", _strict, FAR,
        needs=(*_NEEDS, requirements.VXLAN, requirements.SAME_SEGMENT), parameters=_BOTH,
    ),
    Fault(
        "bridge_netfilter_drop", 56, "sysctl", "frames between pods of one node go through the node's firewall",
        "sysctl -w net.bridge.bridge-nf-call-iptables=1", _bridge_filter,
        NEAR,
        needs=(requirements.IPV4, requirements.BRIDGE, requirements.SIBLING, requirements.BRIDGE_NETFILTER,
               requirements.NFT),
        parameters=("pod",),
    ),
)  # fmt: skip
