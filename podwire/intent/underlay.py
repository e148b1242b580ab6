"""A lab's underlay as States: one switch namespace, a namespace a router, and the nodes' ports. Pure.

The switch holds a bridge a segment. Every port of a node or router is a veth pair: its inner end is
the port's device, its outer end a port of the segment's bridge. So the host's firewall and sysctls
never see a frame of the lab.
"""

from __future__ import annotations

import hashlib
from ipaddress import IPv4Network, IPv6Network
from typing import AbstractSet, Dict, Iterator, List, Mapping, NamedTuple, Optional, Set, Tuple

from ..model.objects import Address, IPAddress, IPNetwork, Link, MacAddress, Neighbour, Route, Sysctl, VethPeer
from ..model.state import EMPTY, Scope, State
from .cluster import Cluster, Port, Router

#: Names of the underlay's namespaces hold a space, which no node's can.
SWITCH = "underlay switch"
#: IFLA_IFALIAS of all devices made here: what an earlier intent left is known by it.
ALIAS = "podwire underlay"
#: rtm_protocol of the underlay's routes, apart from the backend's own (model.ROUTE_PROTOCOL).
PROTOCOL = 113

#: The kernel counts learnt neighbours over all namespaces of the machine, and above gc_thresh2 (512 by
#: default, net/core/neighbour.c) it evicts them: fifty nodes on a segment would learn 2,450. Permanent ones
#: are not counted, so a lab that would fill half of that is given its neighbours.
_LEARNT = 256
_LONGEST_NAME = 15  # IFNAMSIZ less the final zero
_DEFAULT: Dict[int, IPNetwork] = {4: IPv4Network("0.0.0.0/0"), 6: IPv6Network("::/0")}
#: As systemd has it on every machine: an address can go without others of its subnet going along.
_INNER = frozenset({Sysctl("net/ipv4/conf/all/promote_secondaries", "1")})
_FORWARDING = frozenset({Sysctl("net/ipv4/ip_forward", "1"), Sysctl("net/ipv6/conf/all/forwarding", "1")})
#: A switch that hands frames to iptables or fragments them would lie to every probe (br_netfilter).
_TRANSPARENT = frozenset(
    Sysctl(f"net/bridge/bridge-nf-call-{each}", "0") for each in ("iptables", "ip6tables", "arptables")
)


class Pair(NamedTuple):
    """A veth pair: ``port`` of the switch, and ``device`` of the namespace ``name``."""

    port: str
    name: str
    device: str


def is_infrastructure(name: str) -> bool:
    """Whether a namespace belongs to the underlay, and is no node's."""
    return " " in name


def router_namespace(router: str) -> str:
    """The name of a router's namespace."""
    return f"underlay router {router}"


def pairs(cluster: Cluster) -> List[Pair]:
    """Every veth pair of the underlay."""
    return [Pair(_port_name(name, port), name, port.device) for name, port in _all_ports(cluster)]


def desired(cluster: Cluster) -> Dict[str, State]:
    """Namespace name to State: the switch, every router, every netns node. Empty without such nodes."""
    nodes = [node for node in cluster.nodes if node.kind == "netns"]
    if not nodes:
        return {}
    mtus = {segment.name: segment.mtu for segment in cluster.underlay.segments}
    states = {SWITCH: _switch(cluster, mtus)}
    for router in cluster.underlay.routers:
        name = router_namespace(router.name)
        inner = _inner(cluster, name, router.ports, mtus)
        states[name] = inner._replace(sysctls=inner.sysctls | _FORWARDING, routes=frozenset(_transit(cluster, router)))
    for node in nodes:
        # The first port is the external interface, whose MTU may be declared for the node alone.
        first = {node.ports[0].segment: node.mtu} if node.ports else {}
        inner = _inner(cluster, node.name, node.ports, {**mtus, **first})
        states[node.name] = inner._replace(routes=frozenset(_default_routes(cluster, node.ports)))
    for name, neighbours in _neighbours(cluster).items():
        states[name] = states[name]._replace(neighbours=frozenset(neighbours))
    return states


def inside(cluster: Cluster) -> Dict[str, State]:
    """Node name to State of the docker nodes, whose ports Docker has made with addresses but not with these MACs."""
    mtus = {segment.name: segment.mtu for segment in cluster.underlay.segments}
    neighbours = _neighbours(cluster)
    states = {}
    for node in cluster.nodes:
        if node.kind == "docker":
            state = _inner(cluster, node.name, node.ports, mtus)
            links = frozenset(link._replace(alias=None) for link in state.links)
            states[node.name] = state._replace(links=links, neighbours=frozenset(neighbours.get(node.name, ())))
    return states


def _neighbours(cluster: Cluster) -> Dict[str, List[Neighbour]]:
    """By namespace, every neighbour on its segments; nothing if a lab is small enough to learn them."""
    members: Dict[str, List[Tuple[str, Port, MacAddress]]] = {}
    for name, port in _all_ports(cluster):
        members.setdefault(port.segment, []).append((name, port, _mac(cluster.id, name, port.device)))
    if sum(len(member) * (len(member) - 1) for member in members.values()) <= _LEARNT:
        return {}
    by_namespace: Dict[str, List[Neighbour]] = {}
    for member in members.values():
        known = [(name, address.ip, mac) for name, port, mac in member for address in port.addresses]
        for name, port, _ in member:
            entries = by_namespace.setdefault(name, [])
            entries += [Neighbour(port.device, ip, mac) for other, ip, mac in known if other != name]
    return by_namespace


def limited(cluster: Cluster, states: Mapping[str, State], nodes: AbstractSet[str]) -> Dict[str, State]:
    """The part of ``desired`` that a run on some nodes has to do with."""
    kept = {name: state for name, state in states.items() if is_infrastructure(name) or name in nodes}
    if SWITCH in kept:
        ports = {pair.port for pair in pairs(cluster) if pair.name not in kept}
        links = frozenset(link for link in kept[SWITCH].links if link.name not in ports)
        kept[SWITCH] = kept[SWITCH]._replace(links=links)
    return kept


def scope(state: State, *, whole: bool = True) -> Scope:
    """What of a namespace is the underlay's; without ``whole`` only what the State itself names."""
    return Scope(
        links=frozenset(link.name for link in state.links),
        alias=ALIAS if whole else None,
        protocol=PROTOCOL,
        prefixes=frozenset(route.destination for route in state.routes),
        sysctls=frozenset(sysctl.key for sysctl in state.sysctls),
        routes=False,
    )


def _all_ports(cluster: Cluster) -> Iterator[Tuple[str, Port]]:
    for router in cluster.underlay.routers:
        for port in router.ports:
            yield router_namespace(router.name), port
    for node in cluster.nodes:
        for port in node.ports:
            yield node.name, port


def _switch(cluster: Cluster, mtus: Dict[str, int]) -> State:
    links = {Link(_bridge_name(name), "bridge", mtu=mtu, alias=ALIAS) for name, mtu in mtus.items()}
    for name, port in _all_ports(cluster):
        links.add(
            Link(
                _port_name(name, port),
                "veth",
                mtu=mtus[port.segment],
                master=_bridge_name(port.segment),
                peer=VethPeer(name, port.device),
                alias=ALIAS,
            )
        )
    return EMPTY._replace(links=frozenset(links))


def without_bridge_netfilter(switch: State) -> State:
    """The switch on a kernel with br_netfilter, which hands bridged frames to iptables unless that is switched off."""
    return switch._replace(sysctls=switch.sysctls | _TRANSPARENT)


def _inner(cluster: Cluster, name: str, ports: Tuple[Port, ...], mtus: Dict[str, int]) -> State:
    links = {Link("lo", "loopback")}
    addresses = set()
    for port in ports:
        mac = _mac(cluster.id, name, port.device)
        links.add(Link(port.device, "veth", mtu=mtus[port.segment], mac=mac, alias=ALIAS))
        addresses |= {Address(port.device, address, nodad=address.version == 6) for address in port.addresses}
    return EMPTY._replace(links=frozenset(links), sysctls=_INNER, addresses=frozenset(addresses))


def _default_routes(cluster: Cluster, ports: Tuple[Port, ...]) -> Iterator[Route]:
    """By the first router on the first port's segment; a lone segment has none."""
    for port in ports[:1]:
        for version in {address.version for address in port.addresses}:
            for router in cluster.underlay.routers:
                gateway = _address_on(router, port.segment, version)
                if gateway is not None:
                    yield Route(_DEFAULT[version], gateway, port.device, protocol=PROTOCOL)
                    break


def _transit(cluster: Cluster, router: Router) -> Iterator[Route]:
    """A router's routes to segments that it has no port on, by the fewest hops."""
    routers = {known.name: known for known in cluster.underlay.routers}
    cidrs = {segment.name: segment.cidrs for segment in cluster.underlay.segments}
    reached: Set[str] = {port.segment for port in router.ports}
    # (a router reached, the first hop to it, and the port that leads there)
    frontier: List[Tuple[Router, Optional[Router], Optional[Port]]] = [(router, None, None)]
    visited = {router.name}
    while frontier:
        reached_router, first, exit_port = frontier.pop(0)
        for port in reached_router.ports:
            for name, other in routers.items():
                if name in visited or all(port_there.segment != port.segment for port_there in other.ports):
                    continue
                visited.add(name)
                hop, leaving = first or other, exit_port or port
                frontier.append((other, hop, leaving))
                for beyond in other.ports:
                    if beyond.segment not in reached:
                        reached.add(beyond.segment)
                        yield from _routes(cidrs[beyond.segment], hop, leaving)


def _routes(cidrs: Tuple[IPNetwork, ...], hop: Router, leaving: Port) -> Iterator[Route]:
    for cidr in cidrs:
        gateway = _address_on(hop, leaving.segment, cidr.version)
        if gateway is not None:
            yield Route(cidr, gateway, leaving.device, protocol=PROTOCOL)


def _address_on(router: Router, segment: str, version: int) -> Optional[IPAddress]:
    for port in router.ports:
        if port.segment == segment:
            return next((address.ip for address in port.addresses if address.version == version), None)
    return None


def _bridge_name(segment: str) -> str:
    return _device_name(f"br-{segment}")


def _port_name(namespace: str, port: Port) -> str:
    """Such as ``node-1.eth0``, and ``spine_eth0`` of a router, which no node's can be."""
    separator = "_" if is_infrastructure(namespace) else "."
    return _device_name(f"{namespace.rpartition(' ')[2]}{separator}{port.device}")


def _device_name(text: str) -> str:
    if len(text) <= _LONGEST_NAME:
        return text
    return f"{text[:6]}.{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _mac(cluster_id: str, namespace: str, device: str) -> MacAddress:
    """A function of intent, so that a node made anew still is where its neighbours' caches say."""
    digest = hashlib.sha256(f"{cluster_id}/{namespace}/{device}".encode()).digest()
    return MacAddress(b"\x02" + digest[:5])
