"""Routes to the pod CIDRs of peers."""

from __future__ import annotations

from typing import Iterable, Sequence, Tuple

from ..model.objects import IPAddress, IPNetwork, NextHop, Route
from ..model.state import State
from .endpoint import Endpoint

#: Peers on one device above which IPv4 routes share next-hop objects. Inserting n routes with n gateways costs
#: n * n, because the kernel's fib_info hash leaves the gateway out: 5,000 take about a second, so 512 about
#: 10 ms. Up to here plain routes are as fast, and easier to read. IPv6 has no such hash and stays linear.
MANY_GATEWAYS = 512
#: A peer's pod CIDR, and the gateway to it.
Path = Tuple[IPNetwork, IPAddress]


def routes(paths: Sequence[Path], device: str, *, onlink: bool = False) -> State:
    """Routes through one device, with next-hop objects where they are many.

    A next hop's id is its IPv4 gateway as a number: unique without any bookkeeping.
    """
    if len(paths) <= MANY_GATEWAYS or paths[0][0].version == 6:
        return State(routes=frozenset([Route(cidr, gateway, device, onlink) for cidr, gateway in paths]))
    return State(
        next_hops=frozenset([NextHop(int(gateway), gateway, device, onlink) for _, gateway in paths]),
        routes=frozenset([Route(cidr, next_hop=int(gateway)) for cidr, gateway in paths]),
    )


def direct_routes(node: Endpoint, peers: Iterable[Endpoint]) -> State:
    """Routes to adjacent peers: the peer itself is the gateway."""
    return routes([(peer.pod_cidr, peer.public_ip) for peer in peers], node.interface)
