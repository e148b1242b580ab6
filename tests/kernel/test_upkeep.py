"""A node by itself: ``podwire apply`` brings back what is lost, ``--watch`` when it is lost, and nothing more."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, List

import pytest

from podwire.agent import intent_store
from podwire.agent.apply import apply
from podwire.backend import BackendSettings
from podwire.cni.plugins import PLUGINS
from podwire.cni.runtime.runtime import Runtime
from podwire.cni.spec.netconf import Attachment
from podwire.errors import PodwireError
from podwire.intent.cluster import Cluster, Pod
from podwire.intent.cluster_json import cluster_to_json
from podwire.kernel import enter
from podwire.kernel.namespaces import MNT_DETACH, umount
from podwire.lab import netns
from podwire.model.objects import FAULT_JOURNAL
from podwire.sandbox import conflist, sandboxes
from podwire.stages import node as doors
from tests.kernel.labs import make_cluster, make_node, pid_of, run

NODE = "node-1"
ROOT = Path(__file__).resolve().parents[2]
PODWIRE = [sys.executable, "-c", "import sys; from podwire.cli import main; sys.exit(main())"]
DAMAGE = [
    "ip link delete flannel.1",
    "ip link delete cni0",
    "ip link set flannel.1 down && ip link set flannel.1 up",
    "ip neigh flush dev flannel.1 nud permanent",
    "ip route flush proto 112",
    "nft flush ruleset",
    "sysctl -q -w net.ipv4.ip_forward=0",
    "ip link set eth0 down && ip link set eth0 up",
]


@pytest.fixture(scope="module")
def lab() -> Iterator[Cluster]:
    """Two nodes with a pod each, as site.yml leaves them."""
    cluster = make_cluster(make_node(NODE, 11), make_node("node-2", 12))
    cluster = replace(cluster, pods=(Pod("pod-a", NODE), Pod("pod-b", "node-2")))
    try:
        netns.present(cluster)
        for node in (NODE, "node-2"):
            for stage in ("node", "attach"):
                answer = enter.call(pid_of(cluster, node), doors.STAGES[stage], cluster, node, {}, False)
                assert answer["changed"]
        yield cluster
    finally:
        netns.absent(cluster.id)


def inside(cluster: Cluster, function: Callable[..., Any], *arguments: Any) -> Any:
    return enter.call(pid_of(cluster, NODE), function, *arguments)


def differs(cluster: Cluster) -> List[str]:
    return list(inside(cluster, lambda: apply(check=True)))


def reaches(cluster: Cluster) -> bool:
    """Whether the pod here gets an answer from the other node's, by way of all that this node has."""
    pid = inside(cluster, lambda: sandboxes.running()["pod-a"].pid)
    fetch = "import urllib.request as r; print(r.urlopen('http://10.244.12.2:8080/', timeout=5).status)"
    command = f"nsenter --net --target {pid} {sys.executable} -c {fetch!r}"
    return run(cluster, NODE, f"sh -c {command!r}" if "'" not in command else command).strip() == "200"


@pytest.mark.parametrize("damage", DAMAGE)
def test_apply_brings_back_what_is_lost_and_then_has_nothing_to_do(lab: Cluster, damage: str) -> None:
    assert differs(lab) == []
    run(lab, NODE, f"sh -ec '{damage}'")
    lost = differs(lab)
    assert lost
    done = inside(lab, apply)
    assert done
    assert set(done) <= set(lost)
    assert differs(lab) == []


def test_plain_routes_come_back_after_a_flap_of_the_interface(lab: Cluster) -> None:
    """The kernel takes routes by a gateway along with the device's carrier, and tells nobody (fib_sync_down_dev)."""
    plain = replace(lab, backend=BackendSettings(type="host-gw"))
    for cluster in (plain, lab):
        for node in (NODE, "node-2"):
            for stage in ("node", "attach"):
                enter.call(pid_of(lab, node), doors.STAGES[stage], cluster, node, {}, False)
        if cluster is plain:
            run(lab, NODE, "sh -ec 'ip link set eth0 down && ip link set eth0 up'")
            assert "+ route 10.244.12.0/24 via 172.30.0.12 dev eth0 proto 112" in inside(lab, apply)
            assert reaches(lab)
    assert differs(lab) == []


def test_the_controller_and_the_node_agree(lab: Cluster) -> None:
    """What is kept is what is declared: neither finds anything to do after the other."""
    assert inside(lab, apply) == []
    for stage in ("node", "attach"):
        assert not enter.call(pid_of(lab, NODE), doors.STAGES[stage], lab, NODE, {}, True)["changed"]
    bigger = replace(lab, nodes=(*lab.nodes, make_node("node-3", 13)))
    told = enter.call(pid_of(lab, NODE), doors.STAGES["node"], bigger, NODE, {"diff": True}, True)
    assert f"~ file {intent_store.INTENT}" in told["diff"][0]["prepared"]


def test_an_intent_that_came_without_the_controller_is_taken_and_kept(lab: Cluster) -> None:
    bigger = replace(lab, nodes=(*lab.nodes, make_node("node-3", 13)))

    def take(cluster: Cluster, node: str = "") -> List[str]:
        path = Path("/run/intent.json")
        path.write_text(json.dumps(cluster_to_json(cluster)))
        return apply(intent=str(path), node=node)

    lines = inside(lab, take, bigger)
    assert any(line.startswith("+ route 10.244.13.0/24") for line in lines)
    assert f"~ file {intent_store.INTENT} mode 0600" in lines
    assert inside(lab, apply) == []
    assert not any("pod pod-" in line for line in lines), "pods have nothing to do with it"
    with pytest.raises(PodwireError, match="no node nobody"):
        inside(lab, take, bigger, "nobody")
    assert any(line.startswith("- route 10.244.13.0/24") for line in inside(lab, take, lab))
    assert enter.call(pid_of(lab, NODE), doors.STAGES["node"], lab, NODE, {}, True)["changed"] is False


def test_after_a_reboot_declared_pods_come_back_too(lab: Cluster) -> None:
    def reboot() -> None:
        """What a reboot takes: processes, /run, and everything in the kernel."""
        for each in sandboxes.recorded().values():
            os.kill(each.pid, signal.SIGKILL)
            umount(each.netns, MNT_DETACH)
            os.unlink(each.netns)
        subprocess.run(["rm", "-r", sandboxes.RECORDS, "/run/flannel"], check=True)
        subprocess.run(["sh", "-c", "ip link delete flannel.1; ip link delete cni0; nft flush ruleset"], check=True)

    inside(lab, reboot)
    lines = inside(lab, apply)
    assert any(line.startswith("+ pod pod-a") for line in lines), lines
    assert differs(lab) == []
    assert reaches(lab)


def test_attachments_of_other_runtimes_are_put_right_but_never_made_or_removed(lab: Cluster) -> None:
    """A kubelet's, say: its bridge port comes back to the bridge; what it deletes stays deleted."""

    def attach() -> Attachment:
        subprocess.run(["ip", "netns", "add", "theirs"], check=True)
        there = Attachment("foreign", "eth0", "/run/netns/theirs")
        runtime = Runtime(conflist.declared(lab, NODE), PLUGINS)
        assert not runtime.add([there]).errors
        return there

    def delete(there: Attachment) -> List[str]:
        Runtime(conflist.declared(lab, NODE), PLUGINS).delete([there])
        subprocess.run(["ip", "netns", "delete", "theirs"], check=True)
        return os.listdir("/var/lib/cni/results")

    there = inside(lab, attach)
    assert differs(lab) == []
    run(lab, NODE, "ip link delete cni0")
    assert any("master None -> cni0" in line for line in inside(lab, apply))
    assert inside(lab, lambda: Runtime(conflist.declared(lab, NODE), PLUGINS).check([there])) == {}
    run(lab, NODE, "ip netns exec theirs ip link delete eth0")
    assert differs(lab) == []
    assert not any("foreign" in name for name in inside(lab, delete, there))


@pytest.fixture
def watching(lab: Cluster) -> Iterator[tuple[int, int]]:
    """A watch in the node: its process id, and where its lines come."""
    reader, writer = os.pipe()

    def become() -> int:
        os.dup2(writer, 1)
        os.dup2(writer, 2)
        os.chdir("/")
        os.execve(PODWIRE[0], [*PODWIRE, "apply", "--watch"], {**os.environ, "PYTHONPATH": str(ROOT)})

    child = enter.fork_into(pid_of(lab, NODE), become)
    os.close(writer)
    status = None
    try:
        assert line_with(reader, "watching")
        yield child, reader
    finally:
        os.kill(child, signal.SIGTERM)
        status = os.waitpid(child, 0)[1]
        os.close(reader)
    assert status == 0, "it did not end cleanly"


def line_with(reader: int, word: str) -> str:
    """Everything that was told until a line with a word in it came."""
    told = ""
    while word not in told:
        assert select.select([reader], [], [], 10)[0], f"no {word!r} within 10 s, only {told!r}"
        more = os.read(reader, 65536).decode()
        assert more, f"it ended: {told}"
        told += more
    return told


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        ("ip link set eth0 down && ip -6 address flush dev eth0 && ip link set eth0 up", "address fd00:30::11"),
        ("ip link delete flannel.1", "route 10.244.12.0/24"),
        ("nft flush ruleset", "masquerade"),
    ],
)
def test_the_watch_brings_it_back_by_itself(lab: Cluster, watching: tuple[int, int], damage: str, word: str) -> None:
    _, reader = watching
    run(lab, NODE, f"sh -ec '{damage}'")
    line_with(reader, word)
    assert differs(lab) == []
    assert reaches(lab)


def test_the_watch_lets_alone_what_was_broken_on_purpose(lab: Cluster, watching: tuple[int, int]) -> None:
    """It rests while the journal has a fault of this boot, and looks by itself when that is mended."""
    _, reader = watching
    entry = Path(FAULT_JOURNAL, "route_missing.json")
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def write() -> None:
        entry.parent.mkdir(parents=True, exist_ok=True)
        entry.write_text(json.dumps({"places": {"node": {"identity": f"{boot}/1/"}}}))

    inside(lab, write)
    run(lab, NODE, "ip route flush proto 112")
    line_with(reader, "resting")
    assert differs(lab) != []
    inside(lab, entry.unlink)
    line_with(reader, "+ route 10.244.12.0/24")
    assert differs(lab) == []


def test_a_conflict_is_told_and_healed_when_it_goes(lab: Cluster, watching: tuple[int, int]) -> None:
    _, reader = watching
    run(lab, NODE, "ip route replace 10.244.12.0/24 via 172.30.0.12")
    assert "not own" in line_with(reader, "wanted prefix")
    run(lab, NODE, "ip route delete 10.244.12.0/24 via 172.30.0.12")
    line_with(reader, "+ route 10.244.12.0/24")
    assert differs(lab) == []


def test_no_node_says_so_and_gets_nothing() -> None:
    before = os.path.exists(intent_store.LOCK)
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            "sh",
            "-c",
            'mount -t tmpfs none /etc/podwire 2>/dev/null; exec "$@"',
            "sh",
            *PODWIRE,
            "apply",
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "run site.yml" in done.stderr
    assert os.path.exists(intent_store.LOCK) == before
