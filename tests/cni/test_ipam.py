"""host-local and static beyond the conformance suite: who may ask for which address, and whose word counts."""

from __future__ import annotations

from typing import Any, Dict, List

import pytest

from tests.cni.nodes import Node, call

DUAL = [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]


def local(ranges: Any = None, routes: Any = (), **more: Any) -> Dict[str, Any]:
    ipam = {"type": "host-local", "ranges": DUAL if ranges is None else ranges, "routes": list(routes)}
    return {"cniVersion": "1.1.0", "name": "net", "type": "x", "ipam": ipam, **more}


def ips(result: Dict[str, Any]) -> List[str]:
    return [each["address"] for each in result["ips"]]


def test_all_who_ask_count(node: Node, plugins: str) -> None:
    """One address by CNI_ARGS, the other by runtimeConfig; prefix lengths do not matter."""
    conf = local(runtimeConfig={"ips": ["fd00:1::77/128"]})
    result = call(node, f"{plugins}/host-local", "ADD", conf, CNI_ARGS="IP=10.1.0.50", CNI_NETNS="/dummy")
    assert ips(result) == ["10.1.0.50/24", "fd00:1::77/64"]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("10.1.0.1", "gateway"),
        ("10.9.0.1", "it is in none of"),
        ("10.1.0.50,10.1.0.51", "one address of a range set"),
        ("10.1.0.60", "it is taken"),
        ("nonsense", "nonsense"),
    ],
)
def test_what_cannot_be_had_is_not_replaced(node: Node, plugins: str, wanted: str, words: str) -> None:
    program = f"{plugins}/host-local"
    call(node, program, "ADD", local(), "c0", CNI_ARGS="IP=10.1.0.60", CNI_NETNS="/dummy")
    before = node.leases("net")
    error = call(node, program, "ADD", local(), CNI_ARGS=f"IP={wanted}", CNI_NETNS="/dummy", status=1)
    assert words in error["msg"], error
    assert node.leases("net") == before


def test_a_second_address_is_refused_also_when_asked_for(node: Node, plugins: str) -> None:
    program = f"{plugins}/host-local"
    call(node, program, "ADD", local(), CNI_NETNS="/dummy")
    error = call(node, program, "ADD", local(), CNI_NETNS="/dummy", CNI_ARGS="IP=10.1.0.99", status=1)
    assert "already holds" in error["msg"] and "10.1.0.99" not in node.leases("net")


def test_ranges_of_the_runtime_come_first(node: Node, plugins: str) -> None:
    conf = local([[{"subnet": "10.1.0.0/24"}]], runtimeConfig={"ipRanges": [[{"subnet": "10.7.0.0/24"}]]})
    conf["ipam"]["subnet"] = "10.3.0.0/24"
    result = call(node, f"{plugins}/host-local", "ADD", conf, CNI_NETNS="/dummy")
    assert ips(result) == ["10.7.0.2/24", "10.3.0.2/24", "10.1.0.2/24"]


def test_keys_in_any_case_as_go_has_them(node: Node, plugins: str) -> None:
    ipam = {"Type": "host-local", "SUBNET": "10.1.0.0/24", "RANGESTART": "10.1.0.9", "routes": [{"DST": "0.0.0.0/0"}]}
    conf = {"CNIVERSION": "0.4.0", "Name": "net", "type": "x", "IPAM": ipam}
    result = call(node, f"{plugins}/host-local", "ADD", conf, CNI_NETNS="/dummy")
    assert result["cniVersion"] == "0.4.0" and ips(result) == ["10.1.0.9/24"]


def test_status_tells_of_exhaustion_before_anyone_suffers(node: Node, plugins: str) -> None:
    program, conf = f"{plugins}/host-local", local([[{"subnet": "10.1.0.0/30"}]])
    call(node, program, "STATUS", conf)
    call(node, program, "ADD", conf, CNI_NETNS="/dummy")
    assert call(node, program, "STATUS", conf, status=1)["code"] == 50
    assert call(node, program, "ADD", conf, "c2", CNI_NETNS="/dummy", status=1)["code"] == 50
    call(node, program, "DEL", conf)
    call(node, program, "STATUS", conf)


@pytest.mark.parametrize(
    ("more", "environ", "wanted"),
    [
        ({}, {}, ["10.1.0.5/24"]),
        ({}, {"CNI_ARGS": "IP=10.1.0.6/24;GATEWAY=10.1.0.254"}, ["10.1.0.6/24"]),
        ({"args": {"cni": {"ips": ["10.1.0.7/24"]}}}, {"CNI_ARGS": "IP=10.1.0.6/24"}, ["10.1.0.7/24"]),
        (
            {"args": {"cni": {"ips": ["10.1.0.7/24"]}}, "runtimeConfig": {"ips": ["10.1.0.8/24", "fd00::8/64"]}},
            {},
            ["10.1.0.8/24", "fd00::8/64"],
        ),
    ],
)
def test_static(node: Node, plugins: str, more: Any, environ: Dict[str, str], wanted: List[str]) -> None:
    conf = {"cniVersion": "1.0.0", "name": "net", "type": "x", **more}
    conf["ipam"] = {"type": "static", "addresses": [{"address": "10.1.0.5/24", "gateway": "10.1.0.1"}]}
    result = call(node, f"{plugins}/static", "ADD", conf, CNI_NETNS="/dummy", **environ)
    assert ips(result) == wanted
    if "GATEWAY" in environ.get("CNI_ARGS", ""):
        assert result["ips"][0]["gateway"] == "10.1.0.254"


def test_arguments_that_nobody_knows(node: Node, plugins: str) -> None:
    program = f"{plugins}/host-local"
    assert call(node, program, "ADD", local(), CNI_ARGS="COLOUR=red", CNI_NETNS="/dummy", status=1)["code"] == 4
    call(node, program, "ADD", local(), CNI_ARGS="COLOUR=red;IgnoreUnknown=1", CNI_NETNS="/dummy")
