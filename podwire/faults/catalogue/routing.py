"""The node's routes and rules."""

from __future__ import annotations

from ipaddress import ip_network
from typing import List, Tuple

from ...model.objects import PROTOCOL_BOOT, IPAddress, IPNetwork, Route
from .. import requirements
from ..context import Context
from ..edit import Edit, Patch, SetResource
from ..fault import Fault
from ..kernel_resources import PolicyRule
from ..places import NODE
from .symptoms import FAR

_PREFERENCE = 100


def ways(context: Context) -> Tuple[Route, ...]:
    """The node's routes to the peer's block."""
    block = context.block(context.peer)
    return tuple(route for route in context.state().routes if route.destination == block)


def around(address: IPAddress, longer: int, block: IPNetwork) -> IPNetwork:
    """The part of a block around an address, with a prefix so many bits longer."""
    return ip_network(f"{address}/{block.prefixlen + longer}", strict=False)


def unused(context: Context) -> IPAddress:
    """An address of the underlay that nobody has."""
    own = context.node.address(context.version)
    assert own is not None
    taken = {address.ip for node in context.cluster.nodes for address in node.addresses}
    return next(own.network[-number] for number in range(2, 100) if own.network[-number] not in taken)


def _missing(context: Context) -> List[Edit]:
    return [Patch(NODE, ways(context))]


def _blackhole(context: Context) -> List[Edit]:
    hole = Route(context.block(context.peer), protocol=PROTOCOL_BOOT, kind="blackhole")
    return [Patch(NODE, ways(context), (hole,))]


def _rule(context: Context) -> List[Edit]:
    return [SetResource(NODE, PolicyRule(_PREFERENCE, f"from {context.ip(context.pod)} unreachable"), True)]


def _overlap(context: Context) -> List[Edit]:
    part = around(context.ip(context.far_pod), 1, context.block(context.peer))
    return [Patch(NODE, new=(Route(part, device=context.cluster.cni.bridge, protocol=PROTOCOL_BOOT, scope="link"),))]


def _dead(context: Context) -> List[Edit]:
    way = Route(context.block(context.peer), unused(context), context.node.interface, protocol=PROTOCOL_BOOT)
    return [Patch(NODE, ways(context), (way,))]


def _not_adjacent(context: Context) -> List[Edit]:
    """The kernel refuses such a gateway (fib_check_nh_v4_gw); onlink makes it believe."""
    gateway = ip_network("198.51.100.0/24")[1]
    way = Route(context.block(context.peer), gateway, context.node.interface, onlink=True, protocol=PROTOCOL_BOOT)
    return [Patch(NODE, ways(context), (way,))]


_REQUIRED = (requirements.PEER, requirements.POD)
_BOTH = ("peer", "pod")
FAULTS = (
    Fault(
        "route_missing", 28, "routing", "the node has no route to the peer's pod CIDR",
        "ip route del 10.244.1.0/24", _missing, FAR, requires=_REQUIRED, parameters=_BOTH,
    ),
    Fault(
        "route_blackhole", 29, "routing", "the route to the peer's pod CIDR drops packets silently",
        "ip route replace blackhole 10.244.1.0/24", _blackhole, FAR, requires=_REQUIRED, parameters=_BOTH,
    ),
    Fault(
        "policy_rule", 30, "routing", "a rule sends a pod's packets to a table without a route",
        "ip rule add from 10.244.0.2 unreachable pref 100", _rule, FAR,
        requires=(*_REQUIRED, requirements.IP, requirements.IPV4), parameters=_BOTH,
    ),
    Fault(
        "route_overlapped", 31, "routing", "a more specific route captures part of the peer's pod CIDR",
        "ip route add 10.244.1.0/25 dev cni0", _overlap, FAR,
        requires=(*_REQUIRED, requirements.BRIDGE, requirements.IPV4),
        parameters=_BOTH,
    ),
    Fault(
        "next_hop_dead", 32, "routing", "the next hop of the route to the peer's pod CIDR does not exist",
        "ip route replace 10.244.1.0/24 via 172.30.255.254", _dead, FAR, requires=(*_REQUIRED, requirements.IPV4),
        parameters=_BOTH,
    ),
    Fault(
        "next_hop_not_adjacent", 52, "underlay", "host-gw's next hop is not on the node's segment",
        "ip route replace 10.244.1.0/24 via 198.51.100.1 dev eth0 onlink", _not_adjacent, FAR,
        requires=(requirements.HOST_GW, *_REQUIRED, requirements.IPV4), parameters=_BOTH,
    ),
)  # fmt: skip
