"""Reconciling a node's pods: what is declared is there and nothing else is, also after a kill at any point."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_network
from typing import Any, Dict, NamedTuple, Optional

import pytest

from podwire.backend import BackendSettings
from podwire.errors import LabError
from podwire.intent.cluster import Cluster, CniSettings, Pod
from podwire.kernel import enter
from podwire.lab import netns
from podwire.sandbox import pods, sandboxes
from podwire.sandbox.pods import PodsOutcome
from podwire.stages import node as doors
from tests.death import Death
from tests.kernel.labs import make_cluster, make_node, pid_of, run

NODE = "node-1"


@pytest.fixture(scope="module")
def home() -> Iterator[Cluster]:
    """One node for all tests of this file; each begins and ends with no pods."""
    cluster = make_cluster(make_node(NODE, 11))
    netns.present(cluster)
    yield cluster
    netns.absent(cluster.id)


@pytest.fixture
def lab(home: Cluster) -> Iterator[Cluster]:
    yield home
    inside(home, pods.detach_all, home, NODE)
    assert look(home) == Seen({}, set(), set(), set(), set())
    inside(home, shutil.rmtree, "/var/lib/cni/networks", True)
    assert inside(home, os.listdir, "/etc/cni/net.d") == []


def inside(cluster: Cluster, function: Callable[..., Any], *arguments: Any) -> Any:
    return enter.call(pid_of(cluster, NODE), function, *arguments)


def declare(cluster: Cluster, *names: str, **changes: Any) -> Cluster:
    declared = tuple(Pod(name.strip("@"), NODE, host_network=name.startswith("@")) for name in names)
    return replace(cluster, pods=declared, **changes)


def reconcile(cluster: Cluster, check: bool = False) -> PodsOutcome:
    outcome = inside(cluster, lambda: pods.reconcile(cluster, NODE, check=check))
    assert isinstance(outcome, PodsOutcome)
    return outcome


class Seen(NamedTuple):
    """What stands on the node, by what it belongs to."""

    leases: Dict[str, str]  # address to container
    results: set[str]  # containers
    veths: set[str]
    sandboxes: set[str]  # containers with a living process
    names: set[str]  # below /run/netns


def look(cluster: Cluster) -> Seen:
    def see() -> Seen:
        leases, results = {}, set()
        for folder, _, names in os.walk("/var/lib/cni"):
            for name in names:
                path = os.path.join(folder, name)
                if "/results" in folder:
                    with open(path) as file:
                        results.add(json.load(file)["containerId"])
                elif ".podwire" not in folder and name[0].isdigit():
                    with open(path) as file:
                        leases[name] = file.read().split()[0]
        links = json.loads(subprocess.check_output(["ip", "-j", "link"]))
        return Seen(
            leases,
            results,
            {link["ifname"] for link in links if link["ifname"].startswith("veth")},
            {each.container_id for each in sandboxes.running().values() if not each.host_network},
            set(os.listdir("/run/netns")),
        )

    seen = inside(cluster, see)
    assert isinstance(seen, Seen)
    return seen


def is_sound(cluster: Cluster) -> Dict[str, str]:
    """Every declared pod has one address, veth and cached result, and nothing else has any. Addresses by pod."""
    seen = look(cluster)
    declared = {pod.name for pod in cluster.pods if not pod.host_network}
    assert seen.names == declared
    assert len(seen.sandboxes) == len(seen.veths) == len(seen.leases) == len(declared)
    assert set(seen.leases.values()) == seen.results == seen.sandboxes
    outcome = reconcile(cluster)
    assert outcome.lines == ()
    assert {ip for name in declared for ip in outcome.results[name]} == set(seen.leases)
    return {name: outcome.results[name][0] for name in declared}


def test_a_second_run_changes_nothing(lab: Cluster) -> None:
    cluster = declare(lab, "a", "b", "@host")
    assert reconcile(cluster).changed
    assert is_sound(cluster) == {"a": "10.244.11.2", "b": "10.244.11.3"}
    assert reconcile(cluster).results["host"] == ["172.30.0.11", "fd00:30::11"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"names": ()}, {"names": ("a", "b", "@host")}),
        ({"names": ("a", "b")}, {"names": ("b", "c")}),
        ({"names": ("a", "@b")}, {"names": ("@a", "b")}),
        ({"names": ("a", "b")}, {"names": ("a", "b"), "backend": BackendSettings(mtu=1300)}),
        ({"names": ("a", "b")}, {"names": ("a", "b"), "cni": CniSettings(hairpin=False)}),
        ({"names": ("a", "b")}, {"names": ("a", "b"), "cni": CniSettings(type="ptp")}),
        ({"names": ("a",), "cni": CniSettings(type="ptp")}, {"names": ("a", "b")}),
        ({"names": ("a", "b")}, {"names": ("a", "b"), "cni": CniSettings(bridge="br-pods")}),
        ({"names": ("a", "b")}, {"names": ("a", "b"), "cni": CniSettings(name="other")}),
        ({"names": ("a", "b")}, {"names": ("a", "b"), "block": "10.244.77.0/24"}),
    ],
)
def test_check_mode_foretells_every_change(lab: Cluster, first: Dict[str, Any], second: Dict[str, Any]) -> None:
    def made(names: tuple[str, ...], block: Optional[str] = None, **changes: Any) -> Cluster:
        cluster = declare(lab, *names, **changes)
        if block is None:
            return cluster
        return replace(cluster, nodes=(replace(cluster.node(NODE), pod_cidrs=(ip_network(block),)),))

    reconcile(made(**first))
    before = look(lab)
    target = made(**second)
    foretold = reconcile(target, check=True)
    assert look(lab) == before
    assert foretold.changed
    assert reconcile(target).lines == foretold.lines
    is_sound(target)
    inside(lab, pods.detach_all, target, NODE)


def test_an_mtu_changes_in_place(lab: Cluster) -> None:
    cluster = declare(lab, "a", "b")
    reconcile(cluster)
    before = look(lab)
    lines = reconcile(replace(cluster, backend=BackendSettings(mtu=1300))).lines
    assert sum("mtu 1450 -> 1300" in line for line in lines) == 5
    assert look(lab) == before


@pytest.mark.parametrize(
    "harm",
    [
        "ip -n a link del eth0",
        "ip -n a link set eth0 down",
        "ip -n a addr flush dev eth0",
        "ip link del cni0",
        "ip addr replace 10.244.99.1/24 dev cni0",
        "rm -r /var/lib/cni/results",
        "rm -r /var/lib/cni/networks",
        "rm /etc/cni/net.d/10-podwire.conflist",
        "sysctl -qw net.ipv4.ip_forward=0",
    ],
)
def test_harm_is_mended_by_one_run(lab: Cluster, harm: str) -> None:
    cluster = declare(lab, "a", "b")
    reconcile(cluster)
    inside(lab, subprocess.check_call, harm.split())
    assert reconcile(cluster).changed
    is_sound(cluster)


def test_a_sandbox_that_died_is_replaced_and_its_address_released(lab: Cluster) -> None:
    cluster = declare(lab, "a", "b")
    reconcile(cluster)
    inside(lab, lambda: os.kill(sandboxes.running()["a"].pid, signal.SIGKILL))
    lines = reconcile(cluster).lines
    assert lines == ("- pod a", "+ pod a 10.244.11.4")
    is_sound(cluster)


def test_one_pod_that_cannot_be_attached_does_not_keep_the_others(lab: Cluster) -> None:
    inside(lab, sandboxes.start, [Pod("b", NODE)])
    inside(lab, subprocess.check_call, ["ip", "-n", "b", "link", "add", "eth0", "type", "bridge"])
    cluster = declare(lab, "a", "b", "c")
    with pytest.raises(LabError, match=r"failed to attach 1 of 3 pods on node-1: b: eth0 already exists in b"):
        reconcile(cluster)
    assert len(look(lab).veths) == 2
    inside(lab, subprocess.check_call, ["ip", "-n", "b", "link", "del", "eth0"])
    assert reconcile(cluster).lines == ("~ pod b 10.244.11.4",)
    is_sound(cluster)


def traced(cluster: Cluster, at: int) -> int:
    death = Death(at)
    sys.settrace(death)
    try:
        pods.reconcile(cluster, NODE)
    finally:
        sys.settrace(None)
    return death.count


def test_a_kill_at_any_point_is_mended_by_the_next_run(lab: Cluster) -> None:
    """Two sets of pods by turns: each run detaches, attaches and keeps. The kills are spread over all its lines."""
    first, second = declare(lab, "a", "b", "c"), declare(lab, "b", "d", "e")
    reconcile(first)
    total = inside(lab, traced, second, 0)
    assert total > 5000
    for number in range(40):
        cluster = (first, second)[number % 2]
        with pytest.raises(LabError, match="its process died"):
            inside(lab, traced, cluster, 1 + total * number // 41)
        assert len(set(look(lab).leases.values())) == len(look(lab).leases)
        reconcile(cluster)
        is_sound(cluster)


def test_two_nodes_change_podcidrs_for_each_others() -> None:
    """The old bridge's route and the old VTEP's address are in the way of the new owner's."""
    nodes = (make_node("node-1", 11), make_node("node-2", 12))
    swapped = tuple(replace(node, pod_cidrs=other.pod_cidrs) for node, other in zip(nodes, reversed(nodes)))
    declared = (Pod("a", "node-1"), Pod("b", "node-2"))
    lab = replace(make_cluster(*nodes), pods=declared)
    try:
        for cluster in (lab, replace(lab, nodes=swapped)):
            netns.present(cluster)
            for expected in (True, False):
                for stage in (doors.node, doors.attach):
                    for node in nodes:
                        pid = pid_of(cluster, node.name)
                        assert enter.call(pid, stage, cluster, node.name, {}, True)["changed"] is expected
                        assert enter.call(pid, stage, cluster, node.name, {}, False)["changed"] is expected
            (target,) = enter.call(pid_of(cluster, "node-2"), pods.reconcile, cluster, "node-2").results["b"]
            assert (
                json.loads(run(cluster, "node-1", f"ip netns exec a curl -s --max-time 5 {target}:8080"))["pod"] == "b"
            )
    finally:
        netns.absent(lab.id)
