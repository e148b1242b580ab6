"""Reconciling a node's pods with foreign plugins: from podwire's own to the reference's and back, after harm, after
kills, and with a list given to the module."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict

import pytest

from podwire.errors import LabError
from podwire.intent.cluster import Cluster, CniSettings, Pod
from podwire.kernel import enter
from podwire.lab import netns
from podwire.sandbox import pods
from podwire.sandbox.pods import PodsOutcome
from podwire.stages import node as doors
from tests.death import Death
from tests.kernel.labs import make_cluster, make_node, pid_of, run

NODE = "node-1"
GO = "/usr/lib/cni"
LIST = {
    "cniVersion": "1.0.0",
    "name": "podwire",
    "plugins": [{"type": "bridge", "bridge": "cni0", "isGateway": True, "ipam": {"type": "host-local"}}],
}
FOREIGN = CniSettings(conflist=json.dumps(LIST), plugin_dirs=(GO,))
OWN = CniSettings()
pytestmark = pytest.mark.skipif(
    not os.path.exists(f"{GO}/bridge"), reason="needs Go's plugins: apt-get install containernetworking-plugins"
)


@pytest.fixture
def lab() -> Iterator[Cluster]:
    cluster = make_cluster(make_node(NODE, 11))
    netns.present(cluster)
    yield cluster
    netns.absent(cluster.id)


def inside(cluster: Cluster, function: Callable[..., Any], *arguments: Any) -> Any:
    return enter.call(pid_of(cluster, NODE), function, *arguments)


def declare(cluster: Cluster, cni: CniSettings, *names: str) -> Cluster:
    return replace(cluster, cni=cni, pods=tuple(Pod(name, NODE) for name in names))


def reconcile(cluster: Cluster, check: bool = False) -> PodsOutcome:
    outcome = inside(cluster, lambda: pods.reconcile(cluster, NODE, check=check))
    assert isinstance(outcome, PodsOutcome)
    return outcome


def leases(cluster: Cluster) -> Dict[str, str]:
    """Address to container."""
    folder = Path(f"/proc/{pid_of(cluster, NODE)}/root/var/lib/cni/networks/podwire")
    return {each.name: each.read_text().split()[0] for each in folder.iterdir() if each.name[0].isdigit()}


def is_sound(cluster: Cluster) -> None:
    """Every pod has one address and veth, and answers; a second run finds nothing to do."""
    outcome = reconcile(cluster)
    assert outcome.lines == () and reconcile(cluster, check=True).lines == ()
    assert {ips[0] for ips in outcome.results.values()} == set(leases(cluster))
    links = json.loads(run(cluster, NODE, "ip -j link show type veth"))
    assert sum(each.get("master") == "cni0" for each in links) == len(cluster.pods)
    for name, ips in outcome.results.items():
        said = json.loads(run(cluster, NODE, f"curl -s --max-time 5 {ips[0]}:8080"))
        assert said["pod"] == name


def test_from_podwire_s_own_plugins_to_others_and_back(lab: Cluster) -> None:
    for cni in (OWN, FOREIGN, replace(FOREIGN, plugin_dirs=()), FOREIGN, OWN):
        cluster = declare(lab, cni, "a", "b")
        assert reconcile(cluster, check=True).changed
        assert reconcile(cluster).changed
        is_sound(cluster)


@pytest.mark.parametrize(
    "harm",
    [
        "ip -n a link del eth0",
        "ip -n a addr flush dev eth0",
        "ip link del cni0",
        "rm -r /var/lib/cni/results",
        "rm -r /var/lib/cni/networks",
    ],
)
def test_harm_is_mended_by_one_run(lab: Cluster, harm: str) -> None:
    cluster = declare(lab, FOREIGN, "a", "b")
    reconcile(cluster)
    run(cluster, NODE, harm)
    assert reconcile(cluster).changed
    is_sound(cluster)


def test_a_plugin_that_refuses_names_the_pod(lab: Cluster, tmp_path: Path) -> None:
    script = tmp_path / "picky"
    script.write_text('#!/bin/sh\n[ "$CNI_COMMAND" = ADD ] || exit 0\necho \'{"code": 11, "msg": "later"}\'; exit 1\n')
    script.chmod(0o755)
    both = {**LIST, "plugins": [*LIST["plugins"], {"type": "picky"}]}
    cluster = declare(lab, CniSettings(conflist=json.dumps(both), plugin_dirs=(GO, str(tmp_path))), "a")
    with pytest.raises(LabError, match=r"failed to attach 1 of 1 pods on node-1: a: later"):
        reconcile(cluster)
    assert leases(cluster) == {}
    cluster = declare(lab, FOREIGN, "a")
    reconcile(cluster)
    is_sound(cluster)


def test_a_list_given_to_the_module_goes_before_the_intent_s(lab: Cluster, tmp_path: Path) -> None:
    cluster = declare(lab, OWN, "a")
    options = {"conflist": LIST, "plugin_dirs": [GO]}
    pid = pid_of(cluster, NODE)
    for expected in (True, False):
        assert enter.call(pid, doors.attach, cluster, NODE, options, False)["changed"] is expected
    path = tmp_path / "10-podwire.conflist"
    path.write_text(json.dumps(LIST))
    options = {"conflist": str(path), "plugin_dirs": [GO]}
    enter.call(pid, doors.attach, cluster, NODE, options, False)
    assert enter.call(pid, doors.attach, cluster, NODE, options, True)["changed"] is False


def traced(cluster: Cluster, at: int) -> int:
    death = Death(at)
    sys.settrace(death)
    try:
        pods.reconcile(cluster, NODE)
    finally:
        sys.settrace(None)
    return death.count


def test_a_kill_at_any_point_is_mended_by_the_next_run(lab: Cluster) -> None:
    first, second = declare(lab, FOREIGN, "a", "b"), declare(lab, FOREIGN, "b", "c")
    reconcile(first)
    total = inside(lab, traced, second, 0)
    for number in range(15):
        cluster = (first, second)[number % 2]
        with pytest.raises(LabError, match="its process died"):
            inside(lab, traced, cluster, 1 + total * number // 16)
        reconcile(cluster)
        is_sound(cluster)
