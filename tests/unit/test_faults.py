"""The catalogue is whole and documented; patches, the journal's JSON and the undo are pure, and hold for any state."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.errors import FaultError, IntentError
from podwire.faults import resources
from podwire.faults.catalogue import CATALOGUE, named
from podwire.faults.document import markdown
from podwire.faults.edit import Patch, SetResource
from podwire.faults.fault import LAYERS, expected
from podwire.faults.files import FileText, Plugin
from podwire.faults.kernel_resources import FdbPin, NftTable, PolicyRule, PortFlag, Qdisc
from podwire.faults.patch import missing, patched
from podwire.faults.processes import StrayProcess
from podwire.faults.restore import mended
from podwire.intent.cluster import DeclaredFault
from podwire.intent.cluster_json import cluster_from_json, cluster_to_json
from podwire.intent.inventory import read
from podwire.model.codec import state_from_json, state_to_json
from podwire.model.objects import Address, FdbEntry, Link, MacAddress, Neighbour, Route, Sysctl, VethPeer, Vxlan
from podwire.model.state import EMPTY, State
from podwire.plan import plan
from podwire.stages.controller.faults import is_listed, is_repaired, selected, selected_by, table

ROOT = Path(__file__).resolve().parents[2]
MAC = MacAddress.parse("66:00:00:00:00:01")


def test_the_catalogue_is_whole() -> None:
    assert {fault.number for fault in CATALOGUE.values()} >= set(range(1, 68))
    for name, fault in CATALOGUE.items():
        assert fault.layer in LAYERS, name
        assert (fault.symptom is None) == bool(fault.quiet), name
        assert fault.title and fault.command and set(fault.parameters) <= {"peer", "pod"}, name
        assert len(name) <= 30 and name == name.lower(), name


def test_it_is_documented(golden: Callable[[Path, str], None]) -> None:
    golden(ROOT / "docs" / "FAULTS.md", markdown())


def test_a_name_that_is_none_gets_the_nearest() -> None:
    assert named("vni_mismatch").number == 37
    with pytest.raises(FaultError, match="did you mean vxlan_fdb_missing"):
        named("vxlan_fdb_mising")
    with pytest.raises(FaultError, match="there is no such fault; -e fault=list"):
        named("zzz")


# --- states ----------------------------------------------------------------------------------------

_devices = st.sampled_from(["eth0", "cni0", "flannel.1"])
_hosts = st.integers(1, 4).map(lambda n: IPv4Address(f"10.244.{n}.0"))
_links = st.builds(
    lambda mtu, up, alias: [
        Link("eth0", "", mtu=1500),
        Link("cni0", "bridge", mtu=mtu, up=up, alias=alias),
        Link("flannel.1", "vxlan", mtu=1450, mac=MAC, settings=Vxlan(1, 8472, IPv4Address("10.0.0.1"), "eth0")),
    ],
    st.sampled_from([1400, 1450]),
    st.booleans(),
    st.sampled_from([None, "mine"]),
)
_routes = st.builds(lambda ip, device: Route(IPv4Network(f"{ip}/24"), ip, device, True), _hosts, _devices)
_neighbours = st.builds(Neighbour, _devices, _hosts, st.just(MAC))
_sysctls = st.tuples(st.sampled_from("01"), st.sampled_from("01")).map(
    lambda values: [Sysctl("net/ipv4/ip_forward", values[0]), Sysctl("net/ipv4/conf/cni0/forwarding", values[1])]
)


def _unique(objects: List[Any], key: Callable[[Any], Any]) -> frozenset[Any]:
    return frozenset({key(each): each for each in objects}.values())


states = st.builds(
    lambda links, routes, neighbours, sysctls, addresses: EMPTY._replace(
        links=frozenset(links),
        routes=_unique(routes, lambda each: each.destination),
        neighbours=_unique(neighbours, lambda each: (each.device, each.address)),
        sysctls=frozenset(sysctls),
        addresses=frozenset(addresses),
    ),
    _links,
    st.lists(_routes, max_size=4),
    st.lists(_neighbours, max_size=4),
    _sysctls,
    st.lists(st.builds(lambda ip: Address("cni0", IPv4Interface(f"{ip}/24")), _hosts), max_size=2),
)


@given(states, states)
def test_what_nobody_else_touched_is_as_before(before: State, after: State) -> None:
    assert mended(before, after, after) == before


@given(states, states)
def test_after_a_crash_all_differences_are_the_faults(before: State, now: State) -> None:
    assert mended(before, None, now) == before


@given(states, states)
def test_mending_twice_is_mending_once(before: State, after: State) -> None:
    once = mended(before, after, after)
    assert plan(mended(before, after, once), once) == []


@given(states, states, states)
def test_what_came_beside_the_fault_stays(before: State, after: State, other: State) -> None:
    new = {each for each in other.neighbours if each not in before.neighbours | after.neighbours}
    now = after._replace(neighbours=after.neighbours | new)
    assert new <= mended(before, after, now).neighbours


def test_a_node_that_was_converged_is_left_alone() -> None:
    entry = FdbEntry("flannel.1", MAC, IPv4Address("172.30.0.12"))
    before = EMPTY._replace(fdb=frozenset({entry}))
    wrong = EMPTY._replace(fdb=frozenset({entry._replace(destination=IPv4Address("172.30.0.13"))}))
    moved = EMPTY._replace(fdb=frozenset({entry._replace(destination=IPv4Address("172.30.0.99"))}))
    assert mended(before, wrong, wrong) == before
    assert mended(before, wrong, before) == before
    assert mended(before, wrong, moved) == moved  # the peer moved meanwhile: what is declared now is right


@given(states)
def test_states_survive_the_journal(state: State) -> None:
    peer = Link("veth0", "veth", master="cni0", peer=VethPeer("pod:pod-a", "eth0"))
    whole = state._replace(links=state.links | {peer})
    assert state_from_json(json.loads(json.dumps(state_to_json(whole)))) == whole


@pytest.mark.parametrize(
    "resource",
    [
        FileText("/etc/x"), NftTable("ip", "x"),
        PolicyRule(100, "from 10.0.0.1 unreachable"),
        PortFlag("veth0", "state"), FdbPin("veth0", str(MAC)), Qdisc("eth0"),
        Plugin("/opt/cni/bin/bridge"), StrayProcess("impostor", "abcd", 80),
    ],
    ids=lambda resource: type(resource).__name__,
)  # fmt: skip
def test_resources_survive_the_journal(resource: Any) -> None:
    assert resources.from_json(json.loads(json.dumps(resources.to_json(resource)))) == resource


def test_a_file_that_changes_is_told_by_its_lines() -> None:
    resource = FileText("/etc/x")
    old, new = ({"text": text, "mode": 0o644} for text in ('{\n  "a": 1,\n  "b": 2\n}\n', '{\n  "b": 2\n}\n'))
    assert resources.change(resource, old, new) == 'file /etc/x: - "a": 1,'
    assert resources.change(resource, None, new) == "file /etc/x: new, 13 bytes"
    assert resources.change(resource, new, None) == "file /etc/x: removed"
    assert resources.change(resource, new, {**new, "mode": 0}) == "file /etc/x: mode 0000"
    assert resources.change(resource, old, {"text": "", "mode": 0}).endswith('- {; - "a": 1,; and 2 more lines')


def test_patches_follow_one_another() -> None:
    up = Link("cni0", "bridge", mtu=1450, hairpin=None)
    down = up._replace(up=False)
    route = Route(IPv4Network("10.244.1.0/24"), device="cni0")
    state = EMPTY._replace(links=frozenset({up}), routes=frozenset({route}))
    flap = [Patch("node", (up,), (down,)), Patch("node", (down, route), (up,))]
    for each in flap:
        state = patched(state, each)
    assert state == EMPTY._replace(links=frozenset({up}))
    assert missing(flap, {"node": state}) == ""
    assert missing(flap, {"node": state._replace(routes=frozenset({route}))}) == f"node without {route}"
    assert missing(flap[:1], {"node": state}) == f"{down} in node"


def test_what_a_diagnosis_has_to_name() -> None:
    fault = CATALOGUE["vxlan_fdb_wrong_vtep"]
    right = FdbEntry("flannel.1", MAC, IPv4Address("172.30.0.12"))
    wrong = right._replace(destination=IPv4Address("172.30.0.13"))
    told = expected(fault, "node-1", [Patch("node", (right,), (wrong,))])
    assert told == ("vxlan_fdb_wrong_vtep", "node-1", "node", str(right), str(wrong))
    table = NftTable("inet", "hostfw")
    assert expected(CATALOGUE["vxlan_port_blocked"], "node-1", [SetResource("node", table, "…")]).found == str(table)


# --- the inventory -------------------------------------------------------------------------------


KNOWN = {"route_missing": ("peer", "pod"), "cni_conf_missing": ()}


def declared(faults: Any, known: Any = KNOWN) -> Any:
    hosts: Dict[str, Dict[str, Any]] = {name: {"faults": faults} for name in ("node-1", "node-2")}
    return read(hosts, source="hosts.yml", faults=known)


def test_faults_are_declared_and_reach_the_nodes() -> None:
    cluster = declared([{"fault": "route_missing", "node": "node-1", "peer": "node-2", "pod": "node-1-pod-1"}])
    assert cluster.faults == (DeclaredFault("route_missing", "node-1", "node-2", "node-1-pod-1"),)
    assert cluster_from_json(json.loads(json.dumps(cluster_to_json(cluster)))) == cluster
    assert declared([{"fault": "anything", "node": "node-1"}], None).faults


@pytest.mark.parametrize(
    "faults, problem",
    [
        ([{"fault": "route_mising", "node": "node-1"}], '.fault = "route_mising": no such fault; did you mean route_m'),
        ([{"fault": "route_missing", "node": "node-3"}], '.node = "node-3": no such node; did you mean node-1?'),
        ([{"fault": "route_missing"}], "has no node; add node"),
        ([{"node": "node-1"}], "has no fault; add fault"),
        ([{"fault": "route_missing", "node": "node-1", "peer": "node-1"}], "the node itself"),
        ([{"fault": "route_missing", "node": "node-1", "pod": "node-2-pod-1"}], "runs on node-2, not on node-1"),
        ([{"fault": "route_missing", "node": "node-1", "pods": "x"}], "unknown key; did you mean pod?"),
        ([{"fault": "route_missing", "node": "node-1", "host_wide": "yes"}], "write true without quotes"),
        ([{"fault": "route_missing", "node": "node-1", "pod": ["a"]}], '.pod = ["a"]: no such pod'),
        ([{"fault": ["a"], "node": "node-1"}], '.fault = ["a"]: no such fault'),
        ([{"fault": "cni_conf_missing", "node": "node-1", "peer": "node-2"}], "cni_conf_missing takes no peer"),
        (["route_missing"], "not a fault; write a mapping"),
        ([{"fault": "route_missing", "node": "node-1"}] * 2, "declared twice on node-1"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_declared_fault_is_said(faults: Any, problem: str) -> None:
    with pytest.raises(IntentError) as raised:
        declared(faults)
    assert problem in str(raised.value)


# --- the command line ----------------------------------------------------------------------------

HOSTS = ["node-1", "node-2"]


def test_what_the_command_line_asks_for() -> None:
    cluster = declared([{"fault": "route_missing", "node": "node-2"}])
    assert selected(cluster, {}, HOSTS) == list(cluster.faults)
    assert selected(cluster, {}, ["node-1"]) == selected(cluster, {"node": "node-1"}, HOSTS) == []
    assert selected(cluster, {"host_wide": True}, HOSTS) == [DeclaredFault("route_missing", "node-2", host_wide=True)]
    options = {"fault": "vni_mismatch", "node": "node-1", "peer": "node-2", "pod": "node-1-pod-1", "host_wide": True}
    assert selected(cluster, options, HOSTS) == [DeclaredFault(*list(options.values())[:4], host_wide=True)]
    assert selected_by("node-2", cluster, options, HOSTS) == selected(cluster, options, HOSTS)


def test_what_is_wrong_with_the_command_line_is_said_once() -> None:
    cluster = declared(None)
    for function in (selected_by, is_repaired):
        with pytest.raises(FaultError, match="did you mean vni_mismatch"):
            function("node-1", cluster, {"fault": "vni_mismach"}, HOSTS)
        assert not function("node-2", cluster, {"fault": "vni_mismach", "node": "node-1"}, HOSTS)
    with pytest.raises(FaultError, match="'node-7' is not declared"):
        is_listed("node-1", {"node": "node-7"}, HOSTS)
    assert [is_listed(host, {"node": "node-2"}, HOSTS) for host in HOSTS] == [False, True]
    assert [is_listed(host, {}, HOSTS) for host in HOSTS] == [True, False]
    assert [is_repaired(host, cluster, {"node": "node-2"}, HOSTS) for host in HOSTS] == [False, True]
    assert all(is_repaired(host, cluster, {}, HOSTS) for host in HOSTS)


def test_the_listing_has_each_fault_once_and_reasons_with_the_name() -> None:
    lines = table({"link_lossy": "this kernel lacks netem", "vni_mismatch": ""}, "node-2").splitlines()
    where = lines.index("NOT POSSIBLE ON node-2")
    assert [line.split()[0] for line in lines[2:where] if line.startswith("  ")] == [
        name for layer in LAYERS for name, fault in CATALOGUE.items() if fault.layer == layer
    ]
    assert [line.split(maxsplit=1) for line in lines[where + 1 : where + 3]] == [
        ["link_lossy", "this kernel lacks netem"],
        [],
    ]
    assert max(map(len, lines)) <= 120
    assert "node-2 is not running" in table(None, "node-2")


@pytest.mark.parametrize(
    "options, problem",
    [
        ({}, "no fault is named, and the inventory declares none"),
        ({"fault": "vni_mismatch"}, "no node is named (choose node-1, node-2: -e node=…)"),
        ({"fault": "cni_conf_missing", "node": "node-1", "peer": "node-2"}, "it takes no peer (leave out -e peer=…)"),
        ({"fault": "vni_mismatch", "node": "node-9"}, "node 'node-9' is not declared"),
        ({"fault": "vni_mismatch", "node": "node-1", "peer": "node-1"}, "peer node-1 is the node itself"),
        ({"fault": "vni_mismatch", "node": "node-1", "pod": "node-2-pod-1"}, "runs on node-2, not on node-1"),
        ({"fault": "vni_mismatch", "node": "node-1", "pod": "x"}, "pod 'x' is not declared"),
    ],
)
def test_what_is_wrong_with_the_command_line_is_said(options: Dict[str, Any], problem: str) -> None:
    with pytest.raises(FaultError) as raised:
        selected(declared(None), options, HOSTS)
    assert problem in str(raised.value)


def test_a_node_that_the_run_leaves_out_is_said() -> None:
    with pytest.raises(FaultError, match="node-1 is none of the run's hosts"):
        selected(declared(None), {"fault": "vni_mismatch", "node": "node-1"}, ["node-2"])
