"""Docker networks for the segments of an underlay: what is wanted, and whether there is room for it. Pure, but for
the machine's own routes."""

from __future__ import annotations

import hashlib
from typing import Collection, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from ..errors import LabError
from ..intent.cluster import Cluster, Segment
from ..intent.inventory.addressing import FIRST_NODE
from ..kernel import Namespace, routes
from ..model.objects import IPAddress, IPNetwork


class Network(NamedTuple):
    """A segment as a Docker network. Docker wants an address of each CIDR for its bridge: ``gateways``."""

    name: str
    segment: str
    cidrs: Tuple[IPNetwork, ...]
    gateways: Tuple[IPAddress, ...]
    mtu: int

    @property
    def digest(self) -> str:
        """Changes with anything that a network cannot change while it lives."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


def network_name(cluster_id: str, segment: str) -> str:
    """The Docker network of a segment."""
    return f"{cluster_id}-{segment}"


def container_name(cluster_id: str, node: str) -> str:
    """The container of a node."""
    return f"{cluster_id}-{node}"


def wanted_networks(cluster: Cluster) -> List[Network]:
    """One for each segment that a docker node has a port on."""
    ports = [port for node in cluster.nodes if node.kind == "docker" for port in node.ports]
    networks = []
    for segment in cluster.underlay.segments:
        ports_here = [port for port in ports if port.segment == segment.name]
        if ports_here:
            used = {address.ip for port in ports_here for address in port.addresses}
            gateways = tuple(_gateway(segment, cidr, used) for cidr in segment.cidrs)
            name = network_name(cluster.id, segment.name)
            networks.append(Network(name, segment.name, segment.cidrs, gateways, segment.mtu))
    return networks


def refuse_collisions(
    wanted: Sequence[Network], foreign: Mapping[str, Sequence[IPNetwork]], bridges: Collection[str]
) -> None:
    """LabError if a segment's CIDR is in use: by one of Docker's ``foreign`` networks, or by a route of this machine
    that leads elsewhere than to the lab's own ``bridges``.

    Docker itself would refuse the first with words that name neither; the second it would shadow.
    """
    for network in wanted:
        for cidr in network.cidrs:
            user = _user(cidr, foreign, bridges)
            if user is not None:
                raise LabError(
                    f"failed to make a Docker network for segment {network.segment}: {cidr} overlaps {user}",
                    f"set underlay.segments.{network.segment}.cidrs to a range that this machine does not use",
                )


def _user(cidr: IPNetwork, foreign: Mapping[str, Sequence[IPNetwork]], bridges: Collection[str]) -> Optional[str]:
    for name, subnets in foreign.items():
        for subnet in subnets:
            if subnet.version == cidr.version and subnet.overlaps(cidr):
                return f"{subnet} of the Docker network {name}"
    with Namespace.current("this machine") as machine:
        others = [route for route in routes(machine) if route.destination.prefixlen and route.device not in bridges]
        for destination, device in ((route.destination, route.device) for route in others):
            if destination.version == cidr.version and destination.overlaps(cidr):
                return f"this machine's route to {destination} dev {device}"
    return None


def _gateway(segment: Segment, cidr: IPNetwork, used: Set[IPAddress]) -> IPAddress:
    """An address that no node has, and that the next node will not be given: nodes begin at FIRST_NODE, or, where
    there is no such number, at 1."""
    last = cidr.num_addresses - (2 if cidr.version == 4 else 1)
    small = last < FIRST_NODE[cidr.version]
    for number in range(last, 0, -1) if small else range(1, min(last, len(used) + 1) + 1):
        if cidr[number] not in used:
            return cidr[number]
    raise LabError(
        f"failed to make a Docker network for segment {segment.name}: {cidr} has no address left for its bridge",
        f"set underlay.segments.{segment.name}.cidrs to a shorter prefix",
    )
