"""What is expected of a cluster, and how observations are judged."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.backend import BackendSettings
from podwire.intent.cluster import Cluster, CniSettings, Node, Pod
from podwire.prove import expect
from podwire.prove.text import render, table
from podwire.prove.verdict import Failure, Guarantee, Verdict, _count_pairs, _family, from_json, judge, to_json

from . import snapshots

GOLDEN = Path(__file__).parent / "golden" / "prove"


def cluster(pods: List[int], host_network: int = 0, masquerade: bool = True) -> Cluster:
    """A cluster with so many pods on each node, and hostNetwork pods on the first."""
    nodes = tuple(
        Node(
            name=f"node-{n}",
            kind="netns",
            interface="eth0",
            addresses=(ip_interface(f"192.168.1.{10 + n}/24"),),
            public_ips=(ip_address(f"192.168.1.{10 + n}"),),
            pod_cidrs=(ip_network(f"10.244.{n}.0/24"),),
        )
        for n in range(1, len(pods) + 1)
    )
    names = [Pod(f"pod-{n}-{i}", f"node-{n}") for n, count in enumerate(pods, 1) for i in range(1, count + 1)]
    names += [Pod(f"host-{i}", "node-1", host_network=True, port=9000 + i) for i in range(host_network)]
    return Cluster(
        id="test",
        cluster_cidrs=(ip_network("10.244.0.0/16"),),
        service_cidrs=(),
        node_prefix_lengths=(24,),
        backend=BackendSettings(),
        cni=CniSettings(),
        masquerade=masquerade,
        nodes=nodes,
        pods=tuple(names),
    )


def addresses_of(cluster: Cluster) -> Dict[str, List[str]]:
    return {p.name: [f"10.244.{p.name[4]}.{1 + int(p.name[6:])}/24"] for p in cluster.pods if not p.host_network}


def observed(cluster: Cluster, broken: Callable[[str, str], str] = lambda source, target: "") -> Dict[str, Any]:
    """Observations of all nodes, in which a pair fails for the reason that ``broken`` gives."""
    addresses = addresses_of(cluster)
    ends = expect.endpoints(cluster, addresses)
    found: Dict[str, Any] = {}
    for node in (each.name for each in cluster.nodes):
        pairs = [(p.source.pod, p.target) for p in expect.pairs_from(node, ends)]
        paths = [(p.source.pod, p.target) for p in expect.mtu_pairs_from(node, ends)]
        found[node] = {
            "pods": {
                p.name: {"addresses": [addresses[p.name][0][:-3]]} for p in cluster.pods_of(node) if p.name in addresses
            },
            "absent": [],
            "second_owners": {},
            "seconds": 0.1,
            "pairs": summary(pairs, broken),
            "agents": summary([(node, end) for end in expect.agent_targets(node, ends)], lambda *_: ""),
            "path_mtu": summary(paths, lambda *_: ""),
            "bulk": summary([(p.source.pod, p.target) for p in expect.bulk_pairs_from(node, ends)], lambda *_: ""),
            "nodes": summary(
                [(end.pod, end._replace(pod=node)) for end, _ in expect.node_targets(cluster, node, ends)],
                lambda *_: "",
            ),
            "fragments": 0,
            "snapshot": snapshots.healthy(cluster, node, addresses),
        }
    return found


def summary(pairs: List[Any], broken: Callable[[str, str], str]) -> Dict[str, Any]:
    towards: Dict[str, List[int]] = {}
    failures = []
    for source, target in pairs:
        reason = broken(source, target.pod)
        towards.setdefault(target.node, [0, 0])[bool(reason)] += 1
        if reason:
            failures.append([source, target.pod, target.address, "timeout", reason])
    return {"towards": towards, "failures": failures}


def pods_of(verdict: Verdict) -> Guarantee:
    return verdict.guarantees[1]


def judged(cluster: Cluster, broken: Callable[[str, str], str] = lambda source, target: "") -> Verdict:
    return judge(cluster, addresses_of(cluster), observed(cluster, broken))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(0, 2))
def test_pairs_are_all_ordered_pairs_and_counted_right(pods: List[int], host_network: int) -> None:
    intent = cluster(pods, host_network)
    ends = expect.endpoints(intent, addresses_of(intent))
    pairs = [pair for node in intent.nodes for pair in expect.pairs_from(node.name, ends)]
    assert len(set(pairs)) == len(pairs) == len(intent.pods) * (len(intent.pods) - 1)
    for node in intent.nodes:
        listed = Counter((node.name, pair.target.node) for pair in expect.pairs_from(node.name, ends))
        assert listed == Counter({cell: count for cell, count in _count_pairs(node.name, ends) if count})


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(0, 2))
def test_classes_cover_every_pod_both_ways_and_every_pair_of_nodes(pods: List[int], host_network: int) -> None:
    intent = cluster(pods, host_network)
    ends = expect.endpoints(intent, addresses_of(intent))
    pairs = [pair for node in intent.nodes for pair in expect.classes_from(node.name, ends)]
    assert len(set(pairs)) == len(pairs) <= 2 * len(ends) + len(pods) ** 2
    assert all(pair.source.pod != pair.target.pod for pair in pairs)
    everyone = {end.pod for end in ends} if len(ends) > 1 else set()
    assert {pair.source.pod for pair in pairs} == {pair.target.pod for pair in pairs} == everyone
    alone = {node for node in (each.name for each in intent.nodes) if sum(end.node == node for end in ends) < 2}
    assert {(pair.source.node, pair.target.node) for pair in pairs} == {
        (one.name, other.name)
        for one in intent.nodes
        for other in intent.nodes
        if one != other or one.name not in alone
    }


def test_a_thousand_pods_on_ten_nodes_are_some_two_thousand_probes() -> None:
    intent = cluster([100] * 10)
    ends = expect.endpoints(intent, {pod.name: [f"10.244.{i // 100}.{i % 100}"] for i, pod in enumerate(intent.pods)})
    assert expect.mode_for(ends) == "classes" and expect.mode_for(ends, "all") == "all"
    assert 1900 <= sum(1 for node in intent.nodes for _ in expect.classes_from(node.name, ends)) <= 2100


@given(st.lists(st.integers(1, 6), min_size=2, max_size=4), st.data())
def test_what_a_failed_class_stands_for_is_probed_and_nothing_twice(pods: List[int], data: st.DataObject) -> None:
    intent = cluster(pods)
    ends = expect.endpoints(intent, addresses_of(intent))
    classes = list(expect.classes_from("node-1", ends))
    failed = data.draw(st.lists(st.sampled_from(classes), min_size=1, unique=True))
    found = list(expect.members(failed, "node-1", ends))
    assert len(set(found)) == len(found) and not set(found) & set(failed)
    for pair in expect.pairs_from("node-1", ends):
        near = any(pair.source == each.source or pair.target == each.target for each in failed)
        assert (pair in found or pair in failed) >= (
            near or any(pair.target.node == each.target.node for each in failed)
        )


def accepted(intent: Cluster, source: str, target: str) -> set[str]:
    ends = {end.pod: end for end in expect.endpoints(intent, addresses_of(intent))}
    return set(expect.accepted_sources(intent, expect.Pair(ends[source], ends[target])))


def test_between_pods_only_the_pods_own_address_is_no_nat() -> None:
    assert accepted(cluster([1, 1]), "pod-1-1", "pod-2-1") == {"10.244.1.2"}


def test_towards_a_host_network_pod_the_node_may_masquerade_if_declared() -> None:
    assert accepted(cluster([1, 1], 1), "pod-2-1", "host-0") == {"10.244.2.2", "192.168.1.12"}
    assert accepted(cluster([1, 1], 1, masquerade=False), "pod-2-1", "host-0") == {"10.244.2.2"}
    assert accepted(cluster([1, 1], 1), "pod-1-1", "host-0") == {"10.244.1.2"}, "never on the pod's own node"


def test_a_host_network_pod_comes_from_any_address_of_its_node() -> None:
    assert accepted(cluster([1, 1], 2), "host-0", "pod-2-1") == {"192.168.1.11", "10.244.1.0", "10.244.1.1"}
    assert accepted(cluster([1, 1], 2), "host-0", "host-1") == {"192.168.1.11"}


def test_healthy_observations_pass_and_are_counted() -> None:
    verdict = judged(cluster([2, 2, 2], 1))
    assert verdict.ok
    assert [(each.key, each.passed) for each in verdict.guarantees] == [
        ("unique", 6),
        ("pods", 42),
        ("agents", 7),
        ("nodes", 6),
        ("mtu", 30),
        ("bulk", 9),
        ("fragments", 3),
        ("ranges", 6),
        ("leases", 12),
        ("consistency", 12),
    ]


@pytest.mark.parametrize(
    ("broken", "shared"),
    [
        (lambda s, t: True, ["all 30"]),
        (lambda s, t: s[4] != t[4], ["all between nodes: 24"]),
        (lambda s, t: s[4] == t[4], ["all within nodes: 6"]),
        (lambda s, t: s[4] != t[4] == "3", ["all towards node-3 from other nodes: 8"]),
        (lambda s, t: t[4] != s[4] == "1", ["all from node-1 to other nodes: 8"]),
        (lambda s, t: s[4] != t[4] and "2" in (s[4], t[4]), ["all to and from node-2: 16"]),
        (lambda s, t: {s[4], t[4]} == {"1", "3"}, ["all between node-1 and node-3: 8"]),
        (lambda s, t: (s[4], t[4]) == ("1", "3"), ["all from node-1 to node-3: 4"]),
        (lambda s, t: s[4] == t[4] == "2", ["all within node-2: 2"]),
        (lambda s, t: t == "pod-2-1", ["towards pod-2-1: 5"]),
        (lambda s, t: s == "pod-2-1", ["from pod-2-1: 5"]),
        (lambda s, t: "pod-2-1" in (s, t), ["to and from pod-2-1: 10"]),
        (lambda s, t: {s, t} == {"pod-1-1", "pod-2-2"}, ["between pod-1-1 and pod-2-2: 2"]),
        (lambda s, t: (s, t) == ("pod-1-1", "pod-2-2"), []),
    ],
)
def test_failures_are_grouped_by_what_they_share(broken: Callable[[str, str], bool], shared: List[str]) -> None:
    verdict = judged(cluster([2, 2, 2]), lambda source, target: "no answer" if broken(source, target) else "")
    assert list(pods_of(verdict).shared) == shared
    assert not verdict.ok


def test_a_node_that_did_not_report_is_not_run_and_fails_the_verdict() -> None:
    intent = cluster([2, 2, 2])
    seen = observed(intent)
    del seen["node-3"]
    verdict = judge(intent, addresses_of(intent), seen)
    assert not verdict.ok and verdict.missing == ("node-3",)
    assert {each.key: (each.passed, each.failed, each.not_run) for each in verdict.guarantees} == {
        "unique": (4, 0, 2),
        "pods": (20, 0, 10),
        "agents": (4, 0, 2),
        "nodes": (4, 0, 2),
        "mtu": (20, 0, 10),
        "bulk": (6, 0, 3),
        "fragments": (2, 0, 1),
        "ranges": (4, 0, 1),
        "leases": (8, 0, 2),
        "consistency": (6, 0, 4),
    }
    limited = judge(intent, addresses_of(intent), seen, only={"node-1", "node-2"})
    assert limited.missing == () and pods_of(limited).ok and pods_of(limited).passed == 20, "nobody asked node-3"


def test_checks_that_a_node_left_out_are_not_run() -> None:
    intent = cluster([2, 2])
    seen = observed(intent)
    seen["node-1"]["pairs"]["towards"]["node-2"] = [3, 0]
    assert (pods_of(judge(intent, addresses_of(intent), seen)).not_run) == 1


def test_a_pod_without_an_address_fails_and_its_pairs_are_not_run() -> None:
    intent = cluster([2, 2])
    addresses = {pod: ips for pod, ips in addresses_of(intent).items() if pod != "pod-2-2"}
    smaller = replace(intent, pods=intent.pods[:-1])
    verdict = judge(intent, addresses, observed(smaller))
    assert verdict.guarantees[0].failures == (Failure("", "pod-2-2", "", "no address", "has no IPv4 address"),)
    assert (pods_of(verdict).passed, pods_of(verdict).not_run) == (6, 6)


@pytest.mark.parametrize(
    ("has", "second", "reason"),
    [
        (["10.244.1.9"], {}, "is not on its device, which has 10.244.1.9"),
        ([], {}, "is not on its device, which has no address"),
        (["10.244.1.2"], {"10.244.1.2": ["02:00:00:00:00:01", "02:00:00:00:00:02"]}, "is a duplicate IP: answered by "),
    ],
)
def test_an_address_must_be_on_one_device_alone(has: List[str], second: Dict[str, Any], reason: str) -> None:
    intent = cluster([1, 1])
    seen = observed(intent)
    seen["node-1"]["pods"]["pod-1-1"]["addresses"] = has
    seen["node-1"]["second_owners"] = second
    (failure,) = judge(intent, addresses_of(intent), seen).guarantees[0].failures
    assert failure.target == "pod-1-1" and failure.reason.startswith(reason)


def test_an_address_on_two_nodes_is_found_although_each_sees_one() -> None:
    intent = cluster([1, 1])
    addresses = {**addresses_of(intent), "pod-2-1": ["10.244.1.2"]}
    seen = observed(intent)
    seen["node-2"]["pods"]["pod-2-1"]["addresses"] = ["10.244.1.2"]
    reasons = [each.reason for each in judge(intent, addresses, seen).guarantees[0].failures]
    assert reasons == ["is a duplicate IP: also on pod-2-1", "is a duplicate IP: also on pod-1-1"]


def test_a_verdict_survives_json() -> None:
    verdict = judged(cluster([2, 2], 1), lambda source, target: "refused" if target == "pod-2-1" else "")
    assert from_json(json.loads(json.dumps(to_json(verdict)))) == verdict


def test_each_address_of_a_pod_has_to_be_its_own() -> None:
    """Pods that others made may have several of a family."""
    intent = cluster([1, 1])
    one, other = (pod.name for pod in intent.pods)
    addresses = {**addresses_of(intent)}
    addresses[one] = [*addresses[one], addresses[other][0]]
    seen = observed(intent)
    seen["node-1"]["pods"][one]["addresses"] += [addresses[other][0].partition("/")[0]]
    unique = judge(intent, addresses, seen).guarantees[0]
    assert (unique.passed, unique.failed) == (1, 2)
    assert {each.target for each in unique.failures} == {one, other}


def test_failures_of_one_family_of_two_say_which() -> None:
    ends = [expect.Endpoint("a", "node-1", version, "", 1, False) for version in (4, 6)]
    failures = [Failure("a", "b", f"fd00::{n}", "timeout", "no answer") for n in (1, 2)]
    assert list(_family(failures, 2, ends)) == ["over IPv6: 2"]
    assert list(_family(failures, 2, ends[1:])) == [], "where there is no other"
    assert list(_family(failures, 3, ends)) == [], "where some are not listed"
    assert list(_family([*failures, Failure("a", "b", "10.0.0.1", "timeout", "no answer")], 3, ends)) == []


def test_a_failure_without_a_target_ends_with_no_arrow() -> None:
    assert str(Failure("node-3", "", "", "fragments", "made 4 fragments")) == "node-3: made 4 fragments"


def test_the_text_of_a_verdict(golden: Callable[[Path, str], None]) -> None:
    intent = cluster([2, 2, 2], 1)
    golden(GOLDEN / "healthy.txt", f"{table(intent)}\n\n{render(judged(intent))}\n")
    broken = judged(intent, lambda s, t: "no answer (ICMP, TCP)" if "3" in t[4] and s[4] != "3" else "")
    golden(GOLDEN / "broken.txt", render(broken) + "\n")
    seen = observed(intent)
    del seen["node-3"]
    golden(GOLDEN / "not-run.txt", render(judge(intent, addresses_of(intent), seen)) + "\n")
