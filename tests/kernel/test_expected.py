"""Dumps are recognised by their bytes: every object of a plain large node, and none that differs."""

from __future__ import annotations

import subprocess
from ipaddress import IPv4Address, IPv4Network

import pytest

from podwire.converge import Target, converge
from podwire.kernel import Namespace, Reader, devices
from podwire.kernel.netlink.expected import expected
from podwire.model import fdb, neighbour, next_hop, route
from podwire.model.objects import FdbEntry, Link, MacAddress, Neighbour, NextHop, Route, Vxlan
from podwire.model.state import State, scope_of
from podwire.plan import plan

PEERS = range(2, 22)


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def mac(number: int) -> MacAddress:
    return MacAddress(bytes([0x66, 0, 0, 0, 0, number]))


def gateway(number: int) -> IPv4Address:
    return IPv4Address(f"10.0.{number}.0")


@pytest.fixture
def desired(namespace: Namespace) -> State:
    """Twenty peers by next-hop objects, in place."""
    run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "wire")
    run("ip", "address", "add", "172.16.0.1/16", "dev", "eth0")
    vxlan = Vxlan(1, 8472, IPv4Address("172.16.0.1"), "eth0")
    hops = {number: NextHop(number, gateway(number), "flannel.1", onlink=True) for number in PEERS}
    state = State(
        links=frozenset({Link("flannel.1", "vxlan", mac=mac(1), settings=vxlan)}),
        neighbours=frozenset(Neighbour("flannel.1", gateway(n), mac(n)) for n in PEERS),
        fdb=frozenset(FdbEntry("flannel.1", mac(n), IPv4Address(f"172.16.0.{n}")) for n in PEERS),
        next_hops=frozenset(hops.values()),
        routes=frozenset(Route(IPv4Network((int(gateway(n)), 24)), next_hop=n) for n in PEERS),
    )
    converge([Target(namespace, state, scope_of(state))])
    return state


def test_every_object_is_recognised_in_a_dump(namespace: Namespace, desired: State) -> None:
    dump = namespace.socket.dump
    indices = {name: index for index, name in devices.names(namespace).items()}
    entries = fdb.fdb_request(indices["flannel.1"])
    begins = {payload[: neighbour.HEAD_BYTES] for _, payload in dump(neighbour.RTM_GETNEIGH, bytes(12))}
    begins |= {payload[: fdb.HEAD_BYTES] for _, payload in dump(neighbour.RTM_GETNEIGH, entries)}
    begins |= {payload for _, payload in dump(next_hop.RTM_GETNEXTHOP, bytes(8))}
    begins |= {payload[: route.HEAD_BYTES] for _, payload in dump(route.RTM_GETROUTE, bytes(12))}
    known = expected(desired, indices)
    assert len(known) == 4 * len(PEERS)
    assert known.keys() <= begins


DEVIATIONS = {
    "neighbour": "neigh replace 10.0.5.0 lladdr 66:00:00:00:00:99 dev flannel.1 nud permanent",
    "neighbour that may age": "neigh replace 10.0.5.0 lladdr 66:00:00:00:00:05 dev flannel.1 nud reachable",
    "next hop's gateway": "nexthop replace id 5 via 10.0.99.0 dev flannel.1 onlink proto 112",
    "next hop's protocol": "nexthop replace id 5 via 10.0.5.0 dev flannel.1 onlink proto 113",
    "route by another next hop": "route replace 10.0.5.0/24 nhid 6 proto 112",
    "route by a gateway": "route replace 10.0.5.0/24 via 10.0.5.0 dev flannel.1 onlink proto 112",
    "route of another type": "route replace blackhole 10.0.5.0/24 proto 112",
    "route with an MTU": "route replace 10.0.5.0/24 nhid 5 proto 112 mtu 1000",
    "route with a source": "route replace 10.0.5.0/24 nhid 5 proto 112 src 172.16.0.1",
}


@pytest.mark.parametrize("deviation", DEVIATIONS.values(), ids=DEVIATIONS)
def test_what_differs_is_not_taken_for_what_is_desired(namespace: Namespace, desired: State, deviation: str) -> None:
    reader = Reader(namespace, scope_of(desired), desired)
    assert plan(desired, reader.show().state) == []
    run("ip", *deviation.split())
    assert len(plan(desired, reader.show().state)) == 1
    assert len(plan(desired, Reader(namespace, scope_of(desired), desired).show().state)) == 1


def test_an_fdb_entry_that_differs_shows(namespace: Namespace, desired: State) -> None:
    reader = Reader(namespace, scope_of(desired), desired)
    assert plan(desired, reader.show().state) == []
    run("bridge", "fdb", "replace", str(mac(5)), "dev", "flannel.1", "dst", "172.16.0.99", "self", "permanent")
    assert [str(each.object) for each in plan(desired, reader.show().state)] == [
        f"fdb {mac(5)} dst 172.16.0.5 dev flannel.1 self permanent"
    ]
