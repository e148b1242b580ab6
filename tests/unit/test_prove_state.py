"""Judging snapshots: each thing that two nodes can hold of each other is wrong once."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from podwire.observe import node_files
from podwire.prove import throughput
from podwire.prove.consistency import consistency
from podwire.prove.discovery import infer
from podwire.prove.guarantee import Guarantee
from podwire.prove.leases import leases, ranges
from podwire.prove.verdict import judge

from . import snapshots
from .test_prove import addresses_of, cluster, observed

INTENT = cluster([2, 2])
ADDRESSES = addresses_of(INTENT)
NODES = ("node-1", "node-2")
Snapshots = Dict[str, Dict[str, Any]]


def taken() -> Snapshots:
    return {node: snapshots.healthy(INTENT, node, ADDRESSES) for node in NODES}


def seen(found: Snapshots) -> Dict[str, Any]:
    return {node: {"snapshot": each} for node, each in found.items()}


def table(found: Snapshots, node: str, name: str) -> List[Dict[str, Any]]:
    rows: List[Dict[str, Any]] = found[node]["namespace"][name]
    return rows


def link(found: Snapshots, node: str, name: str) -> Dict[str, Any]:
    return next(each for each in table(found, node, "links") if each["name"] == name)


def told(guarantee: Guarantee) -> List[str]:
    return [str(each) for each in guarantee.failures]


def change(name: str, **values: Any) -> Callable[[Snapshots], None]:
    """The last row of one of node-1's tables: the only one about node-2."""
    return lambda found: table(found, "node-1", name)[-1].update(values)


def remove(name: str) -> Callable[[Snapshots], None]:
    return lambda found: table(found, "node-1", name).clear()


def vtep(**values: Any) -> Callable[[Snapshots], None]:
    return lambda found: link(found, "node-2", "flannel.1").update(values)


def vxlan(**values: Any) -> Callable[[Snapshots], None]:
    return lambda found: link(found, "node-2", "flannel.1")["vxlan"].update(values)


def sub_route(found: Snapshots) -> None:
    table(found, "node-1", "routes").append(snapshots.route("10.244.2.128/25", "cni0", "10.244.1.1"))


BROKEN = [
    (change("routes", destination="10.244.9.0/24"), "no route to 10.244.2.0/24 but the default route"),
    (change("routes", kind="blackhole"), "blackhole route to 10.244.2.0/24"),
    (change("routes", gateway="10.244.7.0"), "no neighbour entry for 10.244.7.0 on flannel.1"),
    (sub_route, "a route to 10.244.2.128/25, inside 10.244.2.0/24: via 10.244.1.1 dev cni0"),
    (remove("neighbours"), "no neighbour entry for 10.244.2.0 on flannel.1"),
    (change("neighbours", mac="02:00:00:00:00:77"), "has MAC 02:00:00:00:00:77, its flannel.1 66:"),
    (remove("fdb"), "no FDB entry for 66:"),
    (change("fdb", destination="192.168.1.99"), "to 192.168.1.99, and its flannel.1 is at 192.168.1.12"),
    (vxlan(vni=2), "flannel.1 has VNI 1, its flannel.1 2"),
    (vxlan(port=4789), "flannel.1 has UDP port 8472, its flannel.1 4789"),
    (vxlan(local="192.168.1.77"), "sends from 192.168.1.77, which is not one of its addresses"),
    (vtep(mtu=1400), "flannel.1 has MTU 1450, its flannel.1 1400"),
    (vtep(up=False), "its flannel.1 is down"),
    (lambda found: link(found, "node-1", "flannel.1").update(up=False), "leaves by flannel.1, which is down"),
]


@pytest.mark.parametrize(("broken", "reason"), BROKEN)
def test_what_a_node_holds_wrong_about_another_is_named(broken: Callable[[Snapshots], None], reason: str) -> None:
    found = taken()
    assert consistency(INTENT, seen(found), NODES).ok
    broken(found)
    failures = told(consistency(INTENT, seen(found), NODES))
    assert any(each.startswith("node-1 -> node-2 (10.244.2.0/24): ") and reason in each for each in failures), failures


def strayed(found: Snapshots) -> None:
    table(found, "node-1", "fdb").append({"device": "veth1", "mac": "0a:58:00:00:00:00", "master": "cni0"})


def misled(found: Snapshots) -> None:
    found["node-1"]["sandboxes"]["pod-1-1"]["namespace"]["neighbours"][0]["mac"] = "02:00:00:00:00:66"


PODS = [
    (lambda found: link(found, "node-1", "veth0").update(mtu=1500), "its eth0 has MTU 1450, veth0 1500"),
    (lambda found: link(found, "node-1", "veth0").update(up=False), "veth0 is down"),
    (lambda found: link(found, "node-1", "veth0")["port"].update(state="disabled"), "veth0 is disabled on cni0"),
    (strayed, "cni0 has its MAC 0a:58:00:00:00:00 on veth1, but it is attached to veth0"),
    (misled, "it has MAC 02:00:00:00:00:66 for 10.244.1.1, cni0 has 02:00:00:00:00:01"),
]


@pytest.mark.parametrize(("broken", "reason"), PODS)
def test_what_a_node_holds_wrong_about_a_pod_is_named(broken: Callable[[Snapshots], None], reason: str) -> None:
    found = taken()
    broken(found)
    assert told(consistency(INTENT, seen(found), NODES)) == [f"node-1 -> pod-1-1: {reason}"]


def test_isolated_ports_are_told_by_their_flag() -> None:
    """Where classes of pairs are probed, two isolated pods of many may never be one of the pairs."""
    found = taken()
    link(found, "node-1", "veth0")["port"]["isolated"] = True
    assert consistency(INTENT, seen(found), NODES).ok, "one port alone keeps nobody apart"
    link(found, "node-1", "veth1")["port"]["isolated"] = True
    reason = "is isolated on cni0, as are other ports, which it cannot reach"
    assert told(consistency(INTENT, seen(found), NODES)) == [
        f"node-1 -> pod-1-1: veth0 {reason}",
        f"node-1 -> pod-1-2: veth1 {reason}",
    ]


def leaked(found: Snapshots) -> None:
    found["node-1"]["reservations"]["podwire"]["10.244.1.9"] = ["gone", "eth0"]


def empty(found: Snapshots) -> None:
    found["node-1"]["reservations"]["podwire"]["10.244.1.9"] = ["", ""]


def lost(found: Snapshots) -> None:
    del found["node-1"]["reservations"]["podwire"]["10.244.1.2"]


def another(found: Snapshots) -> None:
    found["node-1"]["reservations"]["podwire"]["10.244.1.2"] = ["id-pod-1-2", "eth0"]


@pytest.mark.parametrize(
    ("broken", "failure"),
    [
        (leaked, "node-1 -> 10.244.1.9: is allocated to container gone, which is gone"),
        (empty, "node-1 -> 10.244.1.9: has an empty lease file"),
        (lost, "node-1 -> pod-1-1 (10.244.1.2): its address is not allocated, so another pod can get it"),
        (another, "node-1 -> 10.244.1.2: is allocated to pod-1-2, but pod-1-1 has it"),
    ],
)
def test_reservations_and_pods_match(broken: Callable[[Snapshots], None], failure: str) -> None:
    found = taken()
    assert leases(INTENT, ADDRESSES, seen(found), NODES).ok
    broken(found)
    assert told(leases(INTENT, ADDRESSES, seen(found), NODES)) == [failure]


def test_ranges_that_overlap_are_named_with_their_places() -> None:
    found = taken()
    assert ranges(INTENT, seen(found), NODES).ok
    table(found, "node-1", "addresses").append({"device": "docker0", "address": "10.244.200.1", "prefix": 16})
    found["node-2"]["conflists"][0]["plugins"] = [snapshots.bridge("10.244.1.128/25")]
    failures = told(ranges(INTENT, seen(found), NODES))
    assert failures == [
        "node-1 -> 10.244.0.0/16: the network of docker0 overlaps the pod range 10.244.0.0/16",
        "node-1 -> 10.244.1.0/24: the pod CIDR in 10-podwire.conflist overlaps 10.244.1.128/25 of node-2",
        "node-2 -> 10.244.1.128/25: the pod CIDR in 10-podwire.conflist overlaps 10.244.1.0/24 of node-1",
    ]


def test_a_sandbox_that_nobody_declared_and_answers_from_nowhere_are_orphans() -> None:
    observations = observed(INTENT)
    stray = snapshots.sandbox("stray", 7, "10.244.1.77")
    observations["node-1"]["snapshot"]["sandboxes"]["stray"] = stray
    observations["node-2"]["strangers"] = {"10.244.2.66": ["02:00:00:00:00:66"]}
    assert told(judge(INTENT, ADDRESSES, observations).guarantees[0]) == [
        "node-1 -> stray (10.244.1.77): belongs to a sandbox that is not declared",
        "node-2 -> 10.244.2.66: is answered by 02:00:00:00:00:66, which belongs to no known sandbox",
    ]


def found_pods(snapshot: Dict[str, Any], node: str) -> Dict[str, Any]:
    pods = {
        f"{node}/{name}": {"netns": each["netns"], "addresses": ADDRESSES[name][0].split("/")[:1], "port": 41112}
        for name, each in snapshot["sandboxes"].items()
    }
    return {"snapshot": snapshot, "pods": pods}


def test_intent_is_inferred_from_what_nodes_have() -> None:
    found = {node: found_pods(each, node) for node, each in taken().items()}
    cluster, addresses, netns, notes = infer(INTENT, found)
    assert addresses["node-2/pod-2-1"] == ["10.244.2.2"] and netns["node-2/pod-2-1"] == "/run/netns/pod-2-1"
    assert [str(node.pod_cidrs[0]) for node in cluster.nodes] == ["10.244.1.0/24", "10.244.2.0/24"]
    assert (cluster.mtu, cluster.cni.type, cluster.cni.bridge, cluster.backend.type) == (
        1450,
        "bridge",
        "cni0",
        "vxlan",
    )
    assert "pod CIDRs from CNI configuration" in notes

    bare = deepcopy(found)
    for each in bare.values():
        each["snapshot"]["conflists"] = []
    assert "pod CIDRs from the nodes' devices" in infer(INTENT, bare).notes
    for each in bare.values():
        each["snapshot"]["namespace"]["addresses"] = []
    cluster, *_, notes = infer(INTENT, bare)
    assert "pod CIDRs from the pods' addresses" in notes
    assert [str(node.pod_cidrs[0]) for node in cluster.nodes] == ["10.244.1.2/31", "10.244.2.2/31"]


def test_a_stray_address_does_not_widen_what_is_inferred() -> None:
    """It is the fault (a foreign range), and neither the block nor the pods' range."""
    found = {node: found_pods(each, node) for node, each in taken().items()}
    found["node-1"]["pods"]["node-1/pod-1-1"]["addresses"] = ["172.31.5.5"]
    cluster, addresses, *_ = infer(INTENT, found)
    assert [str(node.pod_cidrs[0]) for node in cluster.nodes] == ["10.244.1.0/24", "10.244.2.0/24"]
    assert [str(each) for each in cluster.cluster_cidrs] == ["10.244.0.0/16"]
    assert addresses["node-1/pod-1-1"] == ["172.31.5.5"]


def test_a_configuration_of_others_may_be_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("1.conflist", '{"plugins": 5}'), ("2.conf", '{"type": "bridge"}'), ("3.json", "[]")):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(node_files, "CONFIG_DIR", str(tmp_path))
    read = node_files.conflists()
    assert [(each["plugins"], each.get("error", "")) for each in read] == [
        ([], "plugins is not a list"),
        ([{"type": "bridge"}], ""),
        ([], "not a JSON object"),
    ]
    found = taken()
    found["node-1"]["conflists"] = read
    assert ranges(INTENT, seen(found), NODES).ok


def test_throughput_is_told_as_ratio_and_a_missing_measurement_is_no_success() -> None:
    rows = [
        {"kind": "vxlan", "source": "a", "target": "b", "streams": 1, "bits": 3e9},
        {"kind": "underlay", "source": "node-1", "target": "node-2", "streams": 1, "bits": 6e9},
        {"kind": "vxlan", "source": "a", "target": "b", "streams": 4, "bits": None},
    ]
    found = throughput.judge(INTENT, {"node-1": {"throughput": rows}, "node-2": {"throughput": []}})
    assert (found.passed, found.failed, found.not_run) == (2, 1, 0)
    assert found.notes == (
        "vxlan a -> b: 1 stream 3.00 Gbit/s (0.50 of the underlay)",
        "underlay node-1 -> node-2: 1 stream 6.00 Gbit/s",
    )
    assert throughput.judge(INTENT, {"node-1": {"throughput": []}}).not_run == 1
