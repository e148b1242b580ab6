"""A new kind of device is one module and a line in the table: here IPIP tunnels, which podwire itself has not."""

from __future__ import annotations

import json
import subprocess
import sys
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, NamedTuple, Optional

import pytest

from podwire.converge import Target, converge
from podwire.errors import UnsupportedError
from podwire.explain.commands import commands
from podwire.kernel import Namespace, link_of, show
from podwire.model.codec import state_from_json, state_to_json
from podwire.model.command import script
from podwire.model.devices.device import Device, Particulars
from podwire.model.devices.table import DEVICES
from podwire.model.link import row
from podwire.model.objects import Address, Link, Route
from podwire.model.state import State, scope_of
from podwire.model.wire import EXCLUSIVE, RTM_NEWLINK, attribute, ip, number, u32
from podwire.observe import snapshot
from podwire.plan import ADD, plan

if TYPE_CHECKING:
    from podwire.model.wire import Index, Names

# --- the module -----------------------------------------------------------------------------------------

_LINK, _LOCAL, _REMOTE = 1, 2, 3  # IFLA_IPTUN_*


class Ipip(NamedTuple):
    """An IPIP tunnel's settings; without ``remote`` its routes' gateways are the other ends."""

    local: IPv4Address
    device: str = ""
    remote: Optional[IPv4Address] = None


class IpipDevice(Device):
    settings = Ipip

    def info(self, link: Particulars, index: Index, namespaces: Mapping[str, int]) -> bytes:
        assert isinstance(link.settings, Ipip)
        local, device, remote = link.settings
        parts = [attribute(_LOCAL, local.packed), u32(_LINK, index(device)) if device else b""]
        return b"".join([*parts, attribute(_REMOTE, remote.packed) if remote else b""])

    def decode(self, data: Mapping[int, bytes], names: Names) -> Dict[str, Any]:
        remote = data.get(_REMOTE, bytes(4))
        device = names.get(number(data[_LINK]), "") if _LINK in data else ""
        return {"settings": Ipip(ip(data[_LOCAL]), device, ip(remote) if any(remote) else None)}  # type: ignore[arg-type]

    def words(self, link: Particulars) -> List[str]:
        assert isinstance(link.settings, Ipip)
        return [f"local {link.settings.local}"]

    def arguments(self, link: Particulars) -> List[object]:
        assert isinstance(link.settings, Ipip)
        local, device, remote = link.settings
        return ["local", local, *(["remote", remote] if remote else []), *(["dev", device] if device else [])]

    def feature(self, link: Particulars) -> str:
        return "IPIP tunnels (CONFIG_NET_IPIP)"


KIND = IpipDevice()

# --- its use --------------------------------------------------------------------------------------------

TUNNEL = Link("tunl1", "ipip", 1480, settings=Ipip(IPv4Address("192.0.2.1"), "eth0"))
GATEWAY = IPv4Address("192.0.2.2")
DESIRED = State(
    links=frozenset([Link("eth0", "bridge"), TUNNEL]),
    addresses=frozenset([Address("eth0", IPv4Interface("192.0.2.1/24"))]),
    routes=frozenset([Route(IPv4Network("10.244.2.0/24"), GATEWAY, "tunl1", onlink=True)]),
)


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line."""
    monkeypatch.setitem(DEVICES, "ipip", sys.modules[__name__])


def test_a_plan_makes_it_after_its_device_and_anew_where_its_settings_differ() -> None:
    assert [str(operation) for operation in plan(DESIRED, State())] == [
        "+ link eth0 bridge up",
        "+ link tunl1 ipip local 192.0.2.1 mtu 1480 up",
        "+ address 192.0.2.1/24 dev eth0",
        "+ route 10.244.2.0/24 via 192.0.2.2 dev tunl1 onlink proto 112",
    ]
    other = TUNNEL._replace(settings=Ipip(IPv4Address("192.0.2.9"), "eth0"))
    assert TUNNEL.recreation(other) == "local 192.0.2.9 instead of 192.0.2.1"
    actions = [operation.action for operation in plan(State(frozenset([TUNNEL])), State(frozenset([other])))]
    assert actions == ["remove", "add"]
    wrong = State(links=frozenset([TUNNEL._replace(mtu=1400)]))
    assert [operation.action for operation in plan(State(frozenset([TUNNEL])), wrong)] == ["change"]


def test_messages_commands_and_json() -> None:
    ((kind, flags, payload),) = TUNNEL.messages(ADD, None, lambda name: {"eth0": 7}[name], {})
    assert (kind, flags) == (RTM_NEWLINK, EXCLUSIVE)
    assert Link.decode(payload, {7: "eth0"})._replace(promisc=None, allmulti=None) == TUNNEL
    assert row(payload, {7: "eth0"})["ipip"] == {"local": "192.0.2.1", "device": "eth0", "remote": ""}
    typed = "ip link add 'x;id' mtu 1480 type ipip local 192.0.2.1 dev eth0 && ip link set dev 'x;id' up"
    (operation,) = plan(State(frozenset([TUNNEL._replace(name="x;id")])), State())
    assert script(commands(operation)) == typed
    assert state_from_json(json.loads(json.dumps(state_to_json(DESIRED)))) == DESIRED


def test_the_kernel_makes_and_shows_it(namespace: Namespace) -> None:
    try:
        converge([Target(namespace, DESIRED, scope_of(DESIRED))])
    except UnsupportedError as error:
        assert "lacks IPIP tunnels" in error.message
        pytest.skip("this kernel has no IPIP tunnels")
    shown = show(namespace, scope_of(DESIRED)).state
    assert plan(DESIRED, shown) == []
    link = link_of(namespace, "tunl1")
    assert link is not None and isinstance(link.settings, Ipip) and link.settings.local == IPv4Address("192.0.2.1")
    (device,) = json.loads(subprocess.check_output(["ip", "-d", "-j", "link", "show", "tunl1"]))
    assert (device["mtu"], device["linkinfo"]["info_kind"]) == (1480, "ipip")
    (seen,) = [link for link in snapshot.read(namespace)["links"] if link["name"] == "tunl1"]
    assert (seen["kind"], seen["ipip"]["local"], seen["ipip"]["device"]) == ("ipip", "192.0.2.1", "eth0")
    assert not converge([Target(namespace, DESIRED, scope_of(DESIRED))]).changed
