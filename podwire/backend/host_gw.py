"""host-gw: the peer itself is the gateway to its block.

    route 10.244.1.0/24 via 172.30.0.12 dev eth0

No encapsulation, so all nodes share a segment.
"""

from __future__ import annotations

from typing import Iterable

from ..errors import IntentError
from ..intent.cluster import Cluster, Node, adjacent
from ..model.state import State
from .common import peers, routes


def desired(cluster: Cluster, node: Node) -> State:
    """Routes to all peers; IntentError for one that is behind a router or NAT."""
    state = State()
    for version in cluster.versions:
        others = peers(cluster, node)
        for peer in others:
            if not adjacent(node, peer, version):
                ends = f"{node.name} ({node.address(version)}) to {peer.name} ({peer.address(version)}"
                public = f", public IP {peer.public_ip(version)})"
                cause = "a router or NAT stands between; use vxlan, with direct_routing if some peers are adjacent"
                raise IntentError([f"failed to route from {ends}{public}: {cause}"])
        state |= direct(node, others, version)
    return state


def direct(node: Node, others: Iterable[Node], version: int) -> State:
    """Routes to the blocks of adjacent peers."""
    ways = []
    for peer in others:
        block, gateway = peer.pod_cidr(version), peer.public_ip(version)
        if block is not None and gateway is not None:
            ways.append((block, gateway))
    return routes(ways, node.interface)
