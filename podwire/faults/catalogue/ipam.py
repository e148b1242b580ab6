"""Addresses: leases on disk, and addresses that are not where the lease says."""

from __future__ import annotations

import os
from ipaddress import IPv4Interface, ip_interface
from typing import List

from ...intent.projection import SUBNET_ENV
from ...model.objects import Address, IPAddress
from ...sandbox import sandboxes
from .. import requirements
from ..context import Context
from ..edit import Edit, Flush, Patch, SetResource
from ..fault import Fault
from ..files import FileText
from ..places import NODE
from ..symptom import Symptom
from .symptoms import FAR

_LEASE_MODE = 0o600


def _lease(context: Context, ip: IPAddress, content: str) -> SetResource:
    return SetResource(NODE, FileText(os.path.join(context.leases, str(ip))), {"text": content, "mode": _LEASE_MODE})


def _exhausted(context: Context) -> List[Edit]:
    """Every address is held by somebody who lives: the pods' own sandboxes, by further interfaces."""
    owners = [each.container_id for each in sandboxes.running().values() if not each.host_network]
    return [
        _lease(context, ip, f"{owners[number % len(owners)]}\r\nnet{number}")
        for number, ip in enumerate(context.free(requirements.FULL))
    ]


def _leak(context: Context) -> List[Edit]:
    return [_lease(context, context.free()[0], f"{'dead' * 16}\r\neth0")]


def _empty(context: Context) -> List[Edit]:
    return [_lease(context, context.free()[0], "")]


def _eth0(context: Context, place: str) -> Address:
    return next(
        address
        for address in sorted(context.state(place).addresses, key=str)
        if address.device == "eth0" and address.interface.version == context.version
    )


def _duplicate(context: Context) -> List[Edit]:
    """The sibling takes the pod's address, and says so: the last to speak is who neighbours believe."""
    victim, thief = context.place(context.pod), context.place(context.sibling)
    context.state(victim)
    mac = context.link("eth0", thief).mac
    change = ("ip", "link", "set", "dev", "eth0", "address", str(mac))
    notify = context.sysctl("net/ipv4/conf/eth0/arp_notify", thief)
    taken = _eth0(context, victim)._replace(device="eth0")
    return [Patch(thief, new=(taken, notify._replace(value="1"))), Flush(thief, change)]


def _foreign(context: Context) -> List[Edit]:
    place = context.place(context.pod)
    address = _eth0(context, place)
    foreign = Address("eth0", IPv4Interface("192.168.77.7/24"))
    lost = tuple(route for route in context.state(place).routes if route.source == address.interface.ip)
    return [Patch(place, (address,), (foreign,), lost)]


def _bridge_address(context: Context) -> Address:
    bridge, block = context.cluster.cni.bridge, context.block(context.node)
    return next(
        address
        for address in context.state().addresses
        if address.device == bridge and address.interface.ip == block[1]
    )


def _stale(context: Context) -> List[Edit]:
    """The bridge still has the address of a lease from before."""
    address = _bridge_address(context)
    old = ip_interface(f"10.99.1.1/{address.interface.network.prefixlen}")
    return [Patch(NODE, (address,), (address._replace(interface=old),))]


def _duplicate_cidr(context: Context) -> List[Edit]:
    """The node believes that the peer's block is its own, too."""
    mine, theirs = context.block(context.node), context.block(context.peer)
    claimed = _bridge_address(context)._replace(interface=ip_interface(f"{theirs[1]}/{theirs.prefixlen}"))
    gone = tuple(route for route in context.state().routes if route.destination == theirs)
    with open(SUBNET_ENV, encoding="utf-8") as file:
        lease = file.read().replace(str(mine[1]), str(theirs[1]))
    return [Patch(NODE, gone, (claimed,)), SetResource(NODE, FileText(SUBNET_ENV), {"text": lease, "mode": 0o644})]


_HOST_LOCAL = (requirements.BRIDGE, requirements.POD)
FAULTS = (
    Fault(
        "ipam_exhausted", 8, "ipam", "every address of the pod CIDR is allocated to running containers",
        "touch /var/lib/cni/networks/podwire/10.244.0.{2..254}", _exhausted,
        Symptom("add", "node", "gateway", frozenset({"failed"})),
        requires=(*_HOST_LOCAL, requirements.PLUGINS, requirements.SMALL_BLOCK),
    ),
    Fault(
        "ipam_leak", 9, "ipam", "an address is held for a container that is gone",
        "printf 'dead\\r\\neth0' >/var/lib/cni/networks/podwire/10.244.0.254", _leak,
        quiet="an address is lost; nothing fails until the pod CIDR is full", requires=_HOST_LOCAL,
    ),
    Fault(
        "ipam_empty_lease", 10, "ipam", "a lease file without an owner, as a killed host-local leaves it",
        "touch /var/lib/cni/networks/podwire/10.244.0.254", _empty,
        quiet="an address is lost to host-local; nothing fails until the pod CIDR is full", requires=_HOST_LOCAL,
    ),
    Fault(
        "duplicate_ip", 11, "ipam", "a second pod has the address of the first, and answers in its place",
        "ip netns exec pod-d ip addr add 10.244.0.2/24 dev eth0", _duplicate,
        Symptom("fetch", "node", "pod", frozenset({"wrong pod"})),
        requires=(requirements.BRIDGE, requirements.IPV4, requirements.SIBLING, requirements.IP), parameters=("pod",),
    ),
    Fault(
        "foreign_range", 12, "ipam", "a pod's address is outside all pod CIDRs: replies to it are not routed",
        "ip netns exec pod-a ip addr replace 192.168.77.7/24 dev eth0", _foreign,
        FAR, requires=(requirements.IPV4, requirements.BRIDGE, requirements.PEER),
        parameters=("pod", "peer"),
    ),
    Fault(
        "bridge_address_stale", 13, "ipam", "the bridge has the address of an earlier lease",
        "ip addr del 10.244.0.1/24 dev cni0; ip addr add 10.99.1.1/24 dev cni0", _stale,
        FAR, requires=(requirements.IPV4, requirements.BRIDGE, requirements.PEER),
        parameters=("pod", "peer"),
    ),
    Fault(
        "duplicate_pod_cidr", 14, "ipam", "two nodes have one pod CIDR: the node keeps packets for the peer",
        "ip route del 10.244.1.0/24; ip addr add 10.244.1.1/24 dev cni0", _duplicate_cidr,
        FAR, requires=(requirements.IPV4, requirements.BRIDGE, requirements.PEER),
        parameters=("pod", "peer"),
    ),
)  # fmt: skip
