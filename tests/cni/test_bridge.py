"""bridge beyond the conformance suite: masquerading, several networks on one bridge, and every way to say a MAC."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List

import pytest

from tests.cni.nodes import Node, bridge, call


def conf(**keys: Any) -> Dict[str, Any]:
    return {"cniVersion": "1.1.0", "name": "net", **bridge(), **keys}


def addresses(node: Node, device: str) -> List[str]:
    [shown] = node.json("ip", "-j", "address", "show", "dev", device)
    return sorted(f"{each['local']}/{each['prefixlen']}" for each in shown["addr_info"] if each["scope"] == "global")


def outside(node: Node) -> None:
    """A host beyond the node that knows no way back to containers."""
    node.container("outside")
    node.run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", "outside")
    for command in (
        "ip address add 192.0.2.1/24 dev up0",
        "ip link set up0 up",
        "ip -n outside address add 192.0.2.2/24 dev eth0",
        "ip -n outside link set eth0 up",
    ):
        node.run(*command.split())


@pytest.mark.parametrize("keys", [{"ipMasq": True}, {"ipMasq": True, "ipMasqBackend": "nftables"}])
def test_masquerade(node: Node, plugins: str, keys: Dict[str, Any]) -> None:
    outside(node)
    program = f"{plugins}/bridge"
    result = call(node, program, "ADD", conf(**keys), netns=node.container("c1"))
    assert node.reaches("c1", "192.0.2.2")
    call(node, program, "CHECK", conf(**keys, prevResult=result), netns="/run/netns/c1")
    node.run("ip", "netns", "del", "c1")
    call(node, program, "DEL", conf(**keys))
    assert "10.1.0.2" not in node.rules()


def test_without_masquerade_there_is_no_way_back(node: Node, plugins: str) -> None:
    outside(node)
    call(node, f"{plugins}/bridge", "ADD", conf(), netns=node.container("c1"))
    assert not node.reaches("c1", "192.0.2.2")
    assert "podwire-cni" not in node.rules()


def test_two_networks_share_a_bridge(node: Node, plugins: str) -> None:
    """The second adds its gateway; the first keeps its own, and the bridge its MAC address."""
    program = f"{plugins}/bridge"
    first = call(node, program, "ADD", conf(), "c1", netns=node.container("c1"))
    node.run("ip", "address", "add", "198.51.100.1/24", "dev", "cni0")
    other = conf(name="other", **bridge("10.2.0.0/24"))
    second = call(node, program, "ADD", other, "c2", netns=node.container("c2"))
    assert addresses(node, "cni0") == ["10.1.0.1/24", "10.2.0.1/24", "198.51.100.1/24"]
    assert first["interfaces"][0] == second["interfaces"][0]
    for configuration, result, container in ((conf(), first, "c1"), (other, second, "c2")):
        call(
            node, program, "CHECK", {**configuration, "prevResult": result}, container, netns=f"/run/netns/{container}"
        )


def test_force_address(node: Node, plugins: str) -> None:
    node.run("ip", "link", "add", "cni0", "type", "bridge")
    node.run("ip", "address", "add", "10.1.0.254/24", "dev", "cni0")
    netns = node.container("c1")
    error = call(node, f"{plugins}/bridge", "ADD", conf(), netns=netns, status=1)
    assert error["code"] == 101 and "10.1.0.254" in error["msg"] and "forceAddress" in error["details"]
    assert addresses(node, "cni0") == ["10.1.0.254/24"] and node.leases("net") == {}
    call(node, f"{plugins}/bridge", "ADD", conf(forceAddress=True), netns=netns)
    assert addresses(node, "cni0") == ["10.1.0.1/24"]


@pytest.mark.parametrize(
    ("keys", "environ"),
    [
        ({}, {"CNI_ARGS": "MAC=02:00:00:00:00:07"}),
        ({"args": {"cni": {"mac": "02:00:00:00:00:07"}}}, {"CNI_ARGS": "MAC=02:00:00:00:00:08"}),
        (
            {"runtimeConfig": {"mac": "02:00:00:00:00:07"}, "args": {"cni": {"mac": "02:00:00:00:00:09"}}},
            {"CNI_ARGS": "MAC=02:00:00:00:00:08"},
        ),
    ],
)
def test_mac(node: Node, plugins: str, keys: Dict[str, Any], environ: Dict[str, str]) -> None:
    netns = node.container("c1")
    result = call(node, f"{plugins}/bridge", "ADD", conf(**keys), netns=netns, **environ)
    assert result["interfaces"][2]["mac"] == "02:00:00:00:00:07"
    [shown] = node.json("ip", "-n", "c1", "-j", "link", "show", "dev", "eth0")
    assert shown["address"] == "02:00:00:00:00:07"
    call(node, f"{plugins}/bridge", "CHECK", conf(**keys, prevResult=result), netns=netns, **environ)


def test_layer_2(node: Node, plugins: str) -> None:
    """Without ipam: a port, no address, and CHECK knows that. disableContainerInterface leaves it down."""
    netns, program = node.container("c1"), f"{plugins}/bridge"
    plain = conf(isGateway=False, ipam={}, disableContainerInterface=True)
    result = call(node, program, "ADD", plain, netns=netns)
    assert "ips" not in result and len(result["interfaces"]) == 3
    [shown] = node.json("ip", "-n", "c1", "-j", "link", "show", "dev", "eth0")
    assert "UP" not in shown["flags"]
    call(node, program, "CHECK", {**plain, "prevResult": result}, netns=netns)
    call(node, program, "DEL", plain, netns=netns)
    assert node.links() == ["cni0"]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"hairpinMode": True, "promiscMode": True}, "hairpin"),
        ({"bridge": "../x"}, "device name"),
        ({"mtu": 7}, "mtu"),
        ({"ipMasq": True, "ipMasqBackend": "magic"}, "magic"),
        ({"runtimeConfig": {"mac": "nonsense"}}, "nonsense"),
    ],
)
def test_what_makes_no_sense_leaves_nothing(node: Node, plugins: str, keys: Dict[str, Any], words: str) -> None:
    error = call(node, f"{plugins}/bridge", "ADD", conf(**keys), netns=node.container("c1"), status=1)
    assert words in error["msg"] and error["cniVersion"] == "1.1.0" and error["code"] in (2, 7)
    assert node.links() == [] and node.leases("net") == {} and node.rules() == ""


def test_routes_with_everything(node: Node, plugins: str) -> None:
    routes = [
        {"dst": "192.0.2.0/24", "mtu": 1300, "advmss": 1200, "priority": 50},
        {"dst": "198.51.100.0/24", "table": 7},
        {"dst": "203.0.113.0/24", "scope": 253},
    ]
    wanted = conf()
    wanted["ipam"] = {**wanted["ipam"], "routes": routes}
    result = call(node, f"{plugins}/bridge", "ADD", wanted, netns=node.container("c1"))
    assert [{key: each[key] for key in each if key != "gw"} for each in result["routes"]] == routes
    shown = node.run("ip", "-n", "c1", "route", "show", "table", "all").stdout
    for line in (
        "192.0.2.0/24 via 10.1.0.1 dev eth0 metric 50 mtu 1300 advmss 1200",
        "198.51.100.0/24 via 10.1.0.1 dev eth0 table 7",
        "203.0.113.0/24 dev eth0 scope link",
    ):
        assert line in shown, shown


def test_duplicate_address_detection_where_it_is_wanted(node: Node, plugins: str) -> None:
    """enabledad: the answer comes when the address may be used, and an address that is taken is an error."""
    program = f"{plugins}/bridge"
    wanted = conf(enabledad=True)
    wanted["ipam"] = {"type": "host-local", "ranges": [[{"subnet": "fd00:1::/64"}]]}
    call(node, program, "ADD", wanted, netns=node.container("c1"))
    [shown] = node.json("ip", "-n", "c1", "-j", "address", "show", "dev", "eth0")
    [address] = [each for each in shown["addr_info"] if each["scope"] == "global"]
    assert address["local"] == "fd00:1::2" and "tentative" not in address
    node.run("ip", "address", "add", "fd00:1::3/64", "dev", "cni0", "nodad")
    error = call(node, program, "ADD", wanted, "c2", netns=node.container("c2"), status=1)
    assert "fd00:1::3" in error["msg"] and "fd00:1::3" not in node.leases("net")
    assert len(node.links()) == 2  # the bridge, and the first container's port


def test_rules_can_be_saved_and_restored(node: Node, plugins: str) -> None:
    """Names that nft cannot read back would break the administrator's backup."""
    call(node, f"{plugins}/bridge", "ADD", conf(ipMasq=True, macspoofchk=True), netns=node.container("c1"))
    saved = node.rules()
    assert saved.count("comment") == 2
    node.run("nft", "-f", "-", stdin="flush ruleset\n" + saved)
    assert node.rules() == saved


@pytest.mark.parametrize("ipam", [{}, {"type": "static", "addresses": [{"address": "10.1.0.5/24"}]}])
def test_of_two_adds_of_one_interface_one_fails(node: Node, plugins: str, ipam: Dict[str, Any]) -> None:
    netns, conf = node.container("c"), {"cniVersion": "1.1.0", "name": "net", "type": "bridge", "ipam": ipam}
    for _ in range(3):
        with ThreadPoolExecutor(4) as pool:
            answers = list(
                pool.map(lambda _: call(node, f"{plugins}/bridge", "ADD", conf, netns=netns, status=None), range(4))
            )
        results = [each for each in answers if "code" not in each]
        assert len(results) == 1 and {each["code"] for each in answers if each not in results} == {101}
        call(node, f"{plugins}/bridge", "CHECK", {**conf, "prevResult": results[0]}, netns=netns)
        call(node, f"{plugins}/bridge", "DEL", conf, netns=netns)
