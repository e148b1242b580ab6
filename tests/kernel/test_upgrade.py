"""Another podwire, and another cniVersion, take over pods that run: what the old attached is checked and deleted."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List

import pytest

from podwire.cni.plugins import PLUGINS
from podwire.cni.runtime.runtime import Runtime
from podwire.cni.spec.netconf import Attachment
from podwire.cni.spec.netlist import parse_list
from podwire.intent.cluster import Cluster, Pod
from podwire.intent.cluster_json import cluster_to_json
from podwire.kernel import enter
from podwire.lab import netns
from podwire.sandbox import conflist, sandboxes
from podwire.stages import node as stages

from . import older
from .labs import make_cluster, make_node, pid_of
from .older import CLI, ROOT, unpack

NODE = "node-1"
#: Old podwires: the last one before nodes kept their intent, and the last one before modules were moved.
OLD = ("1d04790", "7f04e8c")
_STAGES = """
import sys
sys.path.insert(0, sys.argv[1])
from podwire.doors.node import STAGES, load
import podwire
assert podwire.__file__.startswith(sys.argv[1])
for stage in ("node", "attach"):
    print(STAGES[stage](load(sys.argv[2]), sys.argv[3], {}, False))
"""


@pytest.fixture(scope="module")
def old(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """podwire as it was."""
    return unpack(request.param, tmp_path_factory.mktemp("old"), "podwire")


@pytest.fixture(scope="module")
def lab() -> Iterator[Cluster]:
    """A node that is there and empty."""
    cluster = make_cluster(make_node(NODE, 11), make_node("node-2", 12))
    cluster = replace(cluster, pods=(Pod("pod-a", NODE), Pod("pod-c", NODE)))
    try:
        netns.present(cluster)
        yield cluster
    finally:
        netns.absent(cluster.id)


def inside(cluster: Cluster, function: Any, *arguments: Any) -> Any:
    return enter.call(pid_of(cluster, NODE), function, *arguments)


def python(cluster: Cluster, code: str, *arguments: str, **environment: str) -> str:
    """Run code on the node in an interpreter of its own."""
    return str(inside(cluster, lambda: older.python(code, *arguments, **environment)))


def containers(cluster: Cluster) -> Dict[str, str]:
    found = inside(cluster, sandboxes.running)
    return {name: each.container_id for name, each in found.items()}


@pytest.mark.parametrize("old", OLD, indirect=True)
def test_pods_of_an_older_podwire_are_kept_checked_and_deleted(lab: Cluster, old: Path, tmp_path: Path) -> None:
    intent = tmp_path / "intent.json"
    intent.write_text(json.dumps(cluster_to_json(lab)))
    python(lab, _STAGES, str(old), str(intent), NODE)
    before = containers(lab)
    assert set(before) == {"pod-a", "pod-c"}

    def check() -> List[str]:
        attachments = [Attachment(each.container_id, "eth0", each.netns) for each in sandboxes.running().values()]
        assert len(attachments) == 2
        return [str(error) for error in Runtime(conflist.declared(lab, NODE), PLUGINS).check(attachments).values()]

    assert inside(lab, check) == []
    for stage in ("node", "attach"):
        answer = inside(lab, stages.STAGES[stage], lab, NODE, {"diff": True}, False)
        assert not [line for each in answer["diff"] for line in each["prepared"].splitlines() if "pod pod-" in line]
    assert containers(lab) == before
    gone = replace(lab, pods=())
    inside(lab, stages.STAGES["attach"], gone, NODE, {}, False)
    left = inside(
        lab, lambda: (os.listdir("/var/lib/cni/results"), os.listdir("/run/netns"), os.listdir("/sys/class/net"))
    )
    assert left[:2] == ([], [])
    assert not [name for name in left[2] if name.startswith("veth")]


@pytest.mark.parametrize(
    ("old", "versions"),
    [
        (OLD[0], ("0.4.0", "1.1.0")),
        (OLD[0], ("1.0.0", "1.1.0")),
        (OLD[0], ("0.3.1", "1.0.0")),
        (OLD[1], ("0.4.0", "1.1.0")),
    ],
    indirect=["old"],
)
def test_executables_and_cni_version_change_under_a_container(
    lab: Cluster, old: Path, tmp_path: Path, versions: tuple[str, str]
) -> None:
    """As on a node of Kubernetes: executables are replaced in place, then the list, then CHECK and DEL come."""
    plugins, network = str(tmp_path / "bin"), tmp_path / "10-net.conflist"
    environment = {"CNI_PATH": plugins, "NETCONFPATH": str(tmp_path)}
    conf = {"type": "bridge", "bridge": "up0", "isGateway": True, "ipMasq": True,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.9.0.0/24"}]]}}  # fmt: skip

    chained = [] if versions[0] == "0.3.1" else [{"type": "firewall"}]  # which begins with 0.4.0

    def write(version: str) -> None:
        network.write_text(json.dumps({"cniVersion": version, "name": "upnet", "plugins": [conf, *chained]}))

    write(versions[0])
    python(lab, CLI, str(old), "cni-install", plugins)
    inside(lab, lambda: subprocess.run(["ip", "netns", "add", "c1"], check=True))
    try:
        added = json.loads(python(lab, CLI, str(old), "cni", "add", "upnet", "/run/netns/c1", **environment))
        python(lab, CLI, str(ROOT), "cni-install", plugins)
        write(versions[1])
        python(lab, CLI, str(ROOT), "cni", "check", "upnet", "/run/netns/c1", **environment)
        python(lab, CLI, str(ROOT), "cni", "del", "upnet", "/run/netns/c1", **environment)
    finally:
        inside(lab, lambda: subprocess.run(["ip", "netns", "delete", "c1"], check=True))
    assert added["cniVersion"] == versions[0]
    left = inside(
        lab, lambda: (os.listdir("/var/lib/cni/results"), subprocess.getoutput("ip -o link; nft list ruleset"))
    )
    assert left[0] == []
    assert "veth" not in left[1].replace("veth@", "")
    assert "10.9.0." not in left[1], "a rule is left"
    held = inside(lab, lambda: [name for name in os.listdir("/var/lib/cni/networks/upnet") if name[0].isdigit()])
    assert held == []


def test_a_cached_result_of_each_older_version_is_understood(lab: Cluster) -> None:
    """The runtime's own, in this process: the list says 1.1.0 now, and the result was kept as the list said before."""
    for version in ("0.3.0", "0.3.1", "0.4.0", "1.0.0"):

        def change(version: str = version) -> List[str]:
            subprocess.run(["ip", "netns", "add", "c2"], check=True)
            data = json.loads(conflist.declared(lab, NODE).source)
            there = Attachment("container-2", "eth0", "/run/netns/c2")
            first = Runtime(parse_list(json.dumps({**data, "cniVersion": version})), PLUGINS)
            second = Runtime(parse_list(json.dumps({**data, "cniVersion": "1.1.0"})), PLUGINS)
            assert not first.add([there]).errors
            errors = [*second.check([there]).values(), *second.delete([there]).values()]
            subprocess.run(["ip", "netns", "delete", "c2"], check=True)
            return [str(error) for error in errors] + os.listdir("/var/lib/cni/results")

        assert inside(lab, change) == []
