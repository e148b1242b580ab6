"""What a machine has, against what ip(8) says of it."""

from __future__ import annotations

import json
import subprocess
from ipaddress import ip_address
from typing import Any, List

import pytest

from podwire.kernel import Namespace
from podwire.kernel.interfaces import interfaces
from podwire.kernel.lookup import route_get
from podwire.stages.facts import facts

SET_UP = """
link set lo up
link add eth0 mtu 1400 type veth peer name far
link add eth1 type bridge
link add flannel.1 type bridge
link set flannel.1 alias "podwire backend"
link add empty type bridge
link set eth0 addrgenmode none
link set far addrgenmode none
link set eth1 addrgenmode none
link set eth0 up
link set far up
link set eth1 up
address add 192.0.2.1/24 dev eth0
address add 192.0.2.9/24 dev eth0
address add 2001:db8::1/64 dev eth0 nodad
address add 2001:db8::9/64 dev eth0 nodad preferred_lft 0
address add 198.51.100.1/24 dev eth1
address add 10.244.0.0/32 dev flannel.1
route add 203.0.113.0/24 via 192.0.2.254 src 192.0.2.9
route add 2001:db8:1::/64 via 2001:db8::2
"""
DESTINATIONS = ("192.0.2.2", "203.0.113.1", "198.51.100.7", "2001:db8::5", "2001:db8:1::1")


@pytest.fixture
def machine(namespace: Namespace) -> Namespace:
    """A namespace with two interfaces and a backend's device."""
    subprocess.run(["ip", "-batch", "-"], input=SET_UP, text=True, check=True)
    return namespace


def ip(*words: str) -> List[Any]:
    return list(json.loads(subprocess.run(["ip", "-j", *words], capture_output=True, check=True).stdout))


def test_interfaces_with_addresses_those_first_that_are_sent_from(machine: Namespace) -> None:
    assert [tuple(each) for each in interfaces(machine)] == [
        ("eth0", 1400, ["192.0.2.1/24", "2001:db8::1/64", "192.0.2.9/24"]),
        ("eth1", 1500, ["198.51.100.1/24"]),
    ]
    shown = {each["ifname"]: each["mtu"] for each in ip("link")}
    assert all(shown[each.name] == each.mtu for each in interfaces(machine))


@pytest.mark.parametrize("destination", DESTINATIONS)
def test_a_looked_up_route_is_the_kernels(machine: Namespace, destination: str) -> None:
    (expected,) = ip("route", "get", destination)
    route = route_get(machine, ip_address(destination))
    assert route is not None
    assert (route.device, str(route.source)) == (expected["dev"], expected["prefsrc"])


@pytest.mark.parametrize("kind", ["", "unreachable", "blackhole", "prohibit"])
def test_no_route(namespace: Namespace, kind: str) -> None:
    if kind:
        subprocess.run(["ip", "route", "add", kind, "192.0.2.0/24"], check=True)
    assert route_get(namespace, ip_address("192.0.2.2")) is None


def test_facts_tell_one_route_for_each_way(machine: Namespace) -> None:
    said = facts(["192.0.2.2", "192.0.2.3", "198.51.100.2", "203.0.113.5"])["facts"]
    assert said["routes"] == [
        ["192.0.2.2", "eth0", "192.0.2.1"],
        ["198.51.100.2", "eth1", "198.51.100.1"],
        ["203.0.113.5", "eth0", "192.0.2.9"],
    ]
    assert [name for name, _, _ in said["interfaces"]] == ["eth0", "eth1"]


def test_names_are_looked_up_where_there_are_no_addresses(machine: Namespace) -> None:
    """Those that nobody knows are left out; no server of names can be reached from here."""
    assert [route[0] for route in facts(["no-such-host.invalid", "localhost"])["facts"]["routes"]] == ["localhost"]
    assert [route[0] for route in facts(["192.0.2.2", "localhost"])["facts"]["routes"]] == ["192.0.2.2"]
