"""The external interface of a machine: chosen by name, pattern, address or route, and remembered."""

from __future__ import annotations

from typing import Any, Dict, Tuple

import pytest

from podwire.errors import IntentError
from podwire.intent.cluster import Cluster, Node
from podwire.intent.inventory import read, record_of
from podwire.intent.leases import Record

FACTS = {
    "interfaces": [
        ["eth0", 1500, ["192.0.2.1/24", "192.0.2.100/32", "fd00::1/64"]],
        ["eth1", 9000, ["198.51.100.1/24", "198.51.100.9/24", "fd01::1/64"]],
        ["cni0", 1450, ["10.244.0.1/24"]],
    ],
    "routes": [["192.0.2.2", "eth0", "192.0.2.1"]],
}
DUAL = {"cluster_cidrs": ["10.244.0.0/16", "fd00:10:244::/56"]}


def node(variables: Dict[str, Any], facts: Any = FACTS) -> Node:
    return cluster(variables, facts).nodes[0]


def cluster(variables: Dict[str, Any], facts: Any = FACTS, record: Record | None = None) -> Cluster:
    hosts = {"node-1": {"node_kind": "ssh", **variables}}
    return read(hosts, source="hosts.yml", facts={"node-1": facts} if facts else {}, record=record)


@pytest.mark.parametrize(
    ("variables", "chosen"),
    [
        ({}, ("eth0", 1500, "192.0.2.1/24")),
        ({"ansible_host": "203.0.113.1"}, ("eth0", 1500, "192.0.2.1/24")),
        ({"node_interface": "eth1"}, ("eth1", 9000, "198.51.100.1/24")),
        ({"node_interface_regex": "eth."}, ("eth0", 1500, "192.0.2.1/24")),
        ({"node_interface_regex": ".*1"}, ("eth1", 9000, "198.51.100.1/24")),
        ({"node_interface_cidr": "198.51.100.8/31"}, ("eth1", 9000, "198.51.100.9/24")),
        ({"node_address": "198.51.100.9"}, ("eth1", 9000, "198.51.100.9/24")),
        ({"node_address": "198.51.100.9/31"}, ("eth1", 9000, "198.51.100.9/31")),
        ({"node_interface": "eth1", "node_mtu": 1400}, ("eth1", 1400, "198.51.100.1/24")),
        (DUAL, ("eth0", 1500, "192.0.2.1/24 fd00::1/64")),
        (
            {**DUAL, "node_interface_cidr": ["198.51.100.8/31", "fd01::/16"]},
            ("eth1", 9000, "198.51.100.9/24 fd01::1/64"),
        ),
    ],
)
def test_the_interface_that_is_meant(variables: Dict[str, Any], chosen: Tuple[str, int, str]) -> None:
    found = node(variables)
    assert (found.interface, found.mtu, " ".join(map(str, found.addresses))) == chosen
    assert found.public_ips == tuple(each.ip for each in found.addresses)


def test_the_only_interface_of_the_only_node() -> None:
    only = node({}, {"interfaces": [["ens3", 1400, ["192.0.2.1/24"]]], "routes": []})
    assert (only.interface, only.mtu) == ("ens3", 1400)


def test_a_node_behind_nat_is_sent_to_elsewhere() -> None:
    found = node({"node_public_ip": "203.0.113.7"})
    assert (str(found.addresses[0]), str(found.public_ips[0])) == ("192.0.2.1/24", "203.0.113.7")


def test_a_node_that_was_not_reached_keeps_nobody_from_the_others() -> None:
    hosts = {name: {"node_kind": "ssh", "ansible_host": f"192.0.2.{n}"} for n, name in ((1, "node-1"), (2, "node-2"))}
    with pytest.raises(IntentError, match="node-2: node_interface: not set, and the node has not been reached yet"):
        read(hosts, source="hosts.yml", facts={"node-1": FACTS})
    found = read(hosts, source="hosts.yml", facts={"node-1": FACTS}, lost=["node-2"]).node("node-2")
    assert [str(each) for each in found.public_ips] == ["192.0.2.2"]


def test_what_was_found_is_remembered_for_runs_that_do_not_reach_the_node() -> None:
    before = cluster({"node_interface_cidr": "198.51.100.0/24"})
    record = Record.from_json(record_of(before).to_json())
    assert cluster({"node_interface_cidr": "198.51.100.0/24"}, None, record).nodes == before.nodes
    assert cluster({}, FACTS, record).nodes[0].interface == "eth0"
