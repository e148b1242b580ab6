"""The table of kinds, and States as JSON."""

from __future__ import annotations

import json
import shlex
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest

from podwire.model.codec import state_from_json, state_to_json
from podwire.model.kind import ADD, CHANGE, REMOVE
from podwire.model.objects import (
    KINDS,
    Address,
    Chain,
    File,
    IptablesRule,
    Link,
    MacAddress,
    NatRule,
    Neighbour,
    NextHop,
    PortVlans,
    Route,
    Rule,
    Sysctl,
    VethPeer,
    Vxlan,
)
from podwire.model.state import State

MAC = MacAddress.parse("66:00:00:00:00:01")
#: A journal's text as the version before kinds had modules of their own wrote it.
EARLIER = """{"links": [{"Link": ["flannel.1", "vxlan", 1450, {"MacAddress": "66:00:00:00:00:01"}, true, null,
{"Vxlan": [1, 8472, {"IPv4Address": "172.30.0.11"}, "eth0", false, false]}, null, null, null, "podwire backend", null,
null, null, null]}, {"Link": ["veth1", "veth", 1450, null, true, "cni0", null, {"VethPeer": ["pod", "eth0"]}, true,
null, null, null, null, null, null]}], "sysctls": [{"Sysctl": ["net/ipv4/ip_forward", "1"]}],
"addresses": [{"Address": ["flannel.1", {"IPv4Interface": "10.244.0.0/32"}, false, true]}],
"next_hops": [{"NextHop": [5, {"IPv4Address": "10.244.1.0"}, "flannel.1", true, 112]}],
"routes": [{"Route": [{"IPv4Network": "10.244.1.0/24"}, null, null, false, 5, 112, "global", null, 0, 254, "unicast",
0, 0]}]}"""
STATE = State(
    links=frozenset(
        {
            Link(
                *("flannel.1", "vxlan", 1450, MAC),
                settings=Vxlan(1, 8472, ip_address("172.30.0.11"), "eth0"),
                alias="podwire backend",
            ),
            Link("veth1", "veth", 1450, master="cni0", peer=VethPeer("pod", "eth0"), hairpin=True),
        }
    ),
    sysctls=frozenset({Sysctl("net/ipv4/ip_forward", "1")}),
    addresses=frozenset({Address("flannel.1", ip_interface("10.244.0.0/32"))}),
    next_hops=frozenset({NextHop(5, ip_address("10.244.1.0"), "flannel.1", True)}),
    routes=frozenset({Route(ip_network("10.244.1.0/24"), next_hop=5)}),
)


def test_the_table_has_the_fields_of_a_state() -> None:
    assert tuple(kind.field() for kind in KINDS) == State._fields


def test_an_earlier_versions_journal_is_read_and_written() -> None:
    assert state_from_json(json.loads(EARLIER)) == STATE
    assert json.loads(json.dumps(state_to_json(STATE))) == json.loads(EARLIER)


@pytest.mark.parametrize(
    "held",
    [
        PortVlans("veth1", ((1, 6), (5, 0))),
        NatRule(ip_network("10.244.1.0/24"), (ip_network("10.244.0.0/16"), ip_network("fd00::/48"))),
        Rule(Chain("inet", "podwire", "c", "nat", 4, 100), "a", "a b", "accept", b"\0\xff"),
        IptablesRule(4, "CNI-1", ("-s", "10.1.0.2/32", "-j", "ACCEPT"), order=-1),
        File("/run/a", "A=1\n"),
    ],
    ids=lambda held: type(held).__name__,
)
def test_objects_of_every_kind_are_json(held: Any) -> None:
    state = State()._replace(**{held.field(): frozenset([held])})
    assert state_from_json(json.loads(json.dumps(state_to_json(state)))) == state


@pytest.mark.parametrize("action", [ADD, CHANGE, REMOVE])
def test_commands_are_argument_lists(action: str) -> None:
    """A device may be called x;id: it is one word of a command, whatever a shell would make of it."""
    for held in (
        Link("x;id", "vxlan", 1450, settings=Vxlan(1, 8472, ip_address("172.30.0.11"), "y;id")),
        Address("x;id", ip_interface("10.244.0.0/32")),
        Neighbour("x;id", ip_address("10.244.1.0"), MAC),
        Route(ip_network("10.244.1.0/24"), ip_address("10.244.1.0"), "x;id"),
        Sysctl("net/ipv4/conf/x;id/rp_filter", "2"),
        File("/run/x;id", "a;id\n"),
    ):
        old = held if action == CHANGE else None
        for command in held.commands(action, old):
            assert shlex.split(str(command)) == [*command.words, *([">", command.output] if command.output else [])]
            assert "x;id" in " ".join([*command.words, command.output])
