"""Preflight finds what really is in the way of nodes, and nothing where nothing is."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Dict, List, Tuple

import pytest

from podwire.intent.cluster import Cluster
from podwire.kernel import enter
from podwire.lab import netns
from podwire.preflight.finding import OK, PROBLEM, WARNING
from podwire.preflight.judge import judge
from podwire.stages import node as doors
from tests.kernel.labs import make_cluster, make_node, pid_of, run

HOSTS = ["node-1", "node-2", "node-3"]
#: This very process, as the kernel calls it.
PROGRAM = Path("/proc/self/comm").read_text().strip()


@pytest.fixture(scope="module")
def lab() -> Iterator[Cluster]:
    cluster = make_cluster(*(make_node(name, number) for number, name in enumerate(HOSTS, 11)))
    try:
        netns.present(cluster)
        yield cluster
    finally:
        netns.absent(cluster.id)


def preflight(cluster: Cluster) -> Dict[str, List[Tuple[Tuple[str, ...], str, str]]]:
    """Every finding by level, as a playbook gets them: all listen, all send, all are asked."""
    told, heard = {}, {}
    name = os.urandom(4).hex()
    for step in ("listen", "send", "collect"):
        for host in HOSTS:
            began = time.time()
            options = {"step": step, "run": name}
            answer = enter.call(pid_of(cluster, host), doors.STAGES["preflight"], cluster, host, options, False)
            assert answer["changed"] is False
            if step == "listen":
                told[host] = {**answer["findings"], "asked": (began, time.time())}
            elif step == "collect":
                heard[host] = answer["heard"]["heard"]
    found: Dict[str, List[Tuple[Tuple[str, ...], str, str]]] = {}
    for nodes, each in judge(cluster, HOSTS, told, heard).rows:
        assert each.level == OK or each.fix
        found.setdefault(each.level, []).append((nodes, each.check, each.text))
    return found


@contextmanager
def damaged(lab: Cluster, node: str, damage: str, cure: str) -> Iterator[None]:
    run(lab, node, f"sh -ec '{damage}'")
    try:
        yield
    finally:
        run(lab, node, f"sh -ec '{cure}'")


def test_nothing_is_in_the_way_before_and_after_and_nothing_is_left(lab: Cluster) -> None:
    for built in (False, True):
        if built:
            for host in HOSTS:
                enter.call(pid_of(lab, host), doors.STAGES["node"], lab, host, {}, False)
        before = [run(lab, host, "sh -c 'ip -o link; ip route; ps -e -o comm; ls -R /run /etc/cni'") for host in HOSTS]
        found = preflight(lab)
        assert PROBLEM not in found, found
        assert any("6 paths between nodes" in text for _, _, text in found[OK])
        after = [run(lab, host, "sh -c 'ip -o link; ip route; ps -e -o comm; ls -R /run /etc/cni'") for host in HOSTS]
        assert after == before


#: Node, what is done there, how it is undone, and the finding: its check and words of its text.
DAMAGES = [
    (
        "node-2",
        "nft add table ip wall; nft add chain ip wall in { type filter hook input priority 0\\; }; "
        "nft add rule ip wall in udp dport 8472 ip saddr 172.30.0.13 drop",
        "nft delete table ip wall",
        ("UDP port", "8472 from node-3 (IPv4)"),
    ),
    (
        "node-2",
        "ip route add 10.244.128.0/20 via 172.30.0.1",
        "ip route flush 10.244.128.0/20",
        ("ranges", "10.244.128.0/20"),
    ),
    (
        "node-3",
        "ip route add 10.96.7.0/24 via 172.30.0.1",
        "ip route flush 10.96.7.0/24",
        ("ranges", "service_cidrs 10.96.0.0/16"),
    ),
    (
        "node-2",
        "ip address add 172.30.0.13/32 dev eth0",
        "ip address delete 172.30.0.13/32 dev eth0",
        ("duplicate IP", "172.30.0.13 is also at"),
    ),
    (
        "node-2",
        "mkdir -p /etc/cni/net.d; echo {} >/etc/cni/net.d/05-other.conflist",
        "rm /etc/cni/net.d/05-other.conflist",
        ("CNI configuration", "05-other.conflist comes before"),
    ),
    ("node-3", "ip route add 172.30.0.12/32 dev lo", "ip route delete 172.30.0.12/32 dev lo", ("routes", "by lo")),
    (
        "node-2",
        "mkdir -p /etc/ufw; echo ENABLED=yes >/etc/ufw/ufw.conf; rm -f /etc/default/ufw",
        "rm -r /etc/ufw",
        ("ufw", "drops what it forwards"),
    ),
    (
        "node-1",
        "ip link set eth0 mtu 1400",
        "ip link set eth0 mtu 1500",
        ("interface", "MTU 1400, and 1500 is declared"),
    ),
    ("node-1", "true", "true", ("path MTU", "packets of 1400 bytes pass, and 1500 do not")),
]


def test_all_that_is_in_the_way_is_told_at_once(lab: Cluster) -> None:
    strict = "echo {} >/proc/sys/net/ipv4/conf/eth0/rp_filter"
    with ExitStack() as stack:
        stack.enter_context(damaged(lab, "node-1", strict.format(1), strict.format(0)))
        stack.enter_context(holding_the_port(lab, "node-1"))
        for node, damage, cure, _ in DAMAGES:
            stack.enter_context(damaged(lab, node, damage, cure))
        found = preflight(lab)
    problems = found[PROBLEM]
    for *_, (check, words) in DAMAGES:
        assert any(name == check and words in text for _, name, text in problems), (check, words, problems)
    small = [nodes for nodes, check, text in problems if check == "path MTU" and "from node-1 (IPv4)" in text]
    assert small == [("node-2", "node-3")], "each direction by itself, and no fragments"
    assert (("node-1",), "UDP port", f"{PROGRAM} holds UDP port 8472") in problems
    assert any(check == "reverse path filter" and nodes == ("node-1",) for nodes, check, _ in found[WARNING])
    assert PROBLEM not in preflight(lab), "the damage is undone, and was all that was told of"


@pytest.mark.parametrize("kind", ["prohibit", "blackhole"])
def test_a_way_that_the_node_itself_refuses_is_a_finding_like_others(lab: Cluster, kind: str) -> None:
    route = f"{kind} 172.30.0.13/32"
    with damaged(lab, "node-1", f"ip route add {route}", f"ip route delete {route}"):
        found = preflight(lab)
    assert (("node-1",), "routes", "no route to node-3 (172.30.0.13)") in found[PROBLEM]


def test_a_loose_filter_for_all_devices_makes_a_strict_one_loose(lab: Cluster) -> None:
    conf = "/proc/sys/net/ipv4/conf"
    with damaged(
        lab,
        "node-1",
        f"echo 1 >{conf}/eth0/rp_filter; echo 2 >{conf}/all/rp_filter",
        f"echo 0 >{conf}/eth0/rp_filter; echo 0 >{conf}/all/rp_filter",
    ):
        assert all(check != "reverse path filter" for _, check, _ in preflight(lab).get(WARNING, ()))


@contextmanager
def holding_the_port(lab: Cluster, node: str) -> Iterator[None]:
    """A program with the backend's port, which no VXLAN device has."""
    ready, said = os.pipe()

    def hold() -> int:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("", 8472))
            os.write(said, b".")
            signal.pause()
        return 0

    run(lab, node, "sh -c 'ip link delete flannel.1 || true'")
    child = enter.fork_into(pid_of(lab, node), hold)
    try:
        os.read(ready, 1)
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(said)
