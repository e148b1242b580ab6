"""What nodes should be where nobody declared it: worked out from what most of them are, and from what runtimes left."""

from __future__ import annotations

import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any, Dict, List

import pytest

from podwire.backend.vxlan import vtep_mac
from podwire.explain import collect
from podwire.explain.commands import FLOOD, commands
from podwire.explain.inferred import plans, recorded
from podwire.explain.operations import from_row
from podwire.intent.cluster import Cluster
from podwire.intent.inventory import read

from .snapshots import healthy

NODES = ("node-1", "node-2", "node-3")
CLUSTER = read({name: {"pods": ["a", "b", "c", "d", "e", "f"]} for name in NODES}, source="/x/hosts.yml")
PODS = {pod.name: [f"{CLUSTER.node(pod.node).pod_cidrs[0][2 + number // 3]}"] for number, pod in enumerate(
    sorted(CLUSTER.pods, key=lambda pod: "abcdef".index(pod.name)))}  # fmt: skip


def told(cluster: Cluster = CLUSTER) -> Dict[str, Any]:
    found = {node.name: deepcopy(healthy(cluster, node.name, PODS)) for node in cluster.nodes}
    return {name: {"observations": {"snapshot": each}} for name, each in found.items()}


def rows(told: Dict[str, Any], node: str) -> List[str]:
    signs = {"add": "+", "change": "~", "remove": "-"}
    operations = map(from_row, plans(CLUSTER, told)[node])
    return [f"{signs[operation.action]} {operation.object}" for operation in operations]


def space(told: Dict[str, Any], node: str) -> Dict[str, Any]:
    return told[node]["observations"]["snapshot"]["namespace"]  # type: ignore[no-any-return]


def vtep(told: Dict[str, Any], node: str) -> Dict[str, Any]:
    return next(link for link in space(told, node)["links"] if "vxlan" in link)


def test_nodes_that_agree_need_nothing() -> None:
    assert [rows(told(), node) for node in NODES] == [[], [], []]


def test_a_device_that_is_made_anew_gets_back_all_that_stood_on_it() -> None:
    seen = told()
    vtep(seen, "node-1")["vxlan"]["vni"] = 42
    found = rows(seen, "node-1")
    assert [line.split()[:2] for line in found] == [["-", "link"], ["+", "link"], ["+", "address"]] + 2 * [
        ["+", "neighbour"], ["+", "fdb"], ["+", "route"]
    ]  # fmt: skip
    assert "vni 1 " in found[1] and found[2] == "+ address 10.244.0.0/32 dev flannel.1"


def test_a_device_that_is_gone_is_made_as_the_peers_know_it() -> None:
    seen = told()
    space(seen, "node-1")["links"].remove(vtep(seen, "node-1"))
    for table in ("addresses", "routes", "neighbours", "fdb"):
        space(seen, "node-1")[table] = [r for r in space(seen, "node-1")[table] if r["device"] != "flannel.1"]
    found = rows(seen, "node-1")
    assert f"mac {vtep_mac('node-1', 1, 4)}" in found[0] and "local 172.30.0.11 dev eth0" in found[0]
    assert found[1] == "+ address 10.244.0.0/32 dev flannel.1"
    assert len(found) == 8
    assert rows(seen, "node-2") == []


def test_whose_mac_address_changed_is_what_most_say() -> None:
    seen = told()
    vtep(seen, "node-1")["mac"] = "02:00:00:00:77:77"
    assert [line.split()[:2] for line in rows(seen, "node-1")] == [["~", "link"]]
    assert rows(seen, "node-2") == rows(seen, "node-3") == [], "both have the old one: the device changed"
    seen = told()
    for table in ("neighbours", "fdb"):
        space(seen, "node-1")[table][0]["mac"] = "02:00:00:00:77:77"
    assert [line.split()[:2] for line in rows(seen, "node-1")] == [["~", "neighbour"], ["+", "fdb"]]
    assert rows(seen, "node-2") == [], "one alone is stale"


def test_a_mesh_that_learns_needs_what_floods_and_nothing_else() -> None:
    seen = told()
    for node in NODES:
        own = space(seen, node)
        own["fdb"] = [{**row, "mac": FLOOD} for row in own["fdb"]]
        own["neighbours"] = [{**row, "state": "reachable"} for row in own["neighbours"]]
    assert rows(seen, "node-1") == []
    learnt = {"device": "flannel.1", "mac": str(vtep_mac("node-2", 1, 4)), "destination": "172.30.0.12"}
    space(seen, "node-1")["fdb"].append(learnt)
    gone = space(seen, "node-1")["fdb"].pop(0)
    assert rows(seen, "node-1") == [f"+ fdb {FLOOD} dst {gone['destination']} dev flannel.1 self permanent"]
    space(seen, "node-1")["fdb"].append({**gone, "destination": "172.30.0.99"})
    (row,) = plans(CLUSTER, seen)["node-1"]
    assert list(map(str, commands(from_row(row)))) == [
        f"bridge fdb append {FLOOD} dev flannel.1 dst {gone['destination']} self permanent",
        f"bridge fdb del {FLOOD} dev flannel.1 dst 172.30.0.99 self",
    ]


def test_direct_routes_need_no_device() -> None:
    seen = told()
    for node in NODES:
        own = space(seen, node)
        own["links"].remove(vtep(seen, node))
        for row in own["routes"][1:]:
            peer = next(each for each in CLUSTER.nodes if str(each.pod_cidrs[0]) == row["destination"])
            row.update(device="eth0", gateway=str(peer.addresses[0].ip))
    assert rows(seen, "node-1") == []
    del space(seen, "node-1")["routes"][1]
    assert rows(seen, "node-1") == ["+ route 10.244.1.0/24 via 172.30.0.12 proto 112"]


def test_peers_next_door_may_be_reached_without_the_tunnel() -> None:
    seen = told()
    near = {"node-1": "node-2", "node-2": "node-1"}
    for node, peer in near.items():
        own, there = space(seen, node), CLUSTER.node(peer)
        block, mac = str(there.pod_cidrs[0]), str(vtep_mac(peer, 1, 4))
        next(row for row in own["routes"] if row["destination"] == block).update(
            device="eth0", gateway=str(there.addresses[0].ip)
        )
        for table in ("neighbours", "fdb"):
            own[table] = [row for row in own[table] if row["mac"] != mac]
    assert [rows(seen, node) for node in NODES] == [[], [], []]
    seen["node-2"] = told()["node-2"]
    assert [line.split()[1] for line in rows(seen, "node-1")] == ["neighbour", "fdb", "route"], "one alone is wrong"


def test_podwire_is_told_only_where_it_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module's copy goes with the module: what is printed afterwards has to be there."""
    assert collect._podwire()[:2] == ["env", f"PYTHONPATH={collect._ROOT}"]
    monkeypatch.setattr(collect, "_ROOT", f"{tempfile.gettempdir()}/podwire-1a2b3c")
    monkeypatch.setattr(collect, "LIBRARY", str(tmp_path / "lib"))
    assert collect._podwire() == []
    (tmp_path / "lib").mkdir()
    assert collect._podwire()[:2] == ["env", f"PYTHONPATH={tmp_path}/lib"]


# --- what pods were given, where only reservations tell ------------------------------------------


def found(**addresses: List[str]) -> Dict[str, Any]:
    """node-1 with pods a and d, which have other addresses than they were given, as nobody's runtime knows them."""
    taken = deepcopy(healthy(CLUSTER, "node-1", PODS))
    for name, sandbox in taken["sandboxes"].items():
        sandbox.update(known_by="mount", container="")
        sandbox["namespace"]["addresses"] = [
            {"device": "eth0", "address": ip, "prefix": 24} for ip in addresses.get(name, PODS[name])
        ]
    pods = {
        f"node-1/{name}": {
            "netns": each["netns"],
            "addresses": [it["address"] for it in each["namespace"]["addresses"]],
            "port": 0,
        }
        for name, each in taken["sandboxes"].items()
    }
    return {"node-1": {"snapshot": taken, "pods": pods}}


def given(found: Dict[str, Any]) -> Dict[str, List[str]]:
    return {name: each["addresses"] for name, each in recorded(found)["node-1"]["pods"].items()}


A, D = PODS["a"][0], PODS["d"][0]


@pytest.mark.parametrize("thief, victim, has", [("a", "d", D), ("d", "a", A)])
def test_of_two_holders_the_one_that_has_no_other_owns_an_address(thief: str, victim: str, has: str) -> None:
    seen = found(**{thief: [has, *PODS[thief]]})
    assert given(seen) == {f"node-1/{thief}": PODS[thief], f"node-1/{victim}": PODS[victim]}


def test_a_stray_pod_gets_the_address_that_nobody_holds() -> None:
    assert given(found(a=["192.168.77.7"])) == {"node-1/a": [A], "node-1/d": [D]}


def test_of_two_lost_addresses_none_is_guessed() -> None:
    seen = found(a=["192.168.77.7"])
    seen["node-1"]["snapshot"]["reservations"]["podwire"]["10.244.0.200"] = ["gone", "eth0"]
    assert given(seen) == {"node-1/a": ["192.168.77.7"], "node-1/d": [D]}


def test_a_namespace_without_a_device_is_the_pod_that_is_missing() -> None:
    seen = found()
    bare = seen["node-1"]["snapshot"]["sandboxes"].pop("a")
    del seen["node-1"]["pods"]["node-1/a"]
    assert given(seen) == {"node-1/d": [D]}
    seen["node-1"]["snapshot"]["unattached"]["a"] = bare
    assert given(seen) == {"node-1/a": [A], "node-1/d": [D]}


def test_containers_of_another_bridge_are_no_stray_pods() -> None:
    seen = found(a=["172.17.0.2"])
    links = {each["name"]: each for each in seen["node-1"]["snapshot"]["namespace"]["links"]}
    links["veth0"]["master"] = "docker0"
    assert given(seen) == {"node-1/a": ["172.17.0.2"], "node-1/d": [D]}
