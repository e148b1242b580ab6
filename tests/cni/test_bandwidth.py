"""bandwidth on a real veth pair: buckets, redirection, what CHECK sees, and what DEL and GC leave."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import pytest

from tests.cni.nodes import Node, bridge, call

LIMITS = {"ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 16_000_000, "egressBurst": 1_600_000}


def attach(node: Node, plugins: str, container: str = "c1") -> Tuple[str, Dict[str, Any]]:
    """A container on a bridge: its namespace, and the bridge's result."""
    netns = node.container(container)
    conf = {"cniVersion": "1.1.0", "name": "net", **bridge()}
    result = call(node, f"{plugins}/bridge", "ADD", conf, container, netns=netns)
    return netns, result


def limit(result: Dict[str, Any], **keys: Any) -> Dict[str, Any]:
    """bandwidth's configuration behind a result."""
    return {"cniVersion": "1.1.0", "name": "net", "type": "bandwidth", "prevResult": result, **keys}


def qdiscs(node: Node, device: str) -> List[str]:
    """The kinds of a device's queueing disciplines that somebody asked for."""
    return sorted(
        each["kind"] for each in node.json("tc", "-j", "qdisc", "show", "dev", device) if each["handle"] != "0:"
    )


def test_both_ways(node: Node, plugins: str) -> None:
    netns, before = attach(node, plugins)
    veth, program = before["interfaces"][1]["name"], f"{plugins}/bandwidth"
    result = call(node, program, "ADD", limit(before, **LIMITS), netns=netns)
    ifb = result["interfaces"][-1]["name"]
    assert len(ifb) == 15 and ifb.startswith("bwp") and "sandbox" not in result["interfaces"][-1]
    assert result["interfaces"][:-1] == before["interfaces"] and result["ips"] == before["ips"]
    assert "tbf 1: root refcnt 3 rate 8Mbit burst 100000b lat 25ms" in _shown(node, veth)
    assert "rate 16Mbit burst 200000b lat 25ms" in _shown(node, ifb)
    call(node, program, "CHECK", limit(result, **LIMITS), netns=netns)
    assert node.reaches("c1", "10.1.0.1")
    [bucket] = node.json("tc", "-j", "-s", "qdisc", "show", "dev", ifb)
    assert bucket["packets"] > 0
    call(node, program, "DEL", limit(result, **LIMITS), netns=netns)
    assert qdiscs(node, veth) == [] and ifb not in node.links()
    call(node, program, "DEL", limit(result, **LIMITS), netns=netns)


def _shown(node: Node, device: str) -> str:
    return " ".join(node.run("tc", "qdisc", "show", "dev", device).stdout.split())


@pytest.mark.parametrize(
    "spoil",
    [
        "tc qdisc del dev {veth} root",
        "tc qdisc change dev {veth} root tbf rate 9mbit burst 100000 latency 25ms",
        "tc qdisc del dev {veth} ingress",
        "tc filter del dev {veth} ingress",
        "tc qdisc del dev {ifb} root",
        "ip link set {ifb} down",
        "ip link del {ifb}",
    ],
)
def test_check_finds(node: Node, plugins: str, spoil: str) -> None:
    netns, before = attach(node, plugins)
    program = f"{plugins}/bandwidth"
    result = call(node, program, "ADD", limit(before, **LIMITS), netns=netns)
    names = {"veth": before["interfaces"][1]["name"], "ifb": result["interfaces"][-1]["name"]}
    node.run(*spoil.format(**names).split())
    error = call(node, program, "CHECK", limit(result, **LIMITS), netns=netns, status=1)
    assert error["code"] == 100
    call(node, program, "DEL", limit(result, **LIMITS), netns=netns)
    assert qdiscs(node, names["veth"]) == [] and names["ifb"] not in node.links()


def test_failed_add_leaves_nothing(node: Node, plugins: str) -> None:
    """A filter of somebody else's stands where the redirection has to be: it stays, and nothing of ours."""
    netns, before = attach(node, plugins)
    veth = before["interfaces"][1]["name"]
    node.run("tc", "qdisc", "add", "dev", veth, "ingress")
    foreign = ("u32", "match", "u32", "0", "0", "action", "mirred", "egress", "redirect", "dev", "cni0")
    node.run("tc", "filter", "add", "dev", veth, "parent", "ffff:", *foreign)
    error = call(node, f"{plugins}/bandwidth", "ADD", limit(before, **LIMITS), netns=netns, status=1)
    assert error["code"] == 100
    assert qdiscs(node, veth) == ["ingress"]
    assert not [each for each in node.links() if each.startswith("bwp")]
    assert "cni0" in node.run("tc", "filter", "show", "dev", veth, "ingress").stdout


def test_runtime_config_and_precedence(node: Node, plugins: str) -> None:
    netns, before = attach(node, plugins)
    veth, program = before["interfaces"][1]["name"], f"{plugins}/bandwidth"
    runtime = {"runtimeConfig": {"bandwidth": {"ingressRate": 24_000_000, "ingressBurst": 800_000}}}
    assert call(node, program, "ADD", limit(before, **runtime), netns=netns) == before
    assert "rate 24Mbit" in _shown(node, veth)
    call(node, program, "ADD", limit(before, ingressRate=8_000_000, ingressBurst=800_000, **runtime), netns=netns)
    assert "rate 8Mbit" in _shown(node, veth)


def test_more_than_32_bits_of_rate(node: Node, plugins: str) -> None:
    netns, before = attach(node, plugins)
    conf = limit(before, ingressRate=80 * 10**9, ingressBurst=8 * 10**8)
    call(node, f"{plugins}/bandwidth", "ADD", conf, netns=netns)
    assert "rate 80Gbit" in _shown(node, before["interfaces"][1]["name"])
    call(node, f"{plugins}/bandwidth", "CHECK", conf, netns=netns)


def test_namespace_gone_and_collection(node: Node, plugins: str) -> None:
    """DEL without a namespace takes the ifb device; GC takes those of this network that nobody lists."""
    program = f"{plugins}/bandwidth"
    for container in ("c1", "c2", "c3", "c4"):
        netns, before = attach(node, plugins, container)
        conf = limit(before, **LIMITS)
        if container == "c4":
            conf["name"] = "other"
        call(node, program, "ADD", conf, container, netns=netns)
    bare = limit({}, **LIMITS)
    assert len(_ifbs(node)) == 4
    call(node, program, "DEL", bare, "c1")
    assert len(_ifbs(node)) == 3
    valid = {"cni.dev/valid-attachments": [{"containerID": "c2", "ifname": "eth0"}]}
    call(node, program, "GC", {**bare, **valid})
    assert len(_ifbs(node)) == 2
    call(node, program, "DEL", bare, "c2")
    call(node, program, "GC", {**bare, "name": "other", "cni.dev/valid-attachments": []})
    assert _ifbs(node) == []


def _ifbs(node: Node) -> List[str]:
    return [each for each in node.links() if each.startswith("bwp")]


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"ingressRate": 8000}, 7),
        ({"egressBurst": 8000}, 7),
        ({"ingressRate": 8000, "ingressBurst": 1 << 36}, 7),
        ({"ingressRate": "8000", "ingressBurst": 8000}, 7),
        ({"shapedSubnets": ["10.0.0.0/8"], **LIMITS}, 2),
    ],
)
def test_invalid(node: Node, plugins: str, keys: Dict[str, Any], code: int) -> None:
    netns, before = attach(node, plugins)
    error = call(node, f"{plugins}/bandwidth", "ADD", limit(before, **keys), netns=netns, status=1)
    assert error["code"] == code
    assert qdiscs(node, before["interfaces"][1]["name"]) == []


def test_no_veth(node: Node, plugins: str) -> None:
    netns = node.container("c1")
    node.run("ip", "-n", "c1", "link", "add", "eth0", "type", "bridge")
    error = call(node, f"{plugins}/bandwidth", "ADD", limit({"ips": []}, **LIMITS), netns=netns, status=1)
    assert "eth0 is no veth" in error["msg"]
