"""host-gw: the peer itself is the gateway to its pod CIDR.

    route 10.244.1.0/24 via 172.30.0.12 dev eth0

No encapsulation, so all nodes share a segment.
"""

from __future__ import annotations

from typing import Sequence

from ..errors import IntentError
from ..model.state import State
from .descriptor import Backend
from .endpoint import Endpoint
from .routes import direct_routes


class HostGwBackend(Backend):
    """Plain routes between adjacent nodes."""

    type = "host-gw"
    title = "host-gw"
    needs_adjacency = True

    def desired(self, node: Endpoint, peers: Sequence[Endpoint], mtu: int) -> State:
        """Routes to all peers; IntentError for one that is behind a router or NAT."""
        for peer in peers:
            if not node.is_adjacent(peer):
                ends = f"{node.name} ({node.address}) to {peer.name} ({peer.address}, public IP {peer.public_ip})"
                cause = "a router or NAT stands between; use vxlan, with direct_routing if some peers are adjacent"
                raise IntentError([f"failed to route from {ends}: {cause}"])
        return direct_routes(node, peers)
