"""Leases stay what they were, are honoured when explicit, and are never given twice."""

from __future__ import annotations

import json
from ipaddress import ip_interface, ip_network
from typing import Dict, List, Optional, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.errors import IntentError
from podwire.intent.inventory import read
from podwire.intent.leases import Record, hand_out, lease, record_of
from podwire.model.objects import IPNetwork

CLUSTER = ip_network("10.244.0.0/16")


def leased(
    nodes: str, explicit: Optional[Dict[str, str]] = None, record: Optional[Record] = None, length: int = 24
) -> Dict[str, str]:
    wanted = {node: ip_network(block) for node, block in (explicit or {}).items()}
    given = lease(CLUSTER, length, nodes.split(), wanted, record or Record())
    return {node: str(block) for node, block in given.items()}


def remembered(**blocks: str) -> Record:
    return Record({node: (ip_network(block),) for node, block in blocks.items()})


def test_first_free_block_in_inventory_order() -> None:
    assert leased("b a c") == {"b": "10.244.0.0/24", "a": "10.244.1.0/24", "c": "10.244.2.0/24"}


def test_explicit_block_is_stepped_over() -> None:
    assert leased("a b", {"b": "10.244.0.0/24"}) == {"a": "10.244.1.0/24", "b": "10.244.0.0/24"}
    assert leased("a b c", {"b": "10.244.0.0/23"})["a"] == "10.244.2.0/24"
    assert leased("a b c", {"b": "10.244.0.128/25"})["a"] == "10.244.1.0/24"


def test_recorded_block_is_kept() -> None:
    assert leased("new a", record=remembered(a="10.244.7.0/24")) == {"a": "10.244.7.0/24", "new": "10.244.0.0/24"}


def test_recorded_block_gives_way_to_an_explicit_one() -> None:
    given = leased("a b", {"b": "10.244.7.0/24"}, remembered(a="10.244.7.0/24"))
    assert given == {"a": "10.244.0.0/24", "b": "10.244.7.0/24"}


def test_removed_node_finds_its_block_again() -> None:
    record = remembered(gone="10.244.0.0/24")
    assert leased("new", record=record) == {"new": "10.244.1.0/24"}
    assert leased("new gone", record=record)["gone"] == "10.244.0.0/24"


def test_block_of_a_removed_node_is_given_when_nothing_else_is_free() -> None:
    record = remembered(gone="10.244.0.0/17", a="10.244.128.0/17")
    assert leased("a new", record=record, length=17)["new"] == "10.244.0.0/17"


def test_what_a_node_held_before_its_explicit_block_is_free() -> None:
    given = leased("a new", {"a": "10.244.9.0/24"}, remembered(a="10.244.0.0/24"))
    assert given["new"] == "10.244.0.0/24"


@pytest.mark.parametrize("recorded", ["10.99.0.0/24", "10.244.8.0/25", "10.244.8.0/22", "fd00::/64"])
def test_recorded_block_that_no_longer_fits_is_forgotten(recorded: str) -> None:
    assert leased("a", record=remembered(a=recorded)) == {"a": "10.244.0.0/24"}


def test_full_cluster_leaves_nodes_without() -> None:
    assert leased("a b c", length=17).keys() == {"a", "b"}


def test_huge_ranges_cost_nothing() -> None:
    given = lease(ip_network("fd00::/16"), 64, ["a", "b"], {"a": ip_network("fd00::/20")}, Record())
    assert given["b"] == ip_network("fd00:1000::/64")


def test_two_holders_of_one_unit_do_not_keep_it_both() -> None:
    assert hand_out(["a", "b"], {"a": 3, "b": 3}, [], [(0, 9)]) == {"a": 3, "b": 0}


def test_a_unit_in_use_is_not_given_as_a_removed_owners() -> None:
    assert hand_out(["a", "new"], {"a": 0, "gone": 0}, [], [(0, 0)]) == {"a": 0}


NODES = st.lists(st.sampled_from("abcdefgh"), unique=True)
EXPLICIT = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 7), max_size=3)


@given(st.lists(st.tuples(NODES, EXPLICIT), max_size=8))
def test_any_sequence_of_runs(runs: List[Tuple[List[str], Dict[str, int]]]) -> None:
    """Eight blocks, up to eight nodes that come, go and ask: unique always, kept unless asked away."""
    cidr = ip_network("10.244.0.0/21")
    record = Record()
    ever: Dict[str, IPNetwork] = {}
    for nodes, asked in runs:
        explicit: Dict[str, IPNetwork] = {}
        for node, number in asked.items():
            block = ip_network((int(cidr.network_address) + 256 * number, 24))
            if node in nodes and block not in explicit.values():
                explicit[node] = block
        given = lease(cidr, 24, nodes, explicit, record)
        assert given.keys() == set(nodes)
        assert len(set(given.values())) == len(nodes)
        assert all(block.subnet_of(cidr) for block in given.values())  # type: ignore[arg-type]
        for node, block in given.items():
            held = record.pod_cidrs.get(node)
            if node in explicit:
                assert block == explicit[node]
            elif held and held[0] not in explicit.values():
                assert block == held[0]
        ever = {node: block for node, block in ever.items() if block not in given.values()}
        ever.update(given)
        record = Record({node: (block,) for node, block in ever.items()})


@given(NODES, NODES)
def test_record_keeps_removed_nodes(before: List[str], after: List[str]) -> None:
    first = read({name: {} for name in ["one", *before]}, source="hosts.yml")
    record = Record.from_json(json.loads(json.dumps(record_of(first).to_json())))
    second = read({name: {} for name in [*after, "one"]}, source="hosts.yml", record=record)
    third = read({name: {} for name in ["one", *before]}, source="hosts.yml", record=record_of(second, record))
    assert third.nodes == first.nodes
    for node in second.nodes:
        if node.name in before:
            assert node == first.node(node.name)


def test_record_drops_what_somebody_else_holds_now() -> None:
    earlier = remembered(gone="10.244.0.0/24", away="10.244.9.0/24")
    record = record_of(read({"a": {"node_pod_cidrs": ["10.244.0.0/24"]}}, source="hosts.yml"), earlier)
    assert "gone" not in record.pod_cidrs
    assert record.pod_cidrs["away"] == (ip_network("10.244.9.0/24"),)


def test_record_keeps_the_family_that_is_free() -> None:
    both = (ip_network("10.244.0.0/24"), ip_network("fd00::/64"))
    record = record_of(read({"a": {}}, source="hosts.yml"), Record({"gone": both}))
    assert record.pod_cidrs["gone"] == both[1:]


def test_record_drops_addresses_that_somebody_else_has_now() -> None:
    here, there = (ip_interface("172.30.0.11/16"),), (ip_interface("172.30.0.99/16"),)
    earlier = Record({}, {"gone": {"underlay": here}, "away": {"underlay": there, "old": here}})
    record = record_of(read({"a": {}}, source="hosts.yml"), earlier)
    assert "gone" not in record.addresses
    assert record.addresses["away"] == {"underlay": there, "old": here}


@pytest.mark.parametrize(
    "data", [None, [], {}, {"version": 2}, {"version": 1, "pod_cidrs": {"a": ["x"]}, "addresses": {}}]
)
def test_broken_record_is_reported(data: object) -> None:
    with pytest.raises(IntentError, match="failed to read the record of earlier leases: .*; restore it"):
        Record.from_json(data)
