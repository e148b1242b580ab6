"""Clusters of any size, and the batches of iproute2 commands that make the same objects."""

from __future__ import annotations

import json
import os
import sys
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from podwire.backend import BackendSettings
from podwire.intent.cluster import Cluster, CniSettings, Node
from podwire.intent.cluster_json import cluster_to_json
from podwire.intent.projection import desired
from podwire.model.objects import Link, Route, Vxlan
from podwire.model.state import State

PODS = int(IPv4Address("10.0.0.0"))
UNDERLAY = int(IPv4Address("172.16.0.1"))


def cluster(size: int, changed: int | None = None) -> Cluster:
    """``size`` nodes with a /24 each on one 172.16.0.0/12 segment. Node ``changed`` has another public IP."""
    nodes = []
    for number in range(size):
        address = IPv4Address(UNDERLAY + (number if number != changed else size))
        nodes.append(
            Node(
                name=f"node{number}",
                kind="ssh",
                interface="eth0",
                addresses=(IPv4Interface((address, 12)),),
                public_ips=(address,),
                pod_cidrs=(IPv4Network((PODS + (number << 8), 24)),),
            )
        )
    return Cluster(
        id="bench-00000000",
        cluster_cidrs=(IPv4Network("10.0.0.0/8"),),
        service_cidrs=(IPv4Network("192.168.0.0/16"),),
        node_prefix_lengths=(24,),
        backend=BackendSettings(),
        cni=CniSettings(),
        masquerade=True,
        nodes=tuple(nodes),
        pods=(),
    )


def write(directory: str, size: int) -> None:
    """Into ``directory``: intents (``same``, ``changed``), and the batches of the peers (``ip``, ``bridge``,
    ``plain``: one route a peer by its gateway, without next-hop objects)."""
    first = cluster(size)
    for name, each in (("same", first), ("changed", cluster(size, changed=size // 2))):
        with open(os.path.join(directory, name), "w") as file:
            json.dump(cluster_to_json(each), file)
    state = desired(first, "node0")
    gateways = {hop.id: hop for hop in state.next_hops}
    plain = replace_next_hops(state, {number: (hop.gateway, hop.device) for number, hop in gateways.items()})
    for name, lines in (("ip", ip_batch(state)), ("bridge", bridge_batch(state)), ("plain", ip_batch(plain))):
        with open(os.path.join(directory, name), "w") as file:
            file.write("\n".join(lines) + "\n")


def replace_next_hops(state: State, hops: dict[int, tuple[object, str]]) -> State:
    """The same routes by gateway and device."""
    routes = set()
    for route in state.routes:
        if route.next_hop is not None:
            gateway, device = hops[route.next_hop]
            route = route._replace(next_hop=None, gateway=gateway, device=device, onlink=True)
        routes.add(route)
    return state._replace(next_hops=frozenset(), routes=frozenset(routes))


def ip_batch(state: State) -> list[str]:
    """What ``ip -batch`` has to do for a state, in the order podwire does it."""
    lines = []
    for link in state.links:
        if link.kind == "vxlan":
            lines += _vxlan(link)
    for address in state.addresses:
        lines.append(f"address add {address.interface} dev {address.device}")
    for entry in sorted(state.neighbours):
        lines.append(f"neigh add {entry.address} lladdr {entry.mac} dev {entry.device} nud permanent")
    for hop in sorted(state.next_hops):
        lines.append(f"nexthop add {str(hop).partition(' ')[2]} proto {hop.protocol}")
    lines += [f"route add {str(route).partition(' ')[2]}" for route in sorted(state.routes, key=_destination)]
    return lines


def _destination(route: Route) -> int:
    return int(route.destination.network_address)


def _vxlan(link: Link) -> list[str]:
    v = link.settings
    assert isinstance(v, Vxlan)
    address = f"address {link.mac} mtu {link.mtu}"
    kind = f"type vxlan id {v.vni} dev {v.device} local {v.local} dstport {v.port} nolearning"
    return [f"link add {link.name} {address} {kind}", f"link set {link.name} up"]


def bridge_batch(state: State) -> list[str]:
    """What ``bridge -batch`` has to do for a state."""
    return [
        f"fdb add {entry.mac} dev {entry.device} dst {entry.destination} self permanent"
        for entry in sorted(state.fdb, key=lambda each: int(each.destination))
    ]


if __name__ == "__main__":
    write(sys.argv[1], int(sys.argv[2]))
