"""Explain's pure parts: commands, inference, and that every fault has a cause of its name."""

from __future__ import annotations

import json
import shlex
from contextlib import nullcontext
from ipaddress import ip_address, ip_interface, ip_network
from typing import FrozenSet, List, Set, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.errors import ProofError
from podwire.explain import explain
from podwire.explain.cause import Cause, Explanation, Pair, to_json
from podwire.explain.commands import commands
from podwire.explain.hypotheses.policies import denial_of
from podwire.explain.inference import infer
from podwire.explain.operations import from_row, to_row
from podwire.explain.text import render
from podwire.explain.titles import TITLES, cause
from podwire.explain.unreachable import blamed
from podwire.faults.catalogue import CATALOGUE
from podwire.intent.inventory import read
from podwire.intent.projection import desired
from podwire.model.command import command, script, within, write_file
from podwire.model.objects import Address, FdbEntry, File, Link, MacAddress, Neighbour, Route, Sysctl, Vxlan
from podwire.model.state import EMPTY
from podwire.plan import ADD, CHANGE, REMOVE, Operation, plan
from podwire.stages.controller.diagnosis import check_probed

from .snapshots import evidence, healthy

MAC = MacAddress.parse("66:00:00:00:00:01")


def test_a_node_that_is_lost_has_what_nobody_else_accounts_for() -> None:
    cluster = read({name: {"pods": ["a", "b", "c"]} for name in ("node-1", "node-2", "node-3")}, source="x,")
    failing = {("a", "b"): "lost", ("a", "c"): "lost", ("node-2", "b"): "lost", ("c", "a"): "lost"}
    known = Cause("route_missing", "", "route", "node-1", pairs=frozenset({("a", "b")}))
    told = Explanation((known,), failing, tuple(pair for pair in failing if pair != ("a", "b")), ())
    found = blamed(told, cluster, ["node-2"])
    assert [(each.id, each.node, set(each.pairs)) for each in found.causes[1:]] == [
        ("node_silent", "node-2", {("node-2", "b")})
    ]
    assert found.unexplained == (("a", "c"), ("c", "a"))
    assert "./run site" in render(found)
    assert blamed(told, cluster, []) == blamed(told._replace(unexplained=()), cluster, ["node-2"])._replace(
        unexplained=told.unexplained
    )


@pytest.mark.parametrize(
    "ends, probed",
    [
        (("pod-a", "pod-b"), True),
        (("node-1", "pod-a"), True),
        (("pod-a", "node-1"), True),
        (("", "node-2"), True),
        (("pod-a", "node-2"), False),
        (("node-1", "pod-b"), False),
        (("node-1", "node-2"), False),
    ],
)
def test_of_two_that_are_never_probed_nothing_is_said(ends: Tuple[str, str], probed: bool) -> None:
    placed = [{"name": "pod-a", "node": "node-1"}, {"name": "pod-b", "node": "node-2"}]
    cluster = read({name: {"pods": placed} for name in ("node-1", "node-2")}, source="hosts.yml")
    with nullcontext() if probed else pytest.raises(ProofError, match="own pods alone"):
        check_probed(cluster, ends)


def test_every_fault_is_a_cause_that_can_be_named() -> None:
    assert {fault.cause or name for name, fault in CATALOGUE.items()} <= TITLES.keys()


@pytest.mark.parametrize(
    "operation, wanted",
    [
        (
            Operation(ADD, FdbEntry("flannel.1", MAC, ip_address("172.30.0.12"))),
            ["bridge fdb replace 66:00:00:00:00:01 dev flannel.1 dst 172.30.0.12 self permanent"],
        ),
        (
            Operation(ADD, Neighbour("flannel.1", ip_address("10.244.1.0"), MAC)),
            ["ip neigh replace 10.244.1.0 lladdr 66:00:00:00:00:01 dev flannel.1 nud permanent"],
        ),
        (
            Operation(ADD, Route(ip_network("10.244.1.0/24"), ip_address("10.244.1.0"), "flannel.1", True)),
            ["ip route replace 10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink proto 112"],
        ),
        (
            Operation(REMOVE, Address("cni0", ip_interface("10.99.1.1/24"))),
            ["ip addr del 10.99.1.1/24 dev cni0"],
        ),
        (
            Operation(CHANGE, Sysctl("net/ipv4/conf/flannel.1/rp_filter", "2")),
            ["sysctl -q -w net/ipv4/conf/flannel.1/rp_filter=2"],
        ),
        (
            Operation(CHANGE, Link("flannel.1", "vxlan", mtu=1450), Link("flannel.1", "vxlan", mtu=1500, up=False)),
            ["ip link set dev flannel.1 mtu 1450 up"],
        ),
        (
            Operation(
                ADD, Link("flannel.1", "vxlan", 1450, MAC, settings=Vxlan(1, 8472, ip_address("172.30.0.11"), "eth0"))
            ),
            [
                "ip link add flannel.1 address 66:00:00:00:00:01 mtu 1450 type vxlan id 1 dstport 8472 "
                "local 172.30.0.11 dev eth0 nolearning",
                "ip link set dev flannel.1 up",
            ],
        ),
        (
            Operation(ADD, File("/run/flannel/subnet.env", "A=1\nB=it's\n")),
            [
                "printf '%s\\n' A=1 'B=it'\"'\"'s' > /run/flannel/subnet.env && chmod 644 /run/flannel/subnet.env",
            ],
        ),
    ],
)
def test_commands_are_what_a_person_would_type(operation: Operation, wanted: List[str]) -> None:
    assert script(commands(operation)) == " && ".join(wanted)


def test_a_name_of_the_node_is_no_shell_in_a_printed_fix() -> None:
    cluster = read({name: {"pods": ["a", "b", "c"]} for name in ("node-1", "node-2")}, source="x y;id.yml")
    addresses = {"a": ["10.244.0.2/24"], "b": ["10.244.1.2/24"], "c": ["10.244.0.3/24"]}
    told = {node.name: evidence(healthy(cluster, node.name, addresses)) for node in cluster.nodes}
    told["node-1"]["observations"]["pairs"]["failures"] = [["a", "b", "10.244.1.2", "timeout", "no answer"]]
    snapshot = told["node-1"]["observations"]["snapshot"]
    port = next(link for link in snapshot["namespace"]["links"] if link["name"] == "veth0")
    port.update(name="x;id", up=False)
    snapshot["reservations"]["podwire"]["10.244.0.9"] = ["$(id)", "eth0"]
    snapshot["reservations"]["a;id"] = {"10.244.0.8": ["gone", "eth0"]}
    found = explain(cluster, addresses, told)
    fixes = {cause["id"]: cause["fix"] for cause in to_json(found)["causes"]}
    assert fixes["port_down"] == "ip link set dev 'x;id' up"
    for line in fixes.values():
        words = list(shlex.shlex(line, posix=True, punctuation_chars=True))
        assert ";" not in words and "id" not in words, line
    text = render(found, inventory="x y;id.yml")
    assert "fix         ip link set dev 'x;id' up\n" in text
    assert all(fix in text for fix in fixes.values())


@pytest.mark.parametrize("text", ["x;id", "$(id)", "a b", "it's", "`id`", "#", "&&", ">f", "-n", "{}"])
def test_a_value_is_one_word_of_a_command(text: str) -> None:
    steps = [within(text, command("ip link set dev {} alias {}", text, text)), *write_file(text, f"{text}\n{text}")]
    assert steps[0].words[1:] == (f"--net={text}", "ip", "link", "set", "dev", text, "alias", text)
    assert shlex.split(script(steps[:1])) == list(steps[0].words)
    assert shlex.split(script(steps)) == [
        *steps[0].words, "&&", "printf", "%s\\n", text, text, ">", text, "&&", "chmod", "644", text
    ]  # fmt: skip


def candidate(id: str, keys: str, *pairs: str, quiet: bool = False) -> Cause:
    return cause(
        id, id, "node-1", keys=frozenset(keys.split()), pairs=frozenset((p[0], p[1]) for p in pairs), quiet=quiet
    )


def test_a_flapped_device_explains_what_went_with_it() -> None:
    flapped = candidate("vtep_flapped", "route-1 route-2 neighbour-1 neighbour-2", "ab", "ac")
    lost = [candidate("route_missing", "route-1", "ab"), candidate("route_missing", "route-2", "ac")]
    chosen, ruled_out = infer([*lost, flapped], {("a", "b"), ("a", "c")})
    assert [each.id for each in chosen] == ["vtep_flapped"]
    assert len(ruled_out) == 2


def test_two_faults_of_the_same_pairs_are_both_named() -> None:
    both = [candidate("vni_mismatch", "link", "ab"), candidate("vxlan_port_blocked", "rule", "ab")]
    assert {each.id for each in infer(both, {("a", "b")})[0]} == {"vni_mismatch", "vxlan_port_blocked"}


def test_what_is_no_deviation_is_a_cause_only_of_what_is_left() -> None:
    """A rule of somebody's firewall is one candidate among others, and passing pairs speak against it."""
    route, rule = candidate("route_missing", "route", "ab"), candidate("packets_dropped", "", "ab", "ac")
    assert [each.id for each in infer([rule, route], {("a", "b")})[0]] == ["route_missing"]
    both = infer([rule, route], {("a", "b"), ("a", "c")})[0]
    assert [each.id for each in both] == ["packets_dropped", "route_missing"]
    wide = candidate("packets_dropped", "", "ab", "ac", "ad")
    chosen, ruled_out = infer([wide], {("a", "b")})
    assert not chosen
    assert ruled_out == ["packets_dropped (packets_dropped on node-1): most of what it would break passes"]


def test_what_would_break_only_what_passes_is_ruled_out() -> None:
    chosen, ruled_out = infer([candidate("forward_dropped", "rule", "ab")], {("c", "d")})
    assert not chosen
    assert ruled_out == ["forward_dropped (forward_dropped on node-1): everything that it would break passes"]


def test_a_deviation_that_does_no_harm_is_not_blamed_for_what_another_explains() -> None:
    harmless = candidate("device_forwarding_off", "sysctl", "ab", "ac", "ad", "ae")
    chosen, ruled_out = infer([harmless, candidate("route_missing", "route", "ab")], {("a", "b")})
    assert [each.id for each in chosen] == ["route_missing"]
    assert ruled_out == ["device_forwarding_off (device_forwarding_off on node-1): most of what it would break passes"]
    assert [each.id for each in infer([harmless], {("a", "b")})[0]] == ["device_forwarding_off"]


def test_what_shows_in_no_pair_needs_none() -> None:
    assert infer([candidate("ipam_leak", "file", quiet=True)], set())[0][0].confidence == 0.8


CANDIDATES = st.lists(
    st.builds(
        lambda keys, pairs, quiet: Cause(
            "route_missing", "", "o", "n", keys=frozenset(keys), pairs=frozenset(pairs), quiet=quiet
        ),
        st.sets(st.sampled_from("abcdef"), min_size=1),
        st.sets(st.tuples(st.sampled_from("xyz"), st.sampled_from("xyz"))),
        st.booleans(),
    ),
    max_size=8,
)


@given(CANDIDATES, st.sets(st.tuples(st.sampled_from("xyz"), st.sampled_from("xyz"))))
def test_all_that_can_be_accounted_for_is_and_nothing_twice(candidates: List[Cause], failing: Set[Pair]) -> None:
    chosen, _ = infer(candidates, failing)
    believable = [each for each in candidates if each.quiet or each.pairs & failing]
    keys: FrozenSet[str] = frozenset().union(*(each.keys for each in chosen))
    pairs: FrozenSet[Pair] = frozenset().union(*(each.pairs for each in chosen))
    for each in believable:
        harmless = each.pairs & failing <= pairs and 2 * len(each.pairs & failing) < len(each.pairs)
        assert each.keys <= keys or (harmless and not each.quiet)
    for index, each in enumerate(chosen):
        assert each not in chosen[:index] or candidates.count(each) > 1


def test_what_is_unexplained_is_said_with_what_was_ruled_out() -> None:
    found = Explanation((), {("pod-a", "pod-b"): "timeout: no answer"}, (("pod-a", "pod-b"),), ("vtep_down: no",))
    text = render(found)
    assert "unexplained: pod-a -> pod-b" in text
    assert "vtep_down: no" in text
    assert to_json(found)["unexplained"] == [["pod-a", "pod-b"]]
    assert found.about("pod-b", "").unexplained == ()


@pytest.mark.parametrize(
    "document", [[], None, 7, {}, {"spec": []}, {"spec": {"podSelector": {"matchLabels": "a"}, "policyTypes": 3}}]
)
def test_a_file_that_is_no_policy_denies_nothing(document: object) -> None:
    cluster = read({name: {"pods": ["a", "b"]} for name in ("node-1", "node-2")}, source="x,")
    addresses = {"a": ["10.244.0.2/24"], "b": ["10.244.1.2/24"]}
    told = {node.name: evidence(healthy(cluster, node.name, addresses)) for node in cluster.nodes}
    told["node-1"]["policies"] = {"/etc/podwire/networkpolicies/x.json": document}
    assert explain(cluster, addresses, told).causes == ()


def test_a_policy_that_denies_a_pod_is_read() -> None:
    spec = {"podSelector": {"matchLabels": {"name": "a"}}, "policyTypes": ["Ingress"]}
    assert denial_of({"metadata": {"name": "p"}, "spec": spec}) == ("p", "default", "a")
    assert denial_of({"metadata": {"name": "p"}, "spec": {**spec, "ingress": [{}]}}) is None


def test_a_plan_is_the_same_after_a_journey_as_json() -> None:
    cluster = read({name: {"pods": ["a", "b"]} for name in ("node-1", "node-2")}, source="x,")
    operations = plan(desired(cluster, "node-1"), EMPTY)
    operations.append(Operation(CHANGE, Sysctl("net/ipv4/ip_forward", "1"), Sysctl("net/ipv4/ip_forward", "0")))
    assert [from_row(json.loads(json.dumps(to_row(operation)))) for operation in operations] == operations
