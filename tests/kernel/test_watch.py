"""What the watch takes for news: each kind of change to what is podwire's, and none of the traffic's own."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator

import pytest

from podwire.kernel import Namespace
from podwire.kernel.monitor import Monitor

OTHERS = frozenset[int]()


def sh(command: str) -> None:
    subprocess.run(["sh", "-ec", command], check=True)


@pytest.fixture
def watch(namespace: Namespace) -> Iterator[Monitor]:
    """In a namespace with a veth pair, its address and a route."""
    sh("ip link set lo up; ip link add eth0 type veth peer name far; ip link set far up; ip link set eth0 up")
    sh("ip address add 192.0.2.1/24 dev eth0; ip route add 198.51.100.0/24 via 192.0.2.2 proto 112")
    sh("nft add table ip podwire; nft add table ip other")
    found = Monitor()
    yield found
    found.close()


@pytest.mark.parametrize(
    "command",
    [
        "ip link set eth0 down",
        "ip link delete eth0",
        "ip link set eth0 mtu 1400",
        "ip address delete 192.0.2.1/24 dev eth0",
        "ip route delete 198.51.100.0/24",
        "ip route replace 198.51.100.0/24 via 192.0.2.3 proto kernel",
        "ip nexthop add id 7 via 192.0.2.2 dev eth0",
        "echo 1 >/proc/sys/net/ipv4/conf/eth0/rp_filter; echo 2 >/proc/sys/net/ipv4/conf/eth0/rp_filter",
        "echo 0 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv4/ip_forward",
        "nft delete table ip podwire",
        "nft flush ruleset",
    ],
)
def test_a_change_is_heard(watch: Monitor, command: str) -> None:
    sh(command)
    assert watch.drain(OTHERS)
    assert not watch.drain(OTHERS), "heard twice"


def test_neighbours_of_the_backends_devices_are_heard_and_others_not(watch: Monitor) -> None:
    index = socket.if_nametoindex("eth0")
    for command in (
        "ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev eth0",
        "ip neigh delete 192.0.2.9 dev eth0",
        "bridge fdb add 02:00:00:00:00:09 dev eth0 self",
    ):
        sh(command)
        assert not watch.drain(OTHERS), command
    sh("ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev eth0")
    assert watch.drain(frozenset({index}))


@pytest.mark.parametrize(
    "command",
    [
        "ip route add 203.0.113.0/24 via 192.0.2.2 proto ra",
        "nft add table ip theirs; nft add chain ip other c; nft delete table ip other",
        "true",
    ],
)
def test_what_is_not_podwires_is_not_heard(watch: Monitor, command: str) -> None:
    sh(command)
    assert not watch.drain(OTHERS)


def test_lost_notifications_count_as_news(watch: Monitor) -> None:
    neighbours = (
        f"neigh replace 192.0.2.{n % 200 + 10} lladdr 02:00:00:00:00:{n // 200 + 10} dev eth0" for n in range(5000)
    )
    subprocess.run(["ip", "-batch", "-"], input="\n".join(neighbours), text=True, check=True)
    assert watch.drain(OTHERS), "the buffer should have run over"
    assert not watch.drain(OTHERS)
