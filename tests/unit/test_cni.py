"""Configurations, results and projections as values."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.cni.netconf import Attachment, CniRoute, NetConf
from podwire.cni.netlist import parse_list
from podwire.cni.plugins import PLUGINS
from podwire.cni.plugins.naming import host_veth
from podwire.cni.plugins.ptp import Ptp
from podwire.cni.result import Interface, Result, ResultIp
from podwire.errors import CniError
from podwire.ipam.allocator import Reservation
from podwire.ipam.ranges import IpConfig
from podwire.model import MacAddress

IPAM = {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]}
POD = Attachment("c1", "eth0", "/run/netns/a")
HELD = Reservation(
    (
        IpConfig(ip_interface("10.1.0.2/24"), ip_address("10.1.0.1")),
        IpConfig(ip_interface("fd00::2/64"), ip_address("fd00::1")),
    )
)


def network(*plugins: Any, **changes: Any) -> str:
    return json.dumps({"cniVersion": "1.0.0", "name": "net", "plugins": list(plugins), **changes})


@pytest.mark.parametrize(
    ("text", "code", "why"),
    [
        ("", 6, "failed to decode"),
        ("[]", 6, "not a JSON object"),
        (network({"type": "bridge"}, name=None), 7, "invalid network name"),
        (network({"type": "bridge"}, name="a/../b"), 7, "invalid network name"),
        (network({"type": "bridge"}, name="a\n"), 7, "invalid network name"),
        (network({"type": "bridge"}, cniVersion="9.9.9"), 1, "incompatible CNI versions"),
        (network(), 7, "plugins must be"),
        (network({"type": "../evil"}), 7, "invalid plugin type"),
        (network("bridge"), 7, "invalid plugin type"),
    ],
)
def test_a_list_that_cannot_be(text: str, code: int, why: str) -> None:
    with pytest.raises(CniError, match=why) as caught:
        parse_list(text)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("plugin", "code", "why"),
    [
        ({"isGateway": "true", "ipam": IPAM}, 6, "isGateway is 'true'"),
        ({"mtu": "1450", "ipam": IPAM}, 6, "mtu is '1450'"),
        ({"mtu": True, "ipam": IPAM}, 7, "mtu is True"),
        ({"mtu": 1, "ipam": IPAM}, 7, "mtu is 1"),
        ({"bridge": "a/b", "ipam": IPAM}, 7, "no device name"),
        ({"vlan": 5, "ipam": IPAM}, 2, "vlan 5"),
        ({"hairpinMode": True, "promiscMode": True, "ipam": IPAM}, 7, "hairpin mode and promiscuous mode"),
        ({"disableContainerInterface": True, "ipam": IPAM}, 7, "disableContainerInterface"),
        ({"ipam": {"type": "dhcp"}}, 2, "ipam.type is 'dhcp'"),
        ({"ipam": {"type": "host-local"}}, 7, "no ranges"),
        ({"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.1/24"}]]}}, 7, "has host bits set"),
        ({"ipam": {"type": "host-local", "ranges": [{"subnet": "10.1.0.0/24"}]}}, 7, "invalid ipam"),
    ],
)
def test_a_bridge_that_cannot_be(plugin: Any, code: int, why: str) -> None:
    conf = parse_list(network({"type": "bridge", **plugin})).plugins[0]
    with pytest.raises(CniError, match=why) as caught:
        PLUGINS["bridge"].project(conf, POD, HELD if conf.data.get("ipam") and conf.ipam else None, None)
    assert caught.value.code == code


@pytest.mark.parametrize("ifname", ["", ".", "..", "a/b", "a:b", "a b", "sixteen-letters.", "\u00e4" * 8])
def test_interface_names_the_kernel_refuses(ifname: str) -> None:
    with pytest.raises(CniError) as caught:
        Attachment("c1", ifname).validate()
    assert caught.value.code == 4


@pytest.mark.parametrize("container_id", ["", "-a", "a/b", "a\n", "\u00e4"])
def test_container_ids_the_specification_refuses(container_id: str) -> None:
    with pytest.raises(CniError) as caught:
        Attachment(container_id).validate()
    assert caught.value.code == 4


def test_a_range_of_the_old_style_comes_first() -> None:
    ipam = {
        "type": "host-local",
        "subnet": "10.2.0.0/24",
        "rangeStart": "10.2.0.9",
        "ranges": [[{"subnet": "fd00::/64"}]],
    }
    found = parse_list(network({"type": "ptp", "ipam": ipam})).ipam
    assert found is not None
    assert [str(each[0]) for each in found.range_sets] == ["10.2.0.9-10.2.0.254", "fd00::1-fd00::ffff:ffff:ffff:ffff"]


def test_two_plugins_with_ipam_are_one_too_many() -> None:
    with pytest.raises(CniError, match="more than one plugin has ipam"):
        _ = parse_list(network({"type": "ptp", "ipam": IPAM}, {"type": "bridge", "ipam": IPAM})).ipam


def test_what_bridge_projects(golden: Any, request: pytest.FixtureRequest) -> None:
    conf = parse_list(
        network({"type": "bridge", "isDefaultGateway": True, "hairpinMode": True, "mtu": 1450, "ipam": IPAM})
    ).plugins[0]
    golden(request.path.parent / "golden/cni_bridge.txt", _text(PLUGINS["bridge"].project(conf, POD, HELD, None)))


def test_what_ptp_projects(golden: Any, request: pytest.FixtureRequest) -> None:
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}, {"dst": "10.9.0.0/16", "gw": "10.1.0.1"}]
    conf = parse_list(network({"type": "ptp", "mtu": 1450, "ipam": {**IPAM, "routes": routes}})).plugins[0]
    golden(request.path.parent / "golden/cni_ptp.txt", _text(Ptp().project(conf, POD, HELD, None)))


def _text(projection: Any) -> str:
    lines = [json.dumps(projection.result.to_json("1.1.0"), indent=2)]
    for name in ("shared", "node", "pod"):
        lines += [name, *sorted(f"  {each}" for each in getattr(projection, name).objects())]
    return "\n".join(lines) + "\n"


@given(st.lists(st.text("abcdef0123456789", min_size=1, max_size=64), unique=True, max_size=50))
def test_veth_names_are_fixed_and_differ(ids: list[str]) -> None:
    names = [host_veth(Attachment(each, ifname)) for each in ids for ifname in ("eth0", "net1")]
    assert len(set(names)) == len(names)
    assert names == [host_veth(Attachment(each, ifname, "/x")) for each in ids for ifname in ("eth0", "net1")]
    assert all(len(name) == 12 for name in names)


results = st.builds(
    Result,
    st.lists(
        st.builds(
            Interface,
            st.sampled_from(("cni0", "eth0")),
            st.none() | st.just(MacAddress(b"123456")),
            st.just("/x"),
            st.just(1450),
        )
    ).map(tuple),
    st.lists(
        st.builds(
            ResultIp, st.just(ip_interface("fd00::2/64")), st.none() | st.just(ip_address("fd00::1")), st.integers(0, 2)
        )
    ).map(tuple),
    st.lists(st.builds(CniRoute, st.just(ip_network("10.0.0.0/8")), st.none() | st.just(ip_address("10.0.0.1")))).map(
        tuple
    ),
)


@given(results)
def test_a_result_comes_back_from_json(result: Result) -> None:
    assert Result.from_json(json.loads(json.dumps(result.to_json("1.1.0")))) == result
    without_mtu = result._replace(interfaces=tuple(each._replace(mtu=0) for each in result.interfaces))
    assert Result.from_json(result.to_json("1.0.0")) == without_mtu


def test_a_result_that_is_none() -> None:
    with pytest.raises(CniError) as caught:
        Result.from_json({"ips": [{"address": "10.0.0.300/24"}]})
    assert caught.value.code == 6


def test_a_configuration_is_never_changed_by_reading_it() -> None:
    conf = NetConf("1.0.0", "net", "bridge", {"ipam": IPAM})
    assert conf.ipam is conf.ipam
    assert conf.flag("isGateway") is False and conf.number("mtu", 68, 65535) == 0
