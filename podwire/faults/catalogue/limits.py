"""Limits of the machine, and what outlives its pod."""

from __future__ import annotations

from ipaddress import ip_interface
from typing import List

from ...kernel.show import read_sysctl
from ...model.objects import Address, Link, Sysctl, VethPeer
from .. import requirements
from ..context import Context
from ..edit import Edit, Flush, Patch, SetResource
from ..fault import Fault
from ..places import MACHINE, NODE, PROCESS
from ..processes import StrayProcess
from ..symptom import Symptom

_GC = "net/ipv4/neigh/default/gc_thresh{}"
_COUNT, _MOST = "net/netfilter/nf_conntrack_count", "net/netfilter/nf_conntrack_max"


def _few_neighbours(context: Context) -> List[Edit]:
    right = tuple(context.sysctl(_GC.format(number), MACHINE) for number in (3, 2, 1))
    return [Patch(MACHINE, right, tuple(Sysctl(each.key, "1") for each in right))]


def _few_connections(context: Context) -> List[Edit]:
    right = context.sysctl(_MOST, MACHINE)
    count = int(context.namespaces[MACHINE].call(read_sysctl, _COUNT))
    return [Patch(MACHINE, (right,), (right._replace(value=str(max(count, 1))),))]


def _orphan(context: Context) -> List[Edit]:
    """A sandbox whose name was deleted while a process still lives in it: its address answers, and nobody knows why."""
    process = StrayProcess("orphan", context.token)
    place, port, block = f"{PROCESS}:{context.token}", f"veth{context.token}", context.block(context.node)
    ip = context.free()[0]
    pair = Link(port, "veth", master=context.cluster.cni.bridge, peer=VethPeer(place, "eth0"))
    inside = (Link("eth0", "veth"), Address("eth0", ip_interface(f"{ip}/{block.prefixlen}")))
    forget = ("ip", "neigh", "flush", "dev", context.cluster.cni.bridge, "to", str(ip))
    return [SetResource(NODE, process, True), Patch(NODE, new=(pair,)), Patch(place, new=inside), Flush(NODE, forget)]


_ANSWERS = Symptom("echo", "node", "free", frozenset({"ok"}), before=frozenset({"lost", "unreachable"}))
FAULTS = (
    Fault(
        "neighbour_table_full", 65, "limits", "the machine's neighbour table is full: new neighbours are not learnt",
        "sysctl -w net.ipv4.neigh.default.gc_thresh3=1", _few_neighbours,
        quiet="it shows when somebody new has to be learnt, anywhere on the machine",
        requires=(requirements.IPV4, requirements.FIRST_NAMESPACE),
        host_wide=True,
    ),
    Fault(
        "conntrack_full", 66, "limits", "the machine's connection table is full: new connections are dropped",
        "sysctl -w net.netfilter.nf_conntrack_max=1", _few_connections,
        quiet="it shows where connections are tracked, anywhere on the machine",
        requires=(requirements.CONNTRACK, requirements.FIRST_NAMESPACE),
        host_wide=True,
    ),
    Fault(
        "orphan_namespace", 67, "limits", "a network namespace outlived its name: its address still answers",
        "ip netns del pod-a    # while a process lives in it", _orphan, _ANSWERS,
        requires=(requirements.BRIDGE, requirements.IPV4, requirements.POD, requirements.IP),
    ),
)  # fmt: skip
