"""Closer looks' pure parts: from trace lines to ways, from iptables' words to nft's, and what is asked for."""

from __future__ import annotations

import json
import shlex
from typing import Any, Dict, List, Tuple

import pytest

from podwire.explain import trace_evidence
from podwire.explain.evidence import World
from podwire.explain.iptables import parse as parse_iptables
from podwire.explain.nftables import Rule
from podwire.explain.packet_paths import certain, flights
from podwire.explain.records import RuleId
from podwire.kernel.trace.packets import Passage, parse

#: As a kernel tells it: a probe of 226 bytes by VXLAN, answered; a stranger's packet; copies that raw sockets refuse.
TRACE = """# tracer: nop
#              | |         |   |||||     |         |
         python3-7    [000] ...1. 12.000001: tracing_mark_write: podwire looks
         python3-7    [000] b.... 12.000002: net_dev_queue: dev=eth0 skbaddr=00000000aa len=240
         python3-7    [000] ..s1. 12.000003: netif_receive_skb: dev=veth1 skbaddr=00000000aa len=226
         python3-7    [000] ..s1. 12.000003: netif_receive_skb: dev=cni0 skbaddr=00000000aa len=226
           nginx-9    [001] b.... 12.000004: net_dev_queue: dev=eth0 skbaddr=00000000bb len=900
         python3-7    [000] b.s2. 12.000005: net_dev_queue: dev=flannel.1 skbaddr=00000000aa len=240
         python3-7    [000] b.s2. 12.000006: net_dev_queue: dev=eth0 skbaddr=00000000aa len=290
         python3-7    [000] ..s1. 12.000007: kfree_skb: skbaddr=00000000cc rx_sk=0 protocol=2048 location=raw_rcv+0x1/0x2 reason: SOCKET_FILTER
"""  # noqa: E501
DROPPED = TRACE + (
    "         python3-7    [000] ..s1. 12.000008: kfree_skb: skbaddr=00000000aa rx_sk=0000000000000000 protocol=2048 "
    "location=vxlan_rcv.constprop.0+0x123/0x456 reason: VXLAN_VNI_NOT_FOUND\n"
)
ANSWERED = TRACE + "\n".join(
    (
        "   ksoftirqd/0-15   [000] ..s1. 12.000009: netif_receive_skb: dev=eth0 skbaddr=00000000dd len=276",
        "   ksoftirqd/0-15   [000] ..s1. 12.000010: netif_receive_skb: dev=flannel.1 skbaddr=00000000dd len=226",
        "   ksoftirqd/0-15   [000] ..s1. 12.000011: kfree_skb: skbaddr=00000000dd rx_sk=0 protocol=2048 "
        "location=ping_rcv+0xab/0xd0 reason: NO_SOCKET",
    )
)
WAY = ["eth0", "veth1", "cni0", "flannel.1", "eth0"]


def path(what: str, way: List[str], reason: str = "", function: str = "") -> Dict[str, Any]:
    end = f"{reason} in {function}" if reason else ""
    return {"what": what, "way": way, "end": end, "reason": reason, "function": function}


def told(text: str, answered: bool = False, alone: bool = True) -> List[Any]:
    found = flights(parse(text), (226, 276), alone=alone, answered=answered)
    return [(each["what"], each["way"], each["end"]) for each in found]


def test_a_dropped_probe_has_its_way_and_the_kernels_word_on_its_end() -> None:
    assert told(DROPPED) == [("probe", WAY, "VXLAN_VNI_NOT_FOUND in vxlan_rcv")]


def test_an_answer_is_a_flight_of_its_own_and_where_nobody_has_a_ping_socket_is_no_drop() -> None:
    assert told(ANSWERED, answered=True) == [("probe", WAY, ""), ("answer", ["eth0", "flannel.1"], "")]


def test_lengths_that_others_use_as_well_begin_only_with_our_own_packets() -> None:
    assert told(ANSWERED, answered=True, alone=False) == [("probe", WAY, "")]


def test_a_kernel_without_reasons_still_says_where() -> None:
    old = DROPPED.replace(" reason: VXLAN_VNI_NOT_FOUND", "").replace(" reason: SOCKET_FILTER", "")
    assert told(old) == [("probe", WAY, "dropped in vxlan_rcv")]


def test_a_kernel_that_prints_addresses_for_functions_says_why_at_least() -> None:
    old = DROPPED.replace("location=vxlan_rcv.constprop.0+0x123/0x456", "location=00000000d3adb33f")
    assert told(old.replace("location=raw_rcv+0x1/0x2", "location=00000000d3adb340")) == [
        ("probe", WAY, "VXLAN_VNI_NOT_FOUND")
    ]


def test_an_address_that_the_next_packet_has_again_is_another_packet() -> None:
    passages = [
        Passage("aa", "eth0", 240, True, ours=True),
        Passage("aa", "veth1", 226),
        Passage("aa", "eth0", 1500, True),
        Passage("aa", "", reason="QUEUE_PURGE", function="x"),
    ]
    assert [each["way"] for each in flights(passages, (226,), alone=True, answered=False)] == [["eth0", "veth1"]]


def test_a_question_after_a_mac_address_is_told_where_it_ended() -> None:
    passages = [
        Passage("aa", "flannel.1", 42, True, ours=True),
        Passage("aa", "", reason="NO_TX_TARGET", function="vxlan_xmit", ours=True),
    ]
    found = flights(passages, (226,), alone=True, answered=False)
    assert found == [path("neighbour", ["flannel.1"], "NO_TX_TARGET", "vxlan_xmit")]
    assert flights(passages, (226,), alone=True, answered=True) == []


def test_a_drop_of_another_protocol_is_not_the_probes_end() -> None:
    passages = [Passage("aa", "eth0", 240, True, ours=True), Passage("aa", reason="X", function="ip6_mc_input",
                                                                     protocol=0x86DD)]  # fmt: skip
    assert flights(passages, (226,), alone=True, answered=False) == [path("probe", ["eth0"])]
    both = flights(passages, (226,), alone=True, answered=False, version=6)
    assert both[0]["end"] == "X in ip6_mc_input"


@pytest.mark.parametrize(
    "way, end, kept",
    [(["eth0", "veth1"], "", True), (["eth7"], "", False), (["eth0", "veth1"], "X", False)],
)
def test_an_answer_begins_where_the_probe_came_to(way: List[str], end: str, kept: bool) -> None:
    probe = {"what": "probe", "way": ["eth0", "veth1", "veth2", "eth0"], "end": end}
    answer = {"what": "answer", "way": way, "end": "Y"}
    assert (answer in certain([probe, answer])) is kept


def test_ends_that_are_alike_are_told_once() -> None:
    passages = [Passage(name, reason="NEIGH_FAILED", function="x", ours=True, protocol=0x800) for name in "abc"]
    assert len(flights(passages, (226,), alone=True, answered=False)) == 2, "the probe, and its answer"


SAVED = """*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [7:588]
:users - [0:0]
[3:252] -A FORWARD ! -s 10.1.0.0/16 -o cni+ -p tcp -m tcp --dport 80 -m comment --comment "two words" -j DROP
[0:0] -A FORWARD -j users
[0:0] -A users -p icmp -m icmp --icmp-type 3/4 -j REJECT --reject-with icmp-port-unreachable
COMMIT
"""


def test_iptables_rules_are_said_in_nfts_words() -> None:
    found = parse_iptables("iptables-legacy", "filter", SAVED.splitlines())
    chains = [each["chain"] for each in found if "chain" in each]
    assert [(each["name"], each.get("hook"), each.get("policy")) for each in chains] == [
        ("INPUT", "input", "accept"), ("FORWARD", "forward", "drop"), ("users", None, None),
    ]  # fmt: skip
    first, second, third = (each["rule"] for each in found if "rule" in each)
    assert (first["handle"], first["comment"], second["handle"], third["handle"]) == (1, "two words", 2, 1)
    assert first["expr"] == [
        {"match": {"op": "!=", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "10.1.0.0/16"}},
        {"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": "cni*"}},
        {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 80}},
        {"counter": {"packets": 3}},
        {"drop": None},
    ]
    assert second["expr"][-1] == {"jump": {"target": "users"}}
    assert third["expr"][0]["match"]["right"] == "destination-unreachable"
    assert first["spec"][-4:] == ["--comment", "two words", "-j", "DROP"]
    assert json.dumps(found)


def test_a_rule_of_iptables_is_taken_away_by_its_own_words() -> None:
    spec = "FORWARD -s 10.1.0.0/16 -m comment --comment 'two words' -j DROP"
    rule = Rule("iptables-legacy", "filter", {"name": "FORWARD"}, 1, "", {}, "drop", None, tuple(shlex.split(spec)))
    assert str(rule.fix) == f"iptables-legacy -t filter -D {spec}"
    assert rule.object == "iptables-legacy table filter"


def look(verdicts: List[Any], answered: bool = False) -> Any:
    base = {
        "source": "a",
        "target": "b",
        "address": "10.0.0.2",
        "protocol": "icmp",
        "length": 200,
        "error": "",
        "flights": [],
        "counters": {},
    }
    return {**base, "answered": answered, "verdicts": verdicts, "rules": [""]}


@pytest.mark.parametrize(
    "rule, verdicts, answered, spared",
    [
        (("ip", "out"), [["", "ip house out", 3, False]], False, True),
        (("ip", "out"), [["", "ip house out", 4, True]], False, False),
        (("ip", "out"), [], False, False),  # nobody asked, or nothing came by
        (("ip", "out"), [["", "ip house out", 3, False]], True, False),  # this time it passed
        (("netdev", "early"), [["", "ip house out", 3, False]], False, False),  # comes before what is traced
    ],
)
def test_a_rule_that_a_lost_probe_never_met_is_spared(
    rule: Tuple[str, str], verdicts: List[Any], answered: bool, spared: bool
) -> None:
    world = World.__new__(World)
    world.looks = [("node-1", look(verdicts, answered))]
    named = RuleId("", f"{rule[0]} house {rule[1]}", 4)
    assert world.spares("node-1", rule[0], named, frozenset({("a", "b")})) is spared
    assert not world.spares("node-1", rule[0], named, frozenset({("c", "d")}))
    assert not world.spares("node-2", rule[0], named, frozenset({("a", "b")}))


def test_a_look_in_words() -> None:
    seen = look([["", "ip house out", 4, True], ["pod-b", "inet app in", 0, True]])
    way = [str(number) for number in range(20)]
    seen["flights"] = [{"what": "probe", "way": way, "end": "NETFILTER_DROP in nft_do_chain"}]
    seen["counters"] = {"": {"eth0 tx dropped": 1}}
    assert trace_evidence.lines("node-1", seen) == [
        "probe a -> b (10.0.0.2, ICMP, 200 bytes): no answer",
        "path: 0 > 1 > 2 > 3 > 4 > 5 > … > 14 > 15 > 16 > 17 > 18 > 19; dropped: NETFILTER_DROP in nft_do_chain",
        "nftables trace: rule 4 of ip house out drops it",
        "nftables trace: the policy of inet app in drops it in pod-b",
        "counters of node-1 during the probe: eth0 tx dropped +1",
    ]
