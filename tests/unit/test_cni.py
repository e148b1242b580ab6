"""Configurations, results and projections as values."""

from __future__ import annotations

import io
import json
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.cni import skel
from podwire.cni.plugins import PLUGINS
from podwire.cni.plugins.naming import host_veth
from podwire.cni.plugins.plugin import Projection
from podwire.cni.plugins.ptp import Ptp
from podwire.cni.spec.netconf import Attachment, NetConf
from podwire.cni.spec.netlist import parse_list
from podwire.cni.spec.result import Interface, Result, ResultIp
from podwire.cni.spec.route import CniRoute
from podwire.errors import CniError
from podwire.files import remove_file, replace_file
from podwire.model.objects import PVID, UNTAGGED, MacAddress, PortVlans, VethPeer

IPAM = {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]}
POD = Attachment("c1", "eth0", "/run/netns/a")
HELD = Result(
    ips=(
        ResultIp(ip_interface("10.1.0.2/24"), ip_address("10.1.0.1")),
        ResultIp(ip_interface("fd00::2/64"), ip_address("fd00::1")),
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
        ({"vlan": 4095, "ipam": IPAM}, 7, "vlan is 4095"),
        ({"vlan": 5, "vlanTrunk": [{"id": 6}]}, 7, "vlan and vlanTrunk"),
        ({"vlanTrunk": {"id": 5}}, 7, "vlanTrunk is"),
        ({"vlanTrunk": [5]}, 7, "vlanTrunk has 5"),
        ({"vlanTrunk": [{"id": 0}]}, 7, "from 1 to 4094"),
        ({"vlanTrunk": [{"id": True}]}, 7, "from 1 to 4094"),
        ({"vlanTrunk": [{"minID": 5}]}, 7, "come together"),
        ({"vlanTrunk": [{"minID": 6, "maxID": 5}]}, 7, "in this order"),
        ({"bridge": "b" * 13, "vlan": 100, "isGateway": True, "ipam": IPAM}, 7, "15 bytes at most"),
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
    assert conf.ipam is not None
    given = HELD._replace(routes=conf.ipam.routes)
    golden(request.path.parent / "golden/cni_ptp.txt", _text(Ptp().project(conf, POD, given, None)))


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


def bridged(**keys: Any) -> Projection:
    conf = parse_list(network({"type": "bridge", "ipam": IPAM, **keys})).plugins[0]
    return PLUGINS["bridge"].project(conf, POD, HELD, None)


def test_a_vlan_has_a_gateway_of_its_own() -> None:
    made = bridged(vlan=100, isGateway=True, preserveDefaultVlan=False)
    port = host_veth(POD)
    assert made.node.vlans == {PortVlans(port, ((100, PVID | UNTAGGED),))}
    assert [each.name for each in made.result.interfaces] == ["cni0", port, "eth0", "cni0.100"]
    assert all(each.interface == 2 for each in made.result.ips)
    assert {each.device for each in made.shared.addresses} == {"cni0.100"}
    links = {each.name: each for each in made.shared.links}
    (gateway_port,) = (each for each in links.values() if each.master == "cni0")
    assert links["cni0"].vlan_filtering and gateway_port.peer == VethPeer("the node", "cni0.100")
    assert made.shared.vlans == {PortVlans(gateway_port.name, ((100, PVID | UNTAGGED),))}
    assert links["cni0.100"].mac == made.result.interfaces[3].mac != links["cni0"].mac
    without = bridged(vlan=100)
    assert len(without.result.interfaces) == 3 and not without.shared.vlans
    assert next(iter(without.node.vlans)).others, "preserveDefaultVlan is true by default, as in the reference"


def test_a_trunk_is_tagged_only() -> None:
    made = bridged(vlanTrunk=[{"minID": 200, "maxID": 202}, {"id": 101}, {"id": 201, "minID": 7, "maxID": 7}])
    (vlans,) = made.node.vlans
    assert vlans.vlans == ((7, 0), (101, 0), (200, 0), (201, 0), (202, 0))
    assert str(vlans) == f"vlans 7, 101, 200-202 dev {host_veth(POD)}"
    assert not bridged().node.vlans and bridged().shared.links == {*bridged(vlan=0).shared.links}
    (bridge,) = bridged(vlanTrunk=[]).shared.links
    assert bridge.vlan_filtering and not bridged(vlanTrunk=[]).node.vlans


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


@pytest.mark.parametrize(("error", "traced"), [(KeyError("x"), True), (CniError(7, "no"), False), (OSError(28), False)])
def test_a_bug_says_where_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, traced: bool
) -> None:
    def add(*_: object) -> Result:
        raise error

    monkeypatch.setattr("podwire.cni.plugins.static.Static.add", add)
    variables = {"COMMAND": "ADD", "CONTAINERID": "c", "NETNS": "/nowhere", "IFNAME": "eth0", "PATH": "/"}
    stdin, stdout = io.BytesIO(b'{"cniVersion": "1.0.0", "name": "net"}'), io.BytesIO()
    assert skel.main("static", {f"CNI_{key}": value for key, value in variables.items()}, stdin, stdout) == 1
    assert json.loads(stdout.getvalue())["cniVersion"] == "1.0.0"
    assert ("Traceback" in capsys.readouterr().err) is traced


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    replace_file(str(path), b"old", 0o640)
    assert path.read_bytes() == b"old" and path.stat().st_mode & 0o777 == 0o640
    with pytest.raises(TypeError):
        replace_file(str(path), "no bytes", 0o600)  # type: ignore[arg-type]
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
    (tmp_path / f".{path.name[-200:]}.new").write_bytes(b"half of what a killed writer had to s")
    remove_file(str(path))
    remove_file(str(path))
    assert list(tmp_path.iterdir()) == []
