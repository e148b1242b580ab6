"""What an inventory becomes: defaults, addresses, pods; and every shipped inventory."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any, Dict, List

import pytest
import yaml

from podwire.backend import BackendSettings
from podwire.errors import IntentError
from podwire.intent.cluster import Cluster, CniSettings, Port, Segment
from podwire.intent.cluster_json import cluster_from_json, cluster_to_json
from podwire.intent.inventory import read, record_of
from podwire.intent.projection import desired

INVENTORIES = sorted((Path(__file__).parents[2] / "inventories").iterdir())
DUAL_STACK = {"cluster_cidrs": ["10.244.0.0/16", "fd00:10:244::/48"]}
RACKS = {
    "underlay": {"segments": {"rack-a": {}, "rack-b": {}}, "routers": {"spine": {"segments": ["rack-a", "rack-b"]}}}
}


def cluster(nodes: str = "node-1 node-2 node-3", own: Dict[str, Any] | None = None, **shared: Any) -> Cluster:
    return read({name: {**shared, **(own or {}).get(name, {})} for name in nodes.split()}, source="lab/hosts.yml")


def addresses(cluster: Cluster) -> List[str]:
    return [str(address) for node in cluster.nodes for address in node.addresses]


def pods(cluster: Cluster) -> List[str]:
    return [f"{pod.name} {pod.node}" for pod in cluster.pods]


def test_three_host_names_are_an_inventory() -> None:
    made = cluster()
    assert made.cluster_cidrs == (ip_network("10.244.0.0/16"),)
    assert made.service_cidrs == (ip_network("10.96.0.0/16"),)
    assert made.node_prefix_lengths == (24,)
    assert made.backend == BackendSettings()
    assert made.cni == CniSettings()
    assert made.masquerade is True
    assert made.underlay.segments == (Segment("underlay", (ip_network("172.30.0.0/16"),), 1500),)
    assert not made.underlay.routers
    assert addresses(made) == ["172.30.0.11/16", "172.30.0.12/16", "172.30.0.13/16"]
    assert [str(node.pod_cidrs[0]) for node in made.nodes] == ["10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24"]
    assert pods(made)[:3] == ["node-1-pod-1 node-1", "node-1-pod-2 node-1", "node-2-pod-1 node-2"]
    assert (len(made.pods), made.mtu) == (6, 1450)
    node = made.nodes[0]
    assert (node.kind, node.interface, node.mtu) == ("netns", "eth0", 1500)
    assert node.ports == (Port("underlay", "eth0", (ip_interface("172.30.0.11/16"),)),)
    assert node.public_ips == (ip_address("172.30.0.11"),)


def test_dual_stack_defaults() -> None:
    made = cluster("a", **DUAL_STACK)
    assert made.service_cidrs == (ip_network("10.96.0.0/16"), ip_network("fd00:10:96::/112"))
    assert made.node_prefix_lengths == (24, 64)
    assert addresses(made) == ["172.30.0.11/16", "fd00:30::11/64"]
    assert made.nodes[0].pod_cidrs == (ip_network("10.244.0.0/24"), ip_network("fd00:10:244::/64"))
    assert (made.overlay_mtu(4), made.overlay_mtu(6), made.mtu) == (1450, 1430, 1430)


def test_ipv6_alone() -> None:
    made = cluster("a", cluster_cidrs=["fd00:10:244::/48"])
    assert made.service_cidrs == (ip_network("fd00:10:96::/112"),)
    assert addresses(made) == ["fd00:30::11/64"]


def test_prefix_length_by_family() -> None:
    lengths = {"ipv4": 26, "ipv6": 80}
    assert cluster("a", node_prefix_length=lengths, **DUAL_STACK).node_prefix_lengths == (26, 80)
    assert cluster("a", node_prefix_length=26).node_prefix_lengths == (26,)
    assert cluster("a", cluster_cidrs=["10.0.0.0/25"]).node_prefix_lengths == (25,)


def test_settings_are_read() -> None:
    backend = {"type": "vxlan", "vni": 7, "port": 4789, "direct_routing": True, "mtu": 1400}
    cni = {"type": "ptp", "name": "net", "bridge": "br0", "hairpin": False}
    made = cluster(backend=backend, cni=cni, masquerade=False)
    assert made.backend == BackendSettings("vxlan", 7, 4789, True, 1400)
    assert made.cni == CniSettings("ptp", "net", "br0", False)
    assert not made.masquerade
    assert cluster(backend={"mtu": "auto"}).backend.mtu is None


def test_unset_variables_are_defaults() -> None:
    assert cluster(backend=None, pods=None, cni={"type": None}) == cluster()


def test_segments_routers_and_addresses() -> None:
    own = {"node-1": {"node_segment": "rack-b"}, "node-2": {"node_segment": ["rack-a", "rack-b"]}}
    made = cluster(own=own, **RACKS)
    assert [[str(each) for each in segment.cidrs] for segment in made.underlay.segments] == [
        ["172.30.0.0/24"],
        ["172.30.1.0/24"],
    ]
    router = made.underlay.routers[0]
    assert [(port.device, str(port.addresses[0])) for port in router.ports] == [
        ("eth0", "172.30.0.1/24"),
        ("eth1", "172.30.1.1/24"),
    ]
    assert addresses(made) == ["172.30.1.11/24", "172.30.0.11/24", "172.30.0.12/24"]
    assert [(port.device, port.segment) for port in made.nodes[1].ports] == [("eth0", "rack-a"), ("eth1", "rack-b")]


def test_explicit_addresses() -> None:
    routers = {"spine": {"segments": {"underlay": ["172.30.0.11"]}}, "leaf": {"segments": {"underlay": None}}}
    own = {"node-2": {"node_address": "172.30.0.12/16"}, "node-3": {"node_addresses": ["172.30.0.2"]}}
    made = cluster(own=own, underlay={"segments": {"underlay": {}}, "routers": routers})
    assert addresses(made) == ["172.30.0.13/16", "172.30.0.12/16", "172.30.0.2/16"]
    assert [str(router.ports[0].addresses[0].ip) for router in made.underlay.routers] == ["172.30.0.11", "172.30.0.1"]


def test_small_segment_uses_the_low_addresses() -> None:
    made = cluster(underlay={"segments": {"underlay": {"cidrs": ["172.30.0.0/29"]}}})
    assert addresses(made) == ["172.30.0.1/29", "172.30.0.2/29", "172.30.0.3/29"]


def test_addresses_are_kept() -> None:
    before = cluster("b a", **RACKS)
    after = read(dict.fromkeys(("a", "new", "b"), RACKS), source="lab/hosts.yml", record=record_of(before))
    assert [after.node(name) for name in "ab"] == [before.node(name) for name in "ab"]
    assert str(after.node("new").addresses[0]) == "172.30.0.13/24"
    assert after.underlay == before.underlay


def test_recorded_addresses_that_do_not_fit_are_forgotten() -> None:
    before = record_of(cluster("b a"))
    narrow = {"segments": {"underlay": {"cidrs": ["172.30.0.0/24"]}}}
    after = read({"a": {"underlay": narrow}, "b": {"underlay": narrow}}, source="hosts.yml", record=before)
    assert addresses(after) == ["172.30.0.11/24", "172.30.0.12/24"]


def test_explicit_address_frees_the_recorded_one() -> None:
    hosts = {"a": {"node_address": "172.30.0.99"}, "new": {}}
    assert addresses(read(hosts, source="hosts.yml", record=record_of(cluster("a")))) == [
        "172.30.0.99/16",
        "172.30.0.11/16",
    ]


def test_removed_node_finds_its_address_again() -> None:
    record = record_of(cluster("gone a"))
    assert addresses(read({"new": {}}, source="hosts.yml", record=record)) == ["172.30.0.13/16"]


def test_host_gw_is_direct_anyway() -> None:
    assert cluster(backend={"type": "host-gw", "direct_routing": True}) == cluster(backend={"type": "host-gw"})


def test_smallest_mtu_on_the_way_counts() -> None:
    underlay = {"segments": {"a": {"mtu": 9000}, "core": {"mtu": 1400}}}
    made = cluster("node-1", underlay=underlay)
    assert (made.nodes[0].mtu, made.mtu) == (9000, 1350)


def test_pods_are_spread_in_turn() -> None:
    listed = ["a", {"name": "b", "node": "node-3"}, "c", "d", "e"]
    assert pods(cluster(pods=listed)) == ["a node-1", "e node-1", "c node-2", "b node-3", "d node-3"]


def test_node_pods_go_before_pods() -> None:
    own = {"node-2": {"node_pods": [{"name": "x", "hostNetwork": True, "port": 81}]}, "node-3": {"node_pods": 0}}
    made = cluster(own=own, pods=["a", "b"])
    assert pods(made) == ["a node-1", "b node-1", "x node-2"]
    assert (made.pods[2].host_network, made.pods[2].port) == (True, 81)


def test_host_network_pods_take_no_address_of_the_block() -> None:
    listed = [{"name": f"p{i}", "host_network": True, "port": 9000 + i} for i in range(20)]
    assert len(cluster("a", pods=listed, node_prefix_length=30).pods) == 20


def test_public_ip() -> None:
    made = cluster("a", own={"a": {"node_public_ip": "198.51.100.7"}}, **DUAL_STACK)
    assert made.nodes[0].public_ips == (ip_address("198.51.100.7"), ip_address("fd00:30::11"))


def test_ssh_nodes() -> None:
    own = {
        "a": {"node_kind": "ssh", "ansible_host": "192.0.2.1", "node_interface": "ens3", "node_mtu": 1400},
        "b": {"node_kind": "ssh", "node_address": "192.0.2.2/24", "node_interface": "ens4"},
    }
    made = cluster("a b", own=own)
    assert addresses(made) == ["192.0.2.1/32", "192.0.2.2/24"]
    assert [(node.interface, node.mtu, node.ports) for node in made.nodes] == [("ens3", 1400, ()), ("ens4", 1500, ())]
    assert made.mtu == 1350
    assert not made.underlay.segments


def expanded(inventory: Path) -> Dict[str, Dict[str, Any]]:
    """The hosts of an inventory with their variables, as far as the shipped ones use Ansible's language."""
    hosts: Dict[str, Dict[str, Any]] = {}

    def walk(group: Dict[str, Any], inherited: Dict[str, Any]) -> None:
        variables = {**inherited, **(group.get("vars") or {})}
        for pattern, own in (group.get("hosts") or {}).items():
            names = [pattern]
            if "[" in pattern:
                prefix, _, span = pattern.rstrip("]").partition("[")
                first, last = span.split(":")
                names = [f"{prefix}{i:0{len(first)}}" for i in range(int(first), int(last) + 1)]
            for name in names:
                hosts[name] = {**variables, **(own or {})}
        for child in (group.get("children") or {}).values():
            walk(child, variables)

    common = yaml.safe_load((inventory / "group_vars" / "all.yml").read_text())
    walk(yaml.safe_load((inventory / "hosts.yml").read_text())["all"], common)
    return hosts


def test_all_inventories_are_here() -> None:
    assert {path.name for path in INVENTORIES} >= {"lab", "host-gw", "racks", "dual-stack", "ptp", "scale"}


@pytest.mark.parametrize("inventory", INVENTORIES, ids=lambda path: path.name)
def test_shipped_inventory(inventory: Path) -> None:
    hosts = expanded(inventory)
    said = {name: found(each["ansible_host"]) for name, each in hosts.items() if each.get("node_kind") == "ssh"}
    made = read(hosts, source=str(inventory), facts=said)
    if inventory.name != "docker":
        assert {each.get("ansible_connection") for each in hosts.values()} == {None if said else "netns"}
    assert made.id.startswith(f"{inventory.name}-")
    assert read(hosts, source=str(inventory), record=record_of(made)) == made
    assert cluster_from_json(json.loads(json.dumps(cluster_to_json(made)))) == made
    for node in made.nodes:
        assert len({route.destination for route in desired(made, node.name).routes}) == (
            len(made.versions) * (len(made.nodes) - 1)
        )


def found(address: str) -> Dict[str, Any]:
    """What a machine with one interface says of itself."""
    return {"interfaces": [["eth0", 1500, [f"{address}/24"]]], "routes": [["192.0.2.1", "eth0", address]]}


def test_shipped_lab_is_the_default_written_out() -> None:
    """What everybody copies says nothing but the defaults, apart from the pods' names."""
    inventory = next(path for path in INVENTORIES if path.name == "lab")
    hosts = expanded(inventory)
    defaults = read({name: {"pods": each["pods"]} for name, each in hosts.items()}, source=str(inventory))
    assert read(hosts, source=str(inventory)) == defaults
    assert [pod.name for pod in defaults.pods_of("node-1")] == ["pod-a", "pod-d"]


def test_shipped_scale() -> None:
    made = read(expanded(next(path for path in INVENTORIES if path.name == "scale")), source="scale")
    assert (len(made.nodes), len(made.pods)) == (50, 200)


@pytest.mark.parametrize("data", [None, {}, {"version": 9}, {"version": 1, "id": "x"}])
def test_broken_intent_is_reported(data: Any) -> None:
    with pytest.raises(IntentError, match="failed to read the cluster's intent: .*; run site.yml again"):
        cluster_from_json(data)


def test_intent_round_trip_of_everything() -> None:
    own = {
        "node-1": {"node_public_ip": "198.51.100.7", "node_segment": ["rack-a", "rack-b"]},
        "node-2": {"node_pods": [{"name": "x", "hostNetwork": True}]},
    }
    made = cluster(own=own, masquerade=False, **RACKS, **DUAL_STACK)
    written = cluster_to_json(made)
    assert cluster_from_json(json.loads(json.dumps(written))) == made
    assert ["public_ips" in node for node in written["nodes"]] == [True, False, False]
    assert not any("addresses" in node for node in written["nodes"])
    ssh = {"a": {"node_kind": "ssh", "node_address": "192.0.2.1/24", "node_interface": "ens3"}}
    assert cluster_from_json(cluster_to_json(cluster("a", own=ssh))) == cluster("a", own=ssh)


def test_pods_stay_where_they_were_when_nodes_come_and_go() -> None:
    hosts = {name: {"pods": ["a", "b", "c", "d"]} for name in ("n1", "n2")}
    before = read(hosts, source="lab")
    assert [(pod.name, pod.node) for pod in before.pods] == [("a", "n1"), ("c", "n1"), ("b", "n2"), ("d", "n2")]
    record = record_of(before)
    more = {name: {"pods": ["a", "b", "c", "d", "e"]} for name in ("n1", "n2", "n3")}
    grown = {pod.name: pod.node for pod in read(more, source="lab", record=record).pods}
    assert grown == {"a": "n1", "c": "n1", "b": "n2", "d": "n2", "e": "n2"}
    less = {name: {"pods": ["a", "b", "c", "d"]} for name in ("n2", "n3")}
    shrunk = {pod.name: pod.node for pod in read(less, source="lab", record=record).pods}
    assert {shrunk["b"], shrunk["d"]} == {"n2"}
    assert set(shrunk) == {"a", "b", "c", "d"}
