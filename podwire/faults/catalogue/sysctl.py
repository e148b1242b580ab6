"""Sysctls of the node that decide what it forwards."""

from __future__ import annotations

from typing import List

from ...model.objects import PROTOCOL_BOOT, Route
from .. import requirements
from ..context import Context
from ..edit import Edit, Patch
from ..fault import Fault
from ..places import NODE
from .routing import ways
from .rules import chain, table
from .symptoms import FAR, NEAR


def _set(context: Context, key: str, value: str) -> Patch:
    right = context.sysctl(key)
    return Patch(NODE, (right,), (right._replace(value=value),))


def _no_forwarding(context: Context) -> List[Edit]:
    """Writing ip_forward gives every device's own switch the same value (inet_forward_change); so does undoing it."""
    return [_set(context, "net/ipv4/ip_forward", "0")]


def _not_from_bridge(context: Context) -> List[Edit]:
    return [_set(context, f"net/ipv4/conf/{context.cluster.cni.bridge}/forwarding", "0")]


def _strict(context: Context) -> List[Edit]:
    """Out by the underlay, back by VXLAN: what is right either way is wrong to a strict reverse path filter."""
    key = "net/ipv4/conf/{}/rp_filter"
    sysctls = [_set(context, key.format(name), "1") for name in ("all", context.vtep)]
    direct = Route(
        context.block(context.peer), context.underlay(context.peer), context.node.interface, protocol=PROTOCOL_BOOT
    )
    return [*sysctls, Patch(NODE, ways(context), (direct,))]


def _bridge_filter(context: Context) -> List[Edit]:
    bridge, block = context.cluster.cni.bridge, context.block(context.node)
    rule = f"iifname {bridge} oifname {bridge} ip saddr {block} ip daddr {block} counter drop"
    return [
        _set(context, "net/bridge/bridge-nf-call-iptables", "1"),
        table("ip", "hostfw", chain("forward", rule)),
    ]


_REQUIRED = (requirements.IPV4, requirements.PEER, requirements.POD)
_BOTH = ("peer", "pod")
FAULTS = (
    Fault(
        "ip_forward_off", 53, "sysctl", "the node does not forward", "sysctl -w net.ipv4.ip_forward=0",
        _no_forwarding, FAR, requires=_REQUIRED, parameters=_BOTH,
    ),
    Fault(
        "device_forwarding_off", 54, "sysctl", "the node does not forward what comes from its pods",
        "sysctl -w net.ipv4.conf.cni0.forwarding=0", _not_from_bridge, FAR, requires=(*_REQUIRED, requirements.BRIDGE),
        parameters=_BOTH,
    ),
    Fault(
        "rp_filter_strict", 55, "sysctl", "strict reverse path filtering drops packets that arrive by another route",
        "sysctl -w net.ipv4.conf.all.rp_filter=1; ip route replace 10.244.1.0/24 via 172.30.0.12", _strict, FAR,
        requires=(*_REQUIRED, requirements.VXLAN, requirements.SAME_SEGMENT), parameters=_BOTH,
    ),
    Fault(
        "bridge_netfilter_drop", 56, "sysctl", "frames between pods of one node go through the node's firewall",
        "sysctl -w net.bridge.bridge-nf-call-iptables=1", _bridge_filter,
        NEAR,
        requires=(requirements.IPV4, requirements.BRIDGE, requirements.SIBLING, requirements.BRIDGE_NETFILTER,
               requirements.NFT),
        parameters=("pod",),
    ),
)  # fmt: skip
