"""The underlay as a function of intent: the switch's ports, the nodes' addresses, the routers' routes."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface, ip_network

from podwire.backend import BackendSettings
from podwire.intent import underlay
from podwire.intent.cluster import Cluster, CniSettings, Node, Port, Router, Segment, Underlay
from podwire.model.objects import Address, Link, Route


def _node(name: str, segment: str, *addresses: str, mtu: int = 1500) -> Node:
    ports = (Port(segment, "eth0", tuple(map(ip_interface, addresses))),)
    ips = tuple(port.ip for port in ports[0].addresses)
    return Node(name, "netns", "eth0", ports[0].addresses, ips, (ip_network("10.244.0.0/24"),), mtu, ports)


def _port(segment: str, device: str, *addresses: str) -> Port:
    return Port(segment, device, tuple(map(ip_interface, addresses)))


def _cluster(nodes: tuple[Node, ...], segments: tuple[Segment, ...], routers: tuple[Router, ...] = ()) -> Cluster:
    return Cluster(
        "test-00000000",
        (ip_network("10.244.0.0/16"),),
        (ip_network("10.96.0.0/16"),),
        (24,),
        BackendSettings(),
        CniSettings(),
        True,
        nodes,
        (),
        Underlay(segments, routers),
    )


RACKS = _cluster(
    (_node("node-a", "rack-a", "172.30.1.11/24", "fd00:1::b/64"), _node("node-b", "rack-b", "172.30.2.11/24")),
    (
        Segment("rack-a", (ip_network("172.30.1.0/24"), ip_network("fd00:1::/64")), 1500),
        Segment("rack-b", (ip_network("172.30.2.0/24"),), 9000),
    ),
    (
        Router(
            "spine",
            (
                _port("rack-a", "eth0", "172.30.1.1/24", "fd00:1::1/64"),
                _port("rack-b", "eth1", "172.30.2.1/24"),
            ),
        ),
    ),
)


def test_a_namespace_for_the_switch_every_router_and_every_node() -> None:
    assert set(underlay.desired(RACKS)) == {"underlay switch", "underlay router spine", "node-a", "node-b"}


def test_a_bridge_a_segment_with_its_ports_in_the_segments_mtu() -> None:
    links = {link.name: link for link in underlay.desired(RACKS)[underlay.SWITCH].links}
    assert {name: (link.kind, link.master, link.mtu) for name, link in links.items()} == {
        "br-rack-a": ("bridge", None, 1500),
        "br-rack-b": ("bridge", None, 9000),
        "node-a.eth0": ("veth", "br-rack-a", 1500),
        "node-b.eth0": ("veth", "br-rack-b", 9000),
        "spine_eth0": ("veth", "br-rack-a", 1500),
        "spine_eth1": ("veth", "br-rack-b", 9000),
    }
    peers = {(link.peer.namespace, link.peer.name) for link in links.values() if link.peer}
    assert peers == {
        ("node-a", "eth0"),
        ("node-b", "eth0"),
        ("underlay router spine", "eth0"),
        ("underlay router spine", "eth1"),
    }


def test_a_node_has_its_addresses_and_the_segments_router_as_default() -> None:
    state = underlay.desired(RACKS)["node-a"]
    assert state.addresses == {
        Address("eth0", ip_interface("172.30.1.11/24")),
        Address("eth0", ip_interface("fd00:1::b/64"), nodad=True),
    }
    assert {str(route) for route in state.routes} == {
        "route 0.0.0.0/0 via 172.30.1.1 dev eth0 proto 113",
        "route ::/0 via fd00:1::1 dev eth0 proto 113",
    }
    assert Link("lo", "loopback") in state.links


def test_a_nodes_own_mtu_holds_inside_it() -> None:
    small = replace(RACKS, nodes=(replace(RACKS.nodes[0], mtu=1400), RACKS.nodes[1]))
    states = underlay.desired(small)
    assert next(link.mtu for link in states["node-a"].links if link.name == "eth0") == 1400
    assert next(link.mtu for link in states[underlay.SWITCH].links if link.name == "node-a.eth0") == 1500


def test_no_default_route_without_a_router() -> None:
    lone = _cluster((_node("n", "lan", "172.30.0.1/24"),), (Segment("lan", (ip_network("172.30.0.0/24"),)),))
    assert underlay.desired(lone)["n"].routes == frozenset()


def test_routers_reach_segments_behind_other_routers_by_the_shortest_way() -> None:
    segments = tuple(Segment(name, (ip_network(f"172.30.{i}.0/24"),)) for i, name in enumerate("abcd"))
    routers = tuple(
        Router(f"r{i}", (_port(a, "eth0", f"172.30.{i}.{i + 1}/24"), _port(b, "eth1", f"172.30.{i + 1}.{i + 1}/24")))
        for i, (a, b) in enumerate(("ab", "bc", "cd"))
    )
    states = underlay.desired(_cluster((_node("n", "a", "172.30.0.9/24"),), segments, routers))

    def routes(router: str) -> set[tuple[str, str, str | None]]:
        state = states[underlay.router_namespace(router)]
        return {(str(route.destination), str(route.gateway), route.device) for route in state.routes}

    assert routes("r0") == {("172.30.2.0/24", "172.30.1.2", "eth1"), ("172.30.3.0/24", "172.30.1.2", "eth1")}
    assert routes("r1") == {("172.30.0.0/24", "172.30.1.1", "eth0"), ("172.30.3.0/24", "172.30.2.3", "eth1")}
    assert routes("r2") == {("172.30.0.0/24", "172.30.2.2", "eth0"), ("172.30.1.0/24", "172.30.2.2", "eth0")}


def test_device_names_are_short_and_apart() -> None:
    names = [f"a-node-with-a-very-long-name-{i}" for i in range(300)]
    nodes = tuple(_node(name, "underlay", f"172.30.{i // 250}.{i % 250 + 1}/16") for i, name in enumerate(names))
    pairs = underlay.pairs(_cluster(nodes, (Segment("underlay", (ip_network("172.30.0.0/16"),)),)))
    ports = {pair.port for pair in pairs}
    assert len(ports) == 300
    assert max(map(len, ports)) <= 15


def test_a_mac_address_is_a_function_of_intent_and_differs_between_labs() -> None:
    def mac(cluster: Cluster) -> object:
        return next(link.mac for link in underlay.desired(cluster)["node-a"].links if link.name == "eth0")

    assert mac(RACKS) == mac(replace(RACKS, pods=()))
    assert mac(RACKS) != mac(replace(RACKS, id="other-00000000"))
    assert mac(RACKS)[0] & 3 == 2  # type: ignore[index]  # locally administered, unicast


def test_limited_leaves_the_ports_of_other_nodes_out() -> None:
    states = underlay.limited(RACKS, underlay.desired(RACKS), {"node-a"})
    assert set(states) == {"underlay switch", "underlay router spine", "node-a"}
    assert "node-b.eth0" not in {link.name for link in states[underlay.SWITCH].links}
    assert "node-a.eth0" in {link.name for link in states[underlay.SWITCH].links}


def test_the_scope_leaves_the_backends_routes_to_the_backend() -> None:
    scope = underlay.scope(underlay.desired(RACKS)["node-a"])
    assert scope.protocol == underlay.PROTOCOL != Route(ip_network("10.0.0.0/8")).protocol
    assert not scope.routes


def test_nodes_that_nobody_makes_here_have_no_underlay() -> None:
    ssh = replace(RACKS, nodes=tuple(replace(node, kind="ssh", ports=()) for node in RACKS.nodes))
    assert underlay.desired(ssh) == {}


def test_switch_is_told_to_be_one_where_br_netfilter_is_loaded() -> None:
    switch = underlay.without_bridge_netfilter(underlay.desired(RACKS)[underlay.SWITCH])
    assert {sysctl.value for sysctl in switch.sysctls} == {"0"}
    assert "net/bridge/bridge-nf-call-iptables" in {sysctl.key for sysctl in switch.sysctls}
