"""Labs of netns nodes on a real kernel: what a node is, what comes back, what is left behind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_interface
from pathlib import Path

import pytest

from podwire.errors import ConflictError, LabError
from podwire.intent.cluster import Cluster, Underlay
from podwire.kernel import enter
from podwire.kernel.namespaces import CLONE_NEWNS, MS_PRIVATE, MS_REC, Namespace, mount, unshare
from podwire.lab import netns, registry
from podwire.sandbox.process import Process, kill, start_time
from podwire.sandbox.spawn import spawned
from podwire.stages.controller import lab as stages
from tests.kernel.labs import LAN, make_cluster, make_node, pid_of, racks, run, talks, wait_until


@pytest.fixture
def build() -> Iterator[Callable[[Cluster], Cluster]]:
    """``build(cluster)`` brings a lab up, to be removed at the end."""
    built = set()

    def up(cluster: Cluster) -> Cluster:
        built.add(cluster.id)
        netns.present(cluster)
        return cluster

    yield up
    for identity in built:
        netns.absent(identity)


@pytest.fixture
def lab(build: Callable[[Cluster], Cluster]) -> Cluster:
    """Two nodes on one segment."""
    return build(make_cluster(make_node("node-1", 11), make_node("node-2", 12)))


def test_nodes_talk_by_name_in_both_families(lab: Cluster) -> None:
    assert talks(lab, "node-1", "node-2", 4)
    assert talks(lab, "node-2", "node-1", 6)


def test_nodes_of_two_racks_talk_through_the_router(build: Callable[[Cluster], Cluster]) -> None:
    lab = build(racks())
    assert run(lab, "node-1", "ip -6 addr show tentative") == ""  # nothing waits for duplicate address detection
    assert talks(lab, "node-1", "node-2", 4)
    assert talks(lab, "node-1", "node-2", 6)


def test_a_node_has_a_name_and_a_system_of_its_own(lab: Cluster) -> None:
    assert run(lab, "node-1", "hostname") == "node-1\n"
    assert run(lab, "node-1", "cat /etc/hostname") == "node-1\n"
    assert run(lab, "node-1", "cat /proc/1/comm") == "node-1\n"
    assert run(lab, "node-1", "ls /sys/class/net").split() == ["eth0", "lo"]
    assert run(lab, "node-1", "ls /run").split() == ["lock", "netns", "podwire"]
    for private in ("/etc/cni", "/etc/podwire", "/var/lib/cni", "/var/lib/podwire"):
        assert run(lab, "node-1", f"find {private} -type f") == ""


def test_what_a_node_writes_is_its_own(lab: Cluster) -> None:
    for path in ("/etc/cni/net.d/x", "/etc/podwire-x", "/var/lib/cni/x", "/run/x"):
        run(lab, "node-1", f"touch {path}")
        assert run(lab, "node-1", f"find {path}") == path + "\n"
        with pytest.raises(subprocess.CalledProcessError):
            run(lab, "node-2", f"find {path}")
        assert not os.path.exists(path)


def test_the_host_keeps_what_it_has_for_cni_to_itself() -> None:
    """In a mount namespace of the test's own, where the host can have such directories."""

    def scene() -> int:
        unshare(CLONE_NEWNS)
        mount("none", "/", flags=MS_REC | MS_PRIVATE)
        mount("tmpfs", "/var/lib", "tmpfs")
        os.makedirs("/var/lib/cni/networks/host")
        lab = make_cluster(make_node("node-1", 11))
        try:
            netns.present(lab)
            hidden = run(lab, "node-1", "ls /var/lib/cni") == ""
            run(lab, "node-1", "touch /var/lib/cni/mine")
            return 0 if hidden and os.listdir("/var/lib/cni") == ["networks"] else 2
        finally:
            netns.absent(lab.id)

    child = os.fork()
    if child == 0:
        try:
            os._exit(scene())
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_hosts_directories_stay_as_they_were(build: Callable[[Cluster], Cluster]) -> None:
    before = [sorted(os.listdir(path)) for path in ("/etc", "/var/lib", "/sys/class/net")]
    lab = build(make_cluster(make_node("node-1", 11)))
    netns.absent(lab.id)
    assert [sorted(os.listdir(path)) for path in ("/etc", "/var/lib", "/sys/class/net")] == before


def test_a_holder_keeps_nothing_of_who_started_it(build: Callable[[Cluster], Cluster]) -> None:
    kept = os.open("/proc/self/status", os.O_RDONLY)
    os.set_inheritable(kept, True)
    try:
        pid = pid_of(build(make_cluster(make_node("node-1", 11))), "node-1")
    finally:
        os.close(kept)
    descriptors = Path(f"/proc/{pid}/fd")
    wait_until(lambda: {os.readlink(each) for each in descriptors.iterdir()} == {"/dev/null"})
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.getsid(pid) == pid
    assert os.readlink(f"/proc/{pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt")


def test_orphans_are_reaped(lab: Cluster) -> None:
    def leave_an_orphan() -> int:
        reader, writer = os.pipe()
        if os.fork() == 0:
            orphan = os.fork()
            if orphan:
                os.write(writer, str(orphan).encode())
            os._exit(0)
        os.wait()
        return int(os.read(reader, 20))

    def is_gone(pid: int) -> bool:
        return not os.path.exists(f"/proc/{pid}")

    pid = enter.call(pid_of(lab, "node-1"), leave_an_orphan)
    wait_until(lambda: enter.call(pid_of(lab, "node-1"), is_gone, pid))


def test_the_second_run_changes_nothing(lab: Cluster) -> None:
    assert netns.present(lab, check=True).lines == ()
    assert netns.present(lab).lines == ()


def test_check_mode_says_what_would_be_made_and_makes_nothing() -> None:
    cluster = make_cluster(make_node("node-1", 11))
    lines = netns.present(cluster, check=True).lines
    assert "+ node node-1" in lines
    assert any(line.startswith("node-1: + address 172.30.0.11/24") for line in lines)
    assert not os.path.exists(registry.run_dir(cluster.id))
    assert registry.node_pid(cluster.id, "node-1") is None


def test_a_node_that_died_is_made_anew_alone(lab: Cluster) -> None:
    other, pid = pid_of(lab, "node-2"), pid_of(lab, "node-1")
    assert talks(lab, "node-1", "node-2", 4)  # so that node-2 knows node-1's MAC address
    with Namespace.open(f"/proc/{pid}/ns/net", "kept"):  # its end of the veth pair lives as long as this
        kill([Process.of(pid)])
        lines = netns.present(lab).lines
    assert lines[0] == "+ node node-1"
    assert not any(line.startswith("node-2") for line in lines)
    assert pid_of(lab, "node-2") == other
    assert talks(lab, "node-2", "node-1", 4)


def test_a_switch_that_died_takes_no_node_with_it(lab: Cluster) -> None:
    pids = [pid_of(lab, name) for name in ("node-1", "node-2")]
    recorded = registry.read(lab.id)
    assert recorded
    switch = recorded.processes["underlay switch"]
    with Namespace.open(f"/proc/{switch.pid}/ns/net", "kept"):
        kill([switch])
        netns.present(lab)
    assert [pid_of(lab, name) for name in ("node-1", "node-2")] == pids
    assert talks(lab, "node-1", "node-2", 6)


def test_a_node_that_is_declared_no_more_goes(lab: Cluster) -> None:
    pid = pid_of(lab, "node-2")
    fewer = replace(lab, nodes=lab.nodes[:1])
    assert netns.present(fewer, limit={"node-1"}).lines == ("node-1: ~ file /etc/hosts",)
    assert pid_of(lab, "node-2") == pid
    assert "- node node-2" in netns.present(fewer, check=True).lines
    assert "- node node-2" in netns.present(fewer).lines
    assert registry.node_pid(lab.id, "node-2") is None
    assert netns.present(fewer).lines == ()


def test_limit_makes_only_the_nodes_it_names(build: Callable[[Cluster], Cluster]) -> None:
    one = make_node("node-1", 11)
    lab = build(make_cluster(one))
    more = replace(lab, nodes=(one, make_node("node-2", 12), make_node("node-3", 13)))
    netns.present(more, limit={"node-2"})
    assert registry.node_pid(lab.id, "node-3") is None
    assert talks(lab, "node-2", "node-1", 4)
    netns.present(more)
    assert talks(lab, "node-3", "node-2", 4)


@pytest.mark.parametrize(
    "harm",
    [
        "ip link set eth0 mtu 1400",
        "ip addr del 172.30.0.11/24 dev eth0",
        "ip addr add 192.0.2.1/32 dev eth0",
        "ip link set eth0 down",
        "ip link set lo down",
        "ip link del eth0",
    ],
)
def test_harm_to_a_nodes_port_is_mended(lab: Cluster, harm: str) -> None:
    run(lab, "node-1", harm)
    outcome = netns.present(lab)
    assert outcome.changed
    assert netns.present(lab).lines == ()
    assert talks(lab, "node-1", "node-2", 4)
    assert talks(lab, "node-1", "node-2", 6)


def test_what_is_declared_anew_is_changed_in_place(lab: Cluster) -> None:
    pid = pid_of(lab, "node-1")
    address = ip_interface("172.30.0.99/24")
    node = lab.nodes[0]
    port = replace(node.ports[0], addresses=(address, *node.addresses[1:]))
    moved = replace(node, addresses=port.addresses, public_ips=(address.ip, *node.public_ips[1:]), ports=(port,))
    segment = replace(LAN, mtu=1400)
    nodes = tuple(replace(each, mtu=1400) for each in (moved, lab.nodes[1]))
    changed = replace(lab, nodes=nodes, underlay=Underlay((segment,)))
    netns.present(changed)
    assert pid_of(lab, "node-1") == pid
    assert "mtu 1400" in run(lab, "node-1", "ip link show eth0")
    assert "172.30.0.11/" not in run(lab, "node-1", "ip -4 addr")
    assert talks(changed, "node-2", "node-1", 4)


def test_a_segment_that_is_declared_no_more_goes(build: Callable[[Cluster], Cluster]) -> None:
    lab = build(racks())
    joined = replace(lab, nodes=lab.nodes[:1], underlay=Underlay(lab.underlay.segments[:1]))
    netns.present(joined)
    recorded = registry.read(lab.id)
    assert recorded and set(recorded.processes) == {"underlay switch", "node-1"}
    switch = recorded.processes["underlay switch"].pid
    links = enter.call(switch, lambda: {name for _, name in socket.if_nameindex()})
    assert links == {"lo", "br-rack-a", "node-1.eth0"}
    assert netns.present(joined).lines == ()


def test_routes_of_others_over_the_nodes_port_stay(lab: Cluster) -> None:
    run(lab, "node-1", "ip route add 10.244.12.0/24 via 172.30.0.12 dev eth0 proto 112")
    run(lab, "node-1", "ip route add 192.0.2.0/24 via 172.30.0.12 dev eth0")
    assert netns.present(lab).lines == ()


def test_a_foreign_default_route_is_a_conflict(build: Callable[[Cluster], Cluster]) -> None:
    lab = build(racks())
    run(lab, "node-1", "ip route replace default via 172.30.1.9 dev eth0 proto static")
    with pytest.raises(ConflictError, match="failed to converge node-1"):
        netns.present(lab)


@pytest.mark.skipif(not os.path.isdir("/proc/sys/net/bridge"), reason="br_netfilter is not loaded")
def test_the_switch_does_not_hand_frames_to_iptables(lab: Cluster) -> None:
    recorded = registry.read(lab.id)
    assert recorded
    path = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    assert enter.call(recorded.processes["underlay switch"].pid, path.read_text) == "0\n"


def test_two_labs_with_the_same_names_and_addresses_stay_apart(build: Callable[[Cluster], Cluster]) -> None:
    nodes = (make_node("node-1", 11), make_node("node-2", 12))
    one, other = build(make_cluster(*nodes)), build(make_cluster(*nodes))
    assert pid_of(one, "node-1") != pid_of(other, "node-1")
    assert talks(one, "node-1", "node-2", 4)
    netns.absent(one.id)
    assert talks(other, "node-1", "node-2", 4)
    assert netns.present(other).lines == ()


def test_absent_removes_all_and_nothing_twice(lab: Cluster) -> None:
    recorded = registry.read(lab.id)
    assert recorded
    os.makedirs(registry.state_dir(lab.id), exist_ok=True)
    assert len(netns.absent(lab.id, check=True).lines) == 5
    assert recorded.running() == recorded.processes
    assert netns.absent(lab.id).changed
    assert recorded.running() == {}
    assert not os.path.exists(registry.run_dir(lab.id))
    assert not os.path.exists(registry.state_dir(lab.id))
    assert netns.absent(lab.id).lines == ()


def test_all_of_a_nodes_processes_end_with_it(lab: Cluster) -> None:
    pid = pid_of(lab, "node-1")
    reader, writer = os.pipe()
    visitor = os.fork()
    if visitor == 0:
        try:
            enter.call(pid, lambda: [os.write(writer, b"."), time.sleep(60)])
        except LabError:
            os._exit(0)
        finally:
            os._exit(1)
    os.read(reader, 1)
    netns.absent(lab.id)
    assert os.waitstatus_to_exitcode(os.waitpid(visitor, 0)[1]) == 0
    os.close(reader)
    os.close(writer)


def test_a_recorder_that_dies_half_way_leaves_no_process() -> None:
    """The starter has started them, they report, and then nobody acknowledges."""
    reader, writer = os.pipe()
    recorder = os.fork()
    if recorder == 0:
        try:
            with spawned(
                "podwire.lab.holder",
                "test",
                [{"name": "a", "files": True, "plugins": ""}, {"name": "b", "files": False, "plugins": ""}],
            ) as pids:
                os.write(writer, " ".join(map(str, pids)).encode())
                os.kill(os.getpid(), 9)
        finally:
            os._exit(1)
    os.waitpid(recorder, 0)
    os.close(writer)
    pids = [int(pid) for pid in os.read(reader, 100).split()]
    os.close(reader)
    assert len(pids) == 2
    for pid in pids:
        wait_until(lambda pid=pid: start_time(pid) is None)  # type: ignore[misc]


def test_two_runs_at_once_do_not_mix(lab: Cluster) -> None:
    with registry.locked(lab.id), pytest.raises(LabError, match="another run is at work"):
        netns.present(lab)


def test_errors_come_back_from_a_node_as_they_were(lab: Cluster) -> None:
    def fail() -> None:
        raise LabError("failed to x: y", "do z")

    with pytest.raises(LabError) as caught:
        enter.call(pid_of(lab, "node-1"), fail)
    assert (caught.value.message, caught.value.hint) == ("failed to x: y", "do z")
    assert "in fail" in str(caught.value.__cause__)


def test_inside_a_call_process_ids_are_the_nodes(lab: Cluster) -> None:
    namespaces = {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")}

    def look() -> tuple[bool, str, str]:
        own = os.readlink("/proc/self") == str(os.getpid())
        return own, os.readlink("/proc/self/ns/pid"), os.readlink("/proc/1/ns/pid")

    own, mine, first = enter.call(pid_of(lab, "node-1"), look)
    assert own
    assert mine == first != namespaces["pid"]
    assert {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")} == namespaces


def test_a_function_whose_process_dies_is_an_error(lab: Cluster) -> None:
    with pytest.raises(LabError, match="its process died"):
        enter.call(pid_of(lab, "node-1"), lambda: os.kill(os.getpid(), 9))


def test_nodes_show_the_plugins_installed_once_for_all(build: Callable[[Cluster], Cluster]) -> None:
    cluster = make_cluster(make_node("node-1", 11), make_node("node-2", 12))
    before = sorted(os.listdir("/opt"))
    assert stages.plugins(cluster, True)["changed"]
    assert stages.plugins(cluster, False)["changed"]
    assert not stages.plugins(cluster, False)["changed"]
    build(cluster)
    for node in ("node-1", "node-2"):
        said = run(cluster, node, "env -i CNI_COMMAND=VERSION /opt/cni/bin/bridge")
        assert "1.1.0" in json.loads(said)["supportedVersions"]
        assert run(cluster, node, "sh -c 'touch /opt/cni/bin/x 2>/dev/null || echo read-only'") == "read-only\n"
    assert sorted(os.listdir("/opt")) == before
