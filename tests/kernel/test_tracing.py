"""The kernel's own word on packets: where they went, why they ended, which rule it was; and that nothing stays."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Callable, Iterator, List

import pytest

from podwire.errors import UnsupportedError
from podwire.explain import trace_probe
from podwire.kernel.namespaces import Namespace, mounted
from podwire.kernel.trace.packets import PacketTrace, Passage
from podwire.kernel.trace.rules import TABLE, RuleTrace, Verdict

#: Bytes of a UDP datagram's data, and of its packet.
DATA, LENGTH = 300, 328
FRAME = LENGTH + 14
RULES = """table ip house {
    chain users {
        udp dport 9 drop
    }
    chain out {
        type filter hook output priority 0; policy accept;
        udp dport 10 accept
        jump users
    }
    chain last {
        type filter hook output priority 10; policy drop;
        udp dport != 11 accept
    }
}
"""


@pytest.fixture
def up(namespace: Namespace) -> Namespace:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    return namespace


def send(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender, suppress(OSError):
        sender.sendto(bytes(DATA), ("127.0.0.1", port))


def traced(lengths: List[int]) -> PacketTrace:
    try:
        with PacketTrace([FRAME]):
            pass
    except UnsupportedError as error:
        pytest.skip(str(error))
    return PacketTrace(lengths)


def instances() -> List[str]:
    top = mounted("tracefs")
    try:
        inside = os.open("instances", os.O_RDONLY, dir_fd=top)
        try:
            return [name for name in os.listdir(inside) if name.startswith("podwire-")]
        finally:
            os.close(inside)
    finally:
        os.close(top)


def ours(trace: PacketTrace) -> List[Passage]:
    return [each._replace(packet="") for each in trace.passages() if each.ours]


def test_a_packet_is_followed_to_where_it_ends(up: Namespace) -> None:
    with traced([FRAME, LENGTH]) as trace:
        trace.begin()
        send(9)
        way, end = ours(trace)[:2], ours(trace)[2]
        trace.begin()
        assert ours(trace) == []
    assert way == [Passage("", "lo", FRAME, True, ours=True), Passage("", "lo", LENGTH, False, ours=True)]
    assert (end.device, end.reason, end.function) == ("", "NO_SOCKET", "__udp4_lib_rcv")
    assert instances() == []


def test_a_packet_that_a_firewall_drops_says_so(up: Namespace, rules: None) -> None:
    with traced([FRAME]) as trace:
        trace.begin()
        send(9)
        assert [each.reason for each in ours(trace)] == ["NETFILTER_DROP"]


def test_packets_of_other_lengths_are_not_told(up: Namespace) -> None:
    with traced([FRAME + 1]) as trace:
        trace.begin()
        send(9)
        assert [each for each in ours(trace) if each.device] == []


@pytest.fixture
def rules() -> None:
    if subprocess.run(["nft", "-f", "-"], input=RULES, text=True, check=False).returncode:
        pytest.skip("needs nft")


def met(up: Namespace, port: int) -> List[Verdict]:
    with RuleTrace(up, [LENGTH]) as trace:
        send(port)
        return trace.verdicts()


def handle(text: str) -> int:
    listed = subprocess.run(["nft", "-a", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    return next(int(line.rpartition(" ")[2]) for line in listed.splitlines() if text in line)


@pytest.mark.parametrize("port, rule, chain", [(9, "udp dport 9 drop", "users"), (11, "", "last")])
def test_the_rule_that_drops_is_named(up: Namespace, rules: None, port: int, rule: str, chain: str) -> None:
    last = met(up, port)[-1]
    assert (last.family, last.table, last.chain, last.drops) == ("ip", "house", chain, True)
    assert last.handle == (handle(rule) if rule else 0)
    assert last.ends == ("127.0.0.1", "127.0.0.1")


def test_what_passes_is_not_said_to_be_dropped(up: Namespace, rules: None) -> None:
    assert [each.drops for each in met(up, 10) if each.handle] == [False, False]


def test_packets_of_other_lengths_meet_nobody(up: Namespace, rules: None) -> None:
    with RuleTrace(up, [LENGTH + 1]) as trace:
        send(9)
        assert trace.verdicts() == []


def test_what_others_trace_is_none_of_ours(up: Namespace, rules: None) -> None:
    subprocess.run(["nft", "insert", "rule", "ip", "house", "users", "meta", "nftrace", "set", "1"], check=True)
    with RuleTrace(up, [LENGTH + 1]) as trace:
        send(9)
        assert trace.verdicts() == []
    assert met(up, 9)[-1].drops


def tables() -> str:
    return subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout


def test_the_table_goes_with_the_trace(up: Namespace, rules: None) -> None:
    with RuleTrace(up, [LENGTH]):
        assert TABLE in tables()
    assert TABLE not in tables()


@pytest.fixture
def killed() -> Iterator[Callable[[Any], None]]:
    """Run something in a process of its own that is killed in the middle of it."""

    def run(begin: Callable[[], Any]) -> None:
        read, write = os.pipe()
        child = os.fork()
        if not child:
            begun = begin().__enter__()
            os.write(write, b"." if begun else b"")
            signal.pause()
        os.read(read, 1)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(read)
        os.close(write)

    yield run


def test_a_table_does_not_outlive_who_is_killed(up: Namespace, rules: None, killed: Callable[[Any], None]) -> None:
    killed(lambda: RuleTrace(up, [LENGTH]))
    assert TABLE not in tables()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_look_that_is_ended_takes_its_instance_along(up: Namespace, number: int) -> None:
    traced([FRAME])
    ask = {"source": "a", "target": "b", "address": "192.0.2.1", "port": 1, "protocol": "icmp", "length": 200,
           "alone": True, "outer": 0, "places": {}}  # fmt: skip
    before = set(instances())
    child = os.fork()
    if not child:
        with suppress(SystemExit):
            trace_probe.look("node", [ask] * 1000)
        os._exit(0)
    while not set(instances()) - before:
        assert not os.waitpid(child, os.WNOHANG)[0], "it ended by itself"
    os.kill(child, number)
    os.waitpid(child, 0)
    assert not set(instances()) - before


def test_an_instance_of_who_was_killed_goes_with_the_next(up: Namespace, killed: Callable[[Any], None]) -> None:
    trace = traced([FRAME])
    killed(lambda: PacketTrace([FRAME]))
    assert len(instances()) == 1
    with trace:
        assert len(instances()) == 1, "our own"
    assert instances() == []


def test_nodes_of_one_machine_that_begin_at_once_do_not_take_each_others_for_stale(up: Namespace) -> None:
    def begin(trace: PacketTrace) -> None:
        with trace:
            trace.begin()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(begin, [traced([FRAME]) for _ in range(40)]))
