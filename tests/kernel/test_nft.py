"""Masquerading on a real kernel: what ``nft`` reads of it, what packets do, and what tampering shows."""

from __future__ import annotations

import json
import socket
import subprocess
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Callable

import pytest

from podwire.errors import KernelError, UnsupportedError
from podwire.kernel.namespaces import Namespace
from podwire.kernel.nftables import masquerade
from podwire.kernel.nftables.masquerade import Stray, apply_nat, show_nat
from podwire.kernel.nftables.masquerade_wire import NFTA_LIST_ELEM, NLA_F_NESTED, comment, decode, encode, text
from podwire.model.objects import NatRule
from podwire.model.wire import NLM_F_APPEND, NLM_F_CREATE, attribute, attributes

TABLE = "podwire"
V4 = NatRule(ip_network("10.244.1.0/24"), tuple(map(ip_network, ("10.244.0.0/16", "10.96.0.0/12", "224.0.0.0/4"))))
V6 = NatRule(ip_network("fd00:1::/64"), tuple(map(ip_network, ("fd00::/48", "fd00:2::5/128", "ff00::/8"))))
RULES = frozenset({V4, V6})


def run(*command: str, **options: Any) -> str:
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, check=True, capture_output=True, text=True, **options
    )
    return done.stdout


def ruleset() -> list[dict[str, Any]]:
    return [each for each in json.loads(run("nft", "-j", "list", "ruleset"))["nftables"] if "metainfo" not in each]


def test_nft_reads_what_podwire_writes(namespace: Namespace) -> None:
    apply_nat(namespace, TABLE, RULES)
    table, chain, *rules = ruleset()
    assert (table["table"]["family"], table["table"]["name"]) == ("inet", TABLE)
    assert {key: chain["chain"][key] for key in ("name", "type", "hook", "prio", "policy")} == {
        "name": "postrouting",
        "type": "nat",
        "hook": "postrouting",
        "prio": 100,
        "policy": "accept",
    }
    read = [
        "ip saddr 10.244.1.0/24 ip daddr != 10.244.0.0/16 ip daddr != 10.96.0.0/12 ip daddr != 224.0.0.0/4"
        ' masquerade fully-random comment "podwire: 10.244.1.0/24 leaves the cluster"',
        "ip6 saddr fd00:1::/64 ip6 daddr != fd00::/48 ip6 daddr != fd00:2::5 ip6 daddr != ff00::/8"
        ' masquerade fully-random comment "podwire: fd00:1::/64 leaves the cluster"',
    ]
    text = run("nft", "list", "ruleset")
    assert len(rules) == 2
    assert [line.strip() for line in text.splitlines() if "masquerade" in line] == read


def test_podwire_reads_what_it_wrote(namespace: Namespace) -> None:
    assert show_nat(namespace, TABLE) == frozenset()
    apply_nat(namespace, TABLE, RULES)
    assert show_nat(namespace, TABLE) == RULES


def test_apply_replaces_the_whole_table_and_nothing_else(namespace: Namespace) -> None:
    run("nft", "add table inet foreign; add chain inet foreign postrouting; add table ip podwire")
    apply_nat(namespace, TABLE, RULES)
    apply_nat(namespace, TABLE, frozenset({V6}))
    assert show_nat(namespace, TABLE) == {V6}
    apply_nat(namespace, TABLE, frozenset())
    apply_nat(namespace, TABLE, frozenset())
    assert show_nat(namespace, TABLE) == frozenset()
    assert run("nft", "list", "tables").splitlines() == ["table inet foreign", "table ip podwire"]


def test_apply_works_inside_the_namespace_it_is_given(
    namespace: Namespace, make_namespace: Callable[[str], Namespace]
) -> None:
    other = make_namespace("other")
    apply_nat(other, TABLE, RULES)
    assert ruleset() == []
    assert show_nat(namespace, TABLE) == frozenset()
    assert show_nat(other, TABLE) == RULES


RULE = "inet podwire postrouting"
TAMPERINGS = {
    "foreign rule": f"add rule {RULE} counter",
    "foreign verdict before ours": f"insert rule {RULE} accept",
    "our rule twice": f"add rule {RULE} ip saddr 10.244.1.0/24 masquerade fully-random",
    "rule without the networks to leave alone": f"replace rule {RULE} handle HANDLE ip saddr 10.244.1.0/24 masquerade",
    "another mask": f"replace rule {RULE} handle HANDLE ip saddr 10.244.0.0/16 ip daddr != 10.96.0.0/12 masquerade",
    "rules flushed": f"flush chain {RULE}",
    "chain gone": f"flush chain {RULE}; delete chain {RULE}",
    "another chain": "add chain inet podwire output { type filter hook output priority 0; policy drop; }",
    "a set": "add set inet podwire holes { type ipv4_addr; }",
    "policy drop": f"add chain {RULE} {{ policy drop; }}",
    "dormant": "add table inet podwire { flags dormant; }",
    "another priority": "delete table inet podwire; add table inet podwire;"
    f" add chain {RULE} {{ type nat hook postrouting priority 50; }};",
    "another hook": "delete table inet podwire; add table inet podwire;"
    f" add chain {RULE} {{ type nat hook input priority 100; }};",
    "another type": "delete table inet podwire; add table inet podwire;"
    f" add chain {RULE} {{ type filter hook postrouting priority 100; }};",
}


@pytest.mark.parametrize("tampering", TAMPERINGS.values(), ids=TAMPERINGS)
def test_tampering_shows_and_apply_mends_it(namespace: Namespace, tampering: str) -> None:
    apply_nat(namespace, TABLE, RULES)
    assert show_nat(namespace, TABLE) == RULES
    handle = next(each["rule"]["handle"] for each in ruleset() if "rule" in each)
    run("nft", "-f", "-", input=tampering.replace("HANDLE", str(handle)).replace("; ", "\n"))
    shown = show_nat(namespace, TABLE)
    assert [str(rule) for rule in shown if isinstance(rule, Stray)][0].startswith("nftables table inet podwire: ")
    assert shown != RULES and not any(stray in RULES for stray in shown if isinstance(stray, Stray))
    apply_nat(namespace, TABLE, RULES)
    assert show_nat(namespace, TABLE) == RULES


def _add(namespace: Namespace, rule: NatRule) -> None:
    """Our own bytes by hand: ``nft`` writes shorter loads for byte-aligned prefixes."""
    message = text(masquerade.NFTA_RULE_TABLE, TABLE) + text(masquerade.NFTA_RULE_CHAIN, masquerade.CHAIN)
    message += attribute(masquerade.NFTA_RULE_EXPRESSIONS | NLA_F_NESTED, encode(rule))
    message += attribute(masquerade.NFTA_RULE_USERDATA, comment(rule))
    with namespace.open_nftables() as transport:
        assert transport.transaction([(masquerade.NEWRULE, NLM_F_CREATE | NLM_F_APPEND, message)]) is None


def test_a_duplicate_of_our_own_rule_shows(namespace: Namespace) -> None:
    apply_nat(namespace, TABLE, RULES)
    _add(namespace, V4)
    assert any("twice" in str(rule) for rule in show_nat(namespace, TABLE))


def test_our_rules_at_another_priority_show(namespace: Namespace) -> None:
    for priority, strays in ((100, 0), (50, 1)):
        chain = f"{{ type nat hook postrouting priority {priority}; }}"
        script = f"add table inet {TABLE}\ndelete table inet {TABLE}\nadd table inet {TABLE}\nadd chain {RULE} {chain}"
        run("nft", "-f", "-", input=script)
        _add(namespace, V4)
        assert len([rule for rule in show_nat(namespace, TABLE) if isinstance(rule, Stray)]) == strays


def test_what_is_shown_can_be_applied_again(namespace: Namespace) -> None:
    """A rollback applies what was shown: ours comes back, the stray does not."""
    apply_nat(namespace, TABLE, RULES)
    run("nft", f"add rule {RULE} counter")
    apply_nat(namespace, TABLE, show_nat(namespace, TABLE))
    assert show_nat(namespace, TABLE) == RULES


def test_a_refused_transaction_changes_nothing(namespace: Namespace) -> None:
    apply_nat(namespace, TABLE, RULES)
    before = ruleset()
    # A rule has at most 128 expressions (NFT_RULE_MAXEXPRS), three of them for each network.
    many = tuple(ip_network((0x0A000000 + (third << 8), 24)) for third in range(60))
    too_long = NatRule(ip_network("192.0.2.0/24"), many)
    with pytest.raises(KernelError, match=r"failed to write nftables table inet podwire in node: .+"):
        apply_nat(namespace, TABLE, frozenset({V6, too_long}))
    assert ruleset() == before


def test_a_refused_transaction_leaves_nothing_for_the_next_one(namespace: Namespace) -> None:
    """The kernel answers to every message that it refuses, and to the last one: all that is read."""
    good = [(masquerade.NEWTABLE, NLM_F_CREATE, text(masquerade.NFTA_TABLE_NAME, "podwire-test"))]
    absent = (masquerade.DELTABLE, 0, text(masquerade.NFTA_TABLE_NAME, "absent"))
    with namespace.open_nftables() as nftables:
        for bad in ([absent], [absent, absent, *good], [*good, absent, absent], [absent, *good, absent]):
            refusal = nftables.transaction(bad)
            assert refusal is not None and refusal.number == bad.index(absent) and refusal.errno == 2
            assert nftables.transaction(good) is None
        assert [each[masquerade.NFTA_TABLE_NAME] for each in nftables.read(masquerade.GETTABLE)] == [b"podwire-test\0"]


@pytest.mark.parametrize("unless", [(), (ip_network("fd00::/48"),)], ids=["nothing", "the other family"])
def test_a_rule_that_could_masquerade_pod_to_pod_is_never_written(namespace: Namespace, unless: Any) -> None:
    with pytest.raises(ValueError, match="own IP version"):
        apply_nat(namespace, TABLE, frozenset({NatRule(ip_network("10.244.1.0/24"), unless)}))
    assert ruleset() == []


@pytest.mark.parametrize(
    ("kind", "errno", "feature"),
    [
        (0, 95, "CONFIG_NF_TABLES"),
        (masquerade.NEWCHAIN, 2, "CONFIG_NFT_NAT"),
        (masquerade.NEWRULE, 2, "CONFIG_NFT_MASQ"),
    ],
)
def test_a_kernel_without_the_feature_is_named(kind: int, errno: int, feature: str) -> None:
    error = masquerade._refused("nftables table inet podwire in node", kind, errno, "")
    assert isinstance(error, UnsupportedError) and error.errno == errno and feature in str(error)
    assert not isinstance(masquerade._refused("nftables table inet podwire in node", kind, 1, ""), UnsupportedError)


@pytest.mark.parametrize("rule", [V4, V6, NatRule(ip_network("0.0.0.0/0"), (ip_network("10.0.0.0/31"),))], ids=str)
def test_decoding_is_the_inverse_of_encoding_and_of_nothing_else(rule: NatRule) -> None:
    data = encode(rule)
    assert decode(data) == rule
    elements = [attribute(NFTA_LIST_ELEM | NLA_F_NESTED, value) for _, value in attributes(data, 0, len(data))]
    assert b"".join(elements) == data
    for position, element in enumerate(elements):
        without = b"".join(elements[:position] + elements[position + 1 :])
        twice = b"".join(elements[: position + 1] + [element] + elements[position + 1 :])
        assert decode(without) != rule and decode(twice) != rule, position


def _wire(pod: Namespace, node: Namespace, outside: Namespace) -> None:
    """pod -- node -- outside, which also holds the address of a remote pod."""
    with node.entered():
        for device, other in (("pod0", pod), ("eth0", outside)):
            end = f"/proc/self/fd/{other.fd}"
            veth = f"link add {device} type veth peer name eth0 netns {end}"
            run("ip", *veth.split(), pass_fds=(other.fd,))
        for key in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            Path("/proc/sys/net", key).write_text("1")
    _configure(
        node,
        ("pod0 10.244.1.1/24", "pod0 fd00:1::1/64", "eth0 192.0.2.1/24", "eth0 2001:db8::1/64"),
        ("10.244.2.0/24 via 192.0.2.2", "fd00:0:0:2::/64 via 2001:db8::2"),
    )
    _configure(pod, ("eth0 10.244.1.2/24", "eth0 fd00:1::2/64"), ("default via 10.244.1.1", "default via fd00:1::1"))
    _configure(
        outside,
        ("eth0 192.0.2.2/24", "eth0 2001:db8::2/64", "eth0 10.244.2.2/32", "eth0 fd00:0:0:2::2/128"),
        ("default via 192.0.2.1", "default via 2001:db8::1"),
    )


def _configure(namespace: Namespace, addresses: tuple[str, ...], routes: tuple[str, ...]) -> None:
    lines = [f"link set {device} up" for device in dict.fromkeys(each.split()[0] for each in addresses)]
    for each in addresses:
        device, address = each.split()
        lines.append(f"address add {address} dev {device}{' nodad' if ':' in address else ''}")
    with namespace.entered():
        run("ip", "-batch", "-", input="\n".join(lines + [f"route add {route}" for route in routes]))


def _source_seen(pod: Namespace, outside: Namespace, destination: str) -> str:
    """The source address of a datagram from the pod as the receiver of ``destination`` sees it."""
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    with outside.entered():
        receiver = socket.socket(family, socket.SOCK_DGRAM)
    with pod.entered():
        sender = socket.socket(family, socket.SOCK_DGRAM)
    with receiver, sender:
        receiver.bind((destination, 0))
        receiver.settimeout(5)
        sender.sendto(b"podwire", (destination, receiver.getsockname()[1]))
        return str(receiver.recvfrom(100)[1][0])


@pytest.mark.parametrize(
    ("pod_address", "node_address", "world", "remote_pod"),
    [
        ("10.244.1.2", "192.0.2.1", "192.0.2.2", "10.244.2.2"),
        ("fd00:1::2", "2001:db8::1", "2001:db8::2", "fd00:0:0:2::2"),
    ],
    ids=["ipv4", "ipv6"],
)
def test_packets_are_masqueraded_to_the_world_and_never_pod_to_pod(
    make_namespace: Callable[[str], Namespace], pod_address: str, node_address: str, world: str, remote_pod: str
) -> None:
    pod, node, outside = (make_namespace(name) for name in ("pod", "node", "outside"))
    _wire(pod, node, outside)
    assert _source_seen(pod, outside, world) == pod_address  # without rules nobody translates
    apply_nat(node, TABLE, RULES)
    assert _source_seen(pod, outside, world) == node_address
    assert _source_seen(pod, outside, remote_pod) == pod_address
    apply_nat(node, TABLE, frozenset())
    assert _source_seen(pod, outside, world) == pod_address
