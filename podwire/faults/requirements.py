"""What a fault needs of the declared network, of the lab, and of the running kernel, which is asked and not assumed."""

from __future__ import annotations

import contextlib
import os
import shutil
from functools import cache
from typing import Callable, NamedTuple

from ..errors import FaultError
from ..intent.cluster import adjacent
from ..kernel.commands import qdisc_missing
from ..kernel.sysctls import sysctl_exists
from .context import Context
from .places import MACHINE, UNDERLAY


class Requirement(NamedTuple):
    """``lacking(context)`` says what is not there, or nothing."""

    name: str
    lacking: Callable[[Context], str]


def unmet(requirements: tuple[Requirement, ...], context: Context) -> str:
    """What the first unmet requirement lacks; "" if all are met."""
    for requirement in requirements:
        try:
            lacking = requirement.lacking(context)
        except FaultError as error:
            lacking = error.message
        if lacking:
            return lacking
    return ""


def _declared(name: str, holds: Callable[[Context], bool], lacking: str) -> Requirement:
    def look(context: Context) -> str:
        try:
            return "" if holds(context) else lacking
        except FaultError:  # nothing to choose from
            return lacking

    return Requirement(name, look)


def _tool(name: str, package: str) -> Requirement:
    return Requirement(name, lambda _: "" if shutil.which(name) else f"{name} is not installed on the node ({package})")


@cache
def _qdisc(kind: str, words: str) -> str:
    """Why the kernel refuses a queueing discipline; asked once."""
    return qdisc_missing(kind, words)


def _ipv4(context: Context) -> bool:
    return context.version == 4


BRIDGE = _declared(
    "bridge", lambda g: g.link(g.cluster.cni.bridge).kind == "bridge", "pods are not on a bridge (cni.type)"
)
VXLAN = _declared(
    "vxlan",
    lambda g: _tunnelled(g),
    "the peer is not reached by VXLAN (backend.type)",
)
HOST_GW = _declared(
    "host-gw",
    lambda g: g.cluster.backend_driver.needs_adjacency,
    "nodes are not routed to directly (backend.type is not host-gw)",
)
IPV4 = _declared("ipv4", _ipv4, "pods have no IPv4")
PEER = _declared("peer", lambda g: bool(g.far_pod), "no other node has a pod")
THIRD = _declared("third", lambda g: bool(g.third), "there is no third node")
POD = _declared("pod", lambda g: bool(g.pod), "the node has no pod")
SIBLING = _declared("sibling", lambda g: bool(g.sibling), "the node has only one pod")
SAME_SEGMENT = Requirement(
    "segment",
    lambda g: "" if adjacent(g.node, g.peer, g.version) else f"{g.node.name} and {g.peer.name} are not on one segment",
)
HOST_NETWORK_POD = _declared("hostNetwork", lambda g: bool(g.host_pod), "the node has no hostNetwork pod")
LAB = Requirement(
    "lab",
    lambda g: "" if UNDERLAY in g.namespaces.opened() else "the underlay is not podwire's own (node_kind is not netns)",
)
PLUGINS = _declared("plugins", lambda g: any(map(os.path.isdir, g.plugin_dirs)), "no directory has CNI plugins")
#: Addresses of the largest block that can be filled, a file each.
FULL = 4096
SMALL_BLOCK = _declared(
    "block", lambda g: g.block(g.node).num_addresses <= FULL, f"the block has more than {FULL} addresses"
)
IP = _tool("ip", "iproute2")
BRIDGE_TOOL = _tool("bridge", "iproute2")
NFT = _tool("nft", "nftables")
NIC = Requirement(
    "nic",
    lambda g: (
        "it takes a real NIC: veth devices pass every packet on as verified"
        if g.link(g.node.interface).kind == "veth"
        else ""
    ),
)
TBF = Requirement("tbf", lambda _: _qdisc("tbf", "tbf rate 1mbit burst 10kb latency 10ms"))
WAY_IN = _declared(
    "way in",
    lambda g: g.node.kind != "ssh" or bool(g.vtep),
    "without VXLAN it would be the node's own interface, which is also the way to it",
)
NETEM = Requirement("netem", lambda _: _qdisc("netem", "netem delay 1ms"))
BRIDGE_NETFILTER = Requirement(
    "br_netfilter",
    lambda _: (
        ""
        if sysctl_exists("net/bridge/bridge-nf-call-iptables")
        else "this kernel lacks br_netfilter, or has not loaded it"
    ),
)
FIRST_NAMESPACE = Requirement("machine", lambda g: _first_namespace(g))
CONNTRACK = Requirement(
    "conntrack",
    lambda _: "" if sysctl_exists("net/netfilter/nf_conntrack_count") else "nf_conntrack is not loaded",
)


def impossible(why: str) -> Requirement:
    """Of a fault that no lab can carry."""
    return Requirement("hardware", lambda _: why)


def _tunnelled(context: Context) -> bool:
    """Whether the peer's pod CIDR is reached through the VXLAN device."""
    state, block = context.state(), context.block(context.peer)
    if all(link.name != context.vtep or link.kind != "vxlan" for link in state.links):
        return False
    hops = {hop.id for hop in state.next_hops if hop.device == context.vtep}
    return any(
        route.destination == block and (route.device == context.vtep or route.next_hop in hops)
        for route in state.routes
    )


def _first_namespace(context: Context) -> str:
    """The thresholds of the neighbour table are sysctls of the machine's first network namespace alone."""
    with contextlib.suppress(FaultError):
        if sysctl_exists("net/ipv4/neigh/default/gc_thresh3", context.namespaces[MACHINE]):
            return ""
    return "the machine's first network namespace cannot be reached from here"
