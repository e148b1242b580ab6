"""tuning: what is set, what DEL restores, what a failed ADD leaves, and what nobody may set."""

from __future__ import annotations

import json
from typing import Any, Dict, Optional

import pytest

from tests.cni.nodes import Node, bridge, call

KEY = "net/ipv4/conf/eth0/arp_filter"
LINK = {"mac": "02:11:22:33:44:55", "mtu": 1400, "promisc": True, "allmulti": True, "txQLen": 77}


def attach(node: Node, plugins: str) -> Dict[str, Any]:
    """The container c1 on a bridge; the bridge's result."""
    conf = {"cniVersion": "1.1.0", "name": "net", **bridge()}
    found: Dict[str, Any] = call(node, f"{plugins}/bridge", "ADD", conf, netns=node.container("c1"))
    return found


def tune(
    node: Node, plugins: str, command: str, result: Dict[str, Any], *, status: Any = 0, **keys: Any
) -> Optional[Dict[str, Any]]:
    """Call tuning for c1."""
    conf = {"cniVersion": "1.1.0", "name": "net", "type": "tuning", "prevResult": result, **keys}
    found: Optional[Dict[str, Any]] = call(
        node, f"{plugins}/tuning", command, conf, netns="/run/netns/c1", status=status
    )
    return found


def link(node: Node) -> Dict[str, Any]:
    """eth0 of c1, by what tuning can change."""
    [found] = node.json("ip", "-n", "c1", "-j", "link", "show", "eth0")
    flags = found["flags"]
    return {
        "mac": found["address"],
        "mtu": found["mtu"],
        "promisc": "PROMISC" in flags,
        "allmulti": "ALLMULTI" in flags,
        "txQLen": found["txqlen"],
    }


def sysctl(node: Node, key: str = KEY, *value: str) -> str:
    """Read a sysctl in c1, or set it."""
    tool = ("tee", f"/proc/sys/{key}") if value else ("cat", f"/proc/sys/{key}")
    return node.run("ip", "netns", "exec", "c1", *tool, stdin="".join(value)).stdout.strip()


def test_set_checked_restored(node: Node, plugins: str) -> None:
    before = attach(node, plugins)
    old, keys = link(node), {**LINK, "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}}
    result = tune(node, plugins, "ADD", before, **keys)
    assert link(node) == LINK and sysctl(node) == "1"
    assert result is not None
    assert [(each["mac"], each["mtu"]) for each in result["interfaces"] if "sandbox" in each] == [(LINK["mac"], 1400)]
    assert result["ips"] == before["ips"] and result["interfaces"][:2] == before["interfaces"][:2]
    tune(node, plugins, "CHECK", result, **keys)
    [(name, content)] = node.files("/run/cni/tuning").items()
    assert name == "c1_eth0.json" and json.loads(content)["mtu"] == old["mtu"]
    tune(node, plugins, "DEL", result, **keys)
    assert link(node) == old and node.files("/run/cni/tuning") == {}
    tune(node, plugins, "DEL", result, **keys)


@pytest.mark.parametrize("key", list(LINK))
def test_one_attribute(node: Node, plugins: str, key: str) -> None:
    """What is not asked for stays, also when DEL restores: others may have changed it since."""
    before = attach(node, plugins)
    old = link(node)
    tune(node, plugins, "ADD", before, **{key: LINK[key]})
    assert link(node) == {**old, key: LINK[key]}
    node.run("ip", "-n", "c1", "link", "set", "eth0", *_OTHER[key])
    tune(node, plugins, "CHECK", before, status=1, **{key: LINK[key]})
    tune(node, plugins, "DEL", before, **{key: LINK[key]})
    assert link(node) == old


_OTHER = {
    "mac": ("address", "02:99:99:99:99:99"),
    "mtu": ("mtu", "1300"),
    "promisc": ("promisc", "off"),
    "allmulti": ("allmulticast", "off"),
    "txQLen": ("txqueuelen", "5"),
}


def test_failed_add_leaves_nothing(node: Node, plugins: str) -> None:
    """The second sysctl refuses its value."""
    before = attach(node, plugins)
    old = link(node)
    keys = {"sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1", "net.ipv4.conf.eth0.forwarding": "nonsense"}}
    tune(node, plugins, "ADD", before, status=1, **LINK, **keys)
    assert link(node) == old and sysctl(node) == "0"
    assert node.files("/run/cni") == {}


def test_check_finds_a_sysctl(node: Node, plugins: str) -> None:
    before = attach(node, plugins)
    keys = {"sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}}
    tune(node, plugins, "ADD", before, **keys)
    tune(node, plugins, "CHECK", before, **keys)
    sysctl(node, KEY, "0")
    tune(node, plugins, "CHECK", before, status=1, **keys)


@pytest.mark.parametrize(
    "name",
    [
        "kernel.hostname",
        "net/../kernel/hostname",
        "/kernel/hostname",
        "net",
        "net..ipv4",
        "/proc/sys/net/core/somaxconn",
    ],
)
def test_refused_sysctls(node: Node, plugins: str, name: str) -> None:
    before = attach(node, plugins)
    error = tune(node, plugins, "ADD", before, status=1, sysctl={name: "1"})
    assert error is not None and error["code"] == 7 and name in error["msg"]


def test_allow_list(node: Node, plugins: str) -> None:
    before = attach(node, plugins)
    node.run("mkdir", "-p", "/etc/cni/tuning")
    node.run("tee", "/etc/cni/tuning/allowlist.conf", stdin="\n^net\\.ipv4\\.conf\\.IFNAME\\.arp_filter$\n")
    tune(node, plugins, "ADD", before, sysctl={"net.ipv4.conf.IFNAME.arp_filter": "1"})
    for name in ("net.ipv4.conf.IFNAME.arp_notify", "net/ipv4/conf/IFNAME/arp_filter"):
        error = tune(node, plugins, "ADD", before, status=1, sysctl={name: "1"})
        assert error is not None and error["code"] == 7 and name in error["msg"]


def test_precedence_of_mac(node: Node, plugins: str) -> None:
    before = attach(node, plugins)
    keys = {"mac": "02:00:00:00:00:01", "runtimeConfig": {"mac": "02:00:00:00:00:02"}}
    tune(node, plugins, "ADD", before, **keys)
    assert link(node)["mac"] == "02:00:00:00:00:02"
    tune(node, plugins, "ADD", before, args={"cni": {"mac": "02:00:00:00:00:03"}}, **keys)
    assert link(node)["mac"] == "02:00:00:00:00:03"


def test_args_outrank(node: Node, plugins: str) -> None:
    before = attach(node, plugins)
    tune(node, plugins, "ADD", before, mtu=1300, args={"cni": {"mtu": 1400}})
    assert link(node)["mtu"] == 1400


def test_added_twice(node: Node, plugins: str) -> None:
    """What was before the first ADD is what DEL restores."""
    before = attach(node, plugins)
    old = link(node)
    tune(node, plugins, "ADD", before, mtu=1400)
    tune(node, plugins, "ADD", before, mtu=1300)
    tune(node, plugins, "DEL", before, mtu=1300)
    assert link(node) == old


def test_namespace_gone(node: Node, plugins: str) -> None:
    before = attach(node, plugins)
    tune(node, plugins, "ADD", before, mtu=1400)
    node.run("ip", "netns", "del", "c1")
    tune(node, plugins, "DEL", before, mtu=1400)
    assert node.files("/run/cni/tuning") == {}


def test_collection(node: Node, plugins: str) -> None:
    """GC forgets how interfaces of this network were that nobody lists: networks share the directory."""
    before = attach(node, plugins)
    tune(node, plugins, "ADD", before, mtu=1400)
    call(node, f"{plugins}/tuning", "GC", _gc("other"))
    call(node, f"{plugins}/tuning", "GC", _gc("net", {"containerID": "c1", "ifname": "eth0"}))
    assert list(node.files("/run/cni/tuning")) == ["c1_eth0.json"]
    call(node, f"{plugins}/tuning", "GC", _gc("net"))
    assert node.files("/run/cni/tuning") == {}


def _gc(network: str, *valid: Dict[str, str]) -> Dict[str, Any]:
    return {"cniVersion": "1.1.0", "name": network, "type": "tuning", "cni.dev/valid-attachments": list(valid)}
