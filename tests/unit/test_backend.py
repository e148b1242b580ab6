"""Backends as projections of intent: the objects of a node, and the laws that hold between nodes."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any, Callable, Dict, Set

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.backend.routes import MANY_GATEWAYS, routes
from podwire.backend.vxlan import vtep_mac, vxlan_device
from podwire.errors import IntentError
from podwire.intent.cluster import Cluster, adjacent
from podwire.intent.inventory import read
from podwire.intent.projection import desired, scope
from podwire.model.objects import BACKEND_ALIAS, ROUTE_PROTOCOL, IPNetwork, Link, Vxlan
from podwire.model.state import State

GOLDEN = Path(__file__).parent / "golden" / "backend"
RACKS = {
    "underlay": {
        "segments": {"rack-a": {}, "rack-b": {}},
        "routers": {"spine": {"segments": ["rack-a", "rack-b"]}},
    }
}
DUAL_STACK = {"cluster_cidrs": ["10.244.0.0/16", "fd00:10:244::/48"]}
DIRECT = {"backend": {"type": "vxlan", "direct_routing": True}}
HOST_GW = {"backend": {"type": "host-gw"}}
SECOND_RACK = {"node-3": {"node_segment": "rack-b"}}


def cluster(own: Dict[str, Dict[str, Any]] | None = None, **shared: Any) -> Cluster:
    hosts = {name: {**shared, **(own or {}).get(name, {})} for name in ("node-1", "node-2", "node-3")}
    return read(hosts, source="lab/hosts.yml")


CASES = {
    "vxlan": cluster(),
    "vxlan-dual-stack": cluster(**DUAL_STACK),
    "host-gw": cluster(**HOST_GW),
    "host-gw-dual-stack": cluster(**HOST_GW, **DUAL_STACK),
    "direct-routing": cluster(SECOND_RACK, **DIRECT, **RACKS),
    "nat": cluster({"node-1": {"node_public_ip": "198.51.100.7"}}, **DIRECT, masquerade=False),
    "settings": cluster(backend={"vni": 7, "port": 4789, "mtu": 1400}),
}


def told(state: State) -> str:
    """A state as people read it: one object a line, files whole."""
    lines = [str(each) for field in state for each in sorted(map(str, field))]
    files = [f"\n{file}\n{file.content}" for file in sorted(state.files)]
    return "\n".join(lines) + "\n" + "".join(files)


@pytest.mark.parametrize("case", CASES)
def test_objects(case: str, golden: Callable[[Path, str], None]) -> None:
    state = desired(CASES[case], "node-1")
    golden(GOLDEN / f"{case}.txt", told(state).replace(CASES[case].id, "lab-<digest>"))


@pytest.mark.parametrize("case", CASES)
def test_every_peer_has_one_way_and_every_pair_agrees(case: str) -> None:
    """What an agent on one node cannot see: A's entries for B are B's own device and address."""
    made = CASES[case]
    states = {node.name: desired(made, node.name) for node in made.nodes}
    for node in made.nodes:
        others = [peer for peer in made.nodes if peer is not node]
        state = states[node.name]
        assert sorted(map(str, (route.destination for route in state.routes))) == sorted(
            str(block) for peer in others for block in peer.pod_cidrs
        )
        assert {route.protocol for route in state.routes} == {ROUTE_PROTOCOL}
        for entry in state.fdb:
            peer = next(peer for peer in others if entry.destination in peer.public_ips)
            device = next(link for link in states[peer.name].links if link.name == entry.device)
            assert device.mac == entry.mac
        for neighbour in state.neighbours:
            owner = next(peer for peer in others if any(neighbour.address in block for block in peer.pod_cidrs))
            device = next(link for link in states[owner.name].links if link.name == neighbour.device)
            assert device.mac == neighbour.mac
            assert ip_interface(f"{neighbour.address}") in {
                each.interface for each in states[owner.name].addresses if each.device == neighbour.device
            }


def test_direct_routes_go_both_ways() -> None:
    made = CASES["direct-routing"]

    def direct_to(name: str) -> Set[str]:
        return {str(route.gateway) for route in desired(made, name).routes if route.device == "eth0"}

    assert direct_to("node-1") == {"172.30.0.12"}
    assert direct_to("node-2") == {"172.30.0.11"}
    assert direct_to("node-3") == set()
    assert all(adjacent(one, other, 4) == adjacent(other, one, 4) for one in made.nodes for other in made.nodes)


@pytest.mark.parametrize(("one", "other", "direct"), [("24", "24", True), ("24", "32", False), ("32", "24", False)])
def test_direct_needs_both_prefixes(one: str, other: str, direct: bool) -> None:
    ssh = {"node_kind": "ssh", "node_interface": "ens3", **DIRECT}
    hosts = {"a": {**ssh, "node_address": f"192.0.2.1/{one}"}, "b": {**ssh, "node_address": f"192.0.2.2/{other}"}}
    made = read(hosts, source="hosts.yml")
    assert adjacent(*made.nodes, 4) is direct
    assert {route.device for route in desired(made, "a").routes} == {"ens3" if direct else "flannel.1"}


def test_behind_nat_the_device_sends_from_its_own_address() -> None:
    made = CASES["nat"]
    (link,) = desired(made, "node-1").links
    assert link.settings == Vxlan(1, 8472, ip_address("172.30.0.11"), "eth0")
    assert {str(each.destination) for each in desired(made, "node-2").fdb} == {"198.51.100.7"}
    assert [str(route.gateway) for route in desired(made, "node-2").routes if route.device == "eth0"] == ["172.30.0.13"]


def test_host_gw_refuses_a_peer_behind_a_router() -> None:
    racks = cluster(SECOND_RACK, **RACKS)
    made = replace(racks, backend=CASES["host-gw"].backend)
    with pytest.raises(IntentError, match=r"node-1 \(172.30.0.11/24\) to node-3 \(172.30.1.11/24, public IP 172.30.1"):
        desired(made, "node-1")


def test_scope_holds_what_earlier_settings_left() -> None:
    made = CASES["host-gw"]
    owned = scope(made, "node-1", desired(made, "node-1"))
    assert owned.links == {"flannel.1", "flannel-v6.1"}
    assert (owned.alias, owned.protocol, owned.nat) == (BACKEND_ALIAS, ROUTE_PROTOCOL, "podwire")
    assert owned.files == {"/run/flannel/subnet.env", "/etc/podwire/node.json"}
    assert owned.prefixes == {ip_network("10.244.1.0/24"), ip_network("10.244.2.0/24")}


def test_unknown_node() -> None:
    with pytest.raises(KeyError):
        desired(CASES["vxlan"], "node-9")


def test_alone_in_the_cluster() -> None:
    alone = read({"node-1": {}}, source="hosts.yml")
    state = desired(alone, "node-1")
    assert not (state.routes | state.fdb | state.neighbours | state.next_hops)
    assert {(link.name, link.alias) for link in state.links} == {("flannel.1", BACKEND_ALIAS)}


@pytest.mark.parametrize("shared", [{}, HOST_GW], ids=["vxlan", "host-gw"])
def test_many_peers_share_next_hops(shared: Dict[str, Any]) -> None:
    """One node more than the threshold, and plain routes become next-hop objects with the same meaning."""

    def state_of(nodes: int) -> State:
        hosts = {f"n{i}": {**shared, "cluster_cidrs": ["10.128.0.0/14"], "pods": 0} for i in range(nodes)}
        return desired(read(hosts, source="hosts.yml"), "n0")

    few, many = state_of(MANY_GATEWAYS + 1), state_of(MANY_GATEWAYS + 2)
    assert not few.next_hops
    assert len(few.routes) == len({route.gateway for route in few.routes}) == MANY_GATEWAYS
    by_id = {hop.id: hop for hop in many.next_hops}
    assert len(by_id) == len(many.routes) == MANY_GATEWAYS + 1
    resolved = {(r.destination, by_id[r.next_hop or 0].gateway, by_id[r.next_hop or 0].onlink) for r in many.routes}
    assert resolved >= {(route.destination, route.gateway, route.onlink) for route in few.routes}
    assert all(0 < hop.id < 2**32 and hop.protocol == ROUTE_PROTOCOL for hop in many.next_hops)


def test_many_ipv6_peers_keep_plain_routes() -> None:
    block = ip_network("fd00::/64")
    ways = [(block, block.network_address + i) for i in range(MANY_GATEWAYS + 1)]
    assert not routes(ways, "flannel-v6.1", onlink=True).next_hops


def test_vxlan_mtu_is_the_smallest_of_all() -> None:
    def mtu(backend: Dict[str, Any], underlay: int) -> Dict[str, int | None]:
        made = cluster(backend=backend, underlay={"segments": {"underlay": {"mtu": underlay}}}, **DUAL_STACK)
        links: Set[Link] = set(desired(made, "node-1").links)
        return {link.name: link.mtu for link in links}

    assert mtu({}, 1500) == {"flannel.1": 1450, "flannel-v6.1": 1430}
    assert mtu({}, 9000) == {"flannel.1": 8950, "flannel-v6.1": 8930}
    assert mtu({"mtu": 1300}, 1500) == {"flannel.1": 1300, "flannel-v6.1": 1300}


def test_node_file() -> None:
    contents = {file.path: file.content for file in desired(CASES["vxlan-dual-stack"], "node-2").files}
    lease = json.loads(contents["/etc/podwire/node.json"])
    assert lease["pod_cidrs"] == ["10.244.1.0/24", "fd00:10:244:1::/64"]
    assert (lease["node"], lease["mtu"]) == ("node-2", 1430)


@given(st.text(max_size=20), st.integers(1, 2**24 - 1), st.sampled_from((4, 6)))
def test_vtep_mac_is_local_and_unicast(node: str, vni: int, version: int) -> None:
    mac = vtep_mac(node, vni, version)
    assert len(mac) == 6
    assert mac[0] & 3 == 2
    assert mac == vtep_mac(node, vni, version)


def test_vtep_macs_differ_by_node_vni_and_family() -> None:
    macs = {vtep_mac(f"n{i}", vni, version) for i in range(5000) for vni in (1, 2) for version in (4, 6)}
    assert len(macs) == 20000
    assert vxlan_device(7, 4) != vxlan_device(7, 6)


@given(st.sets(st.integers(0, 255), max_size=20), st.booleans())
def test_masquerade_spares_cluster_and_multicast(thirds: Set[int], masquerade: bool) -> None:
    hosts = {f"n{i}": {"node_pod_cidrs": [f"10.244.{i}.0/24"], "masquerade": masquerade} for i in {0, *thirds}}
    rules = desired(read(hosts, source="hosts.yml"), "n0").nat_rules
    unless: tuple[IPNetwork, ...] = (ip_network("10.244.0.0/16"), ip_network("224.0.0.0/4"))
    assert {(rule.source, rule.unless) for rule in rules} == (
        {(ip_network("10.244.0.0/24"), unless)} if masquerade else set()
    )
