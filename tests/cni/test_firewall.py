"""firewall where forwarding is closed: by iptables as Docker closes it, and by policy between bridges."""

from __future__ import annotations

from typing import Any, Dict, List

import pytest

from tests.cni.nodes import Node, bridge, call
from tests.cni.test_bridge import outside


def attach(node: Node, plugins: str, container: str = "c1", subnet: str = "10.1.0.0/24", **keys: Any) -> Dict[str, Any]:
    """A container on a bridge (one a subnet) and behind the firewall; firewall's configuration for DEL and CHECK."""
    netns, name = node.container(container), f"br{subnet.split('.')[1]}"
    made = {"cniVersion": "1.1.0", "name": name, **bridge(subnet, bridge=name, ipMasq=True)}
    result = call(node, f"{plugins}/bridge", "ADD", made, container, netns=netns)
    conf = {"cniVersion": "1.1.0", "name": name, "type": "firewall", "prevResult": result, **keys}
    assert call(node, f"{plugins}/firewall", "ADD", conf, container, netns=netns) == result
    return conf


def forwarding(node: Node) -> List[str]:
    return [line for line in node.run("iptables-save", "-t", "filter").stdout.splitlines() if " 10." in line]


@pytest.mark.parametrize("keys", [{}, {"backend": "iptables"}])
def test_where_docker_drops(node: Node, plugins: str, keys: Dict[str, Any]) -> None:
    outside(node)
    node.run("iptables", "-P", "FORWARD", "DROP")
    first = attach(node, plugins, **keys)
    second = attach(node, plugins, "c2", **keys)
    assert node.reaches("c1", "192.0.2.2") and node.reaches("c2", "192.0.2.2")
    call(node, f"{plugins}/firewall", "CHECK", first, netns="/run/netns/c1")
    call(node, f"{plugins}/firewall", "DEL", first, netns="")
    assert not node.reaches("c1", "192.0.2.2") and node.reaches("c2", "192.0.2.2")
    call(node, f"{plugins}/firewall", "GC", {**second, "cni.dev/valid-attachments": []})
    assert not node.reaches("c2", "192.0.2.2")
    assert forwarding(node) == [] and "10.1.0.2 accept" not in node.rules()


def test_iptables_is_left_alone_where_it_is_open(node: Node, plugins: str) -> None:
    conf = attach(node, plugins)
    assert "filter" not in node.run("nft", "list", "tables").stdout
    assert "ip saddr 10.1.0.2 accept" in node.rules()
    call(node, f"{plugins}/firewall", "CHECK", conf, netns="/run/netns/c1")
    node.run("nft", "flush", "chain", "inet", "podwire-cni", "forward")
    assert call(node, f"{plugins}/firewall", "CHECK", conf, netns="/run/netns/c1", status=1)["code"] == 100


def test_admin_chain_and_order(node: Node, plugins: str) -> None:
    node.run("iptables", "-A", "FORWARD", "-s", "203.0.113.0/24", "-j", "ACCEPT")
    attach(node, plugins, backend="iptables", iptablesAdminChainName="MINE")
    attach(node, plugins, "c2", backend="iptables", iptablesAdminChainName="MINE")
    lines = node.run("iptables-save", "-t", "filter").stdout.splitlines()
    jumps = [line for line in lines if line.startswith("-A FORWARD ")]
    assert len(jumps) == 2 and jumps[0].endswith("-j CNI-FORWARD")
    own = [line for line in lines if line.startswith("-A CNI-FORWARD ")]
    assert own[0].endswith("-j MINE") and len(own) == 5


@pytest.mark.parametrize(("policy", "apart"), [("open", False), ("same-bridge", True)])
def test_ingress_policy(node: Node, plugins: str, policy: str, apart: bool) -> None:
    confs = {
        "c1": attach(node, plugins, "c1", ingressPolicy=policy),
        "c2": attach(node, plugins, "c2", ingressPolicy=policy),
        "c3": attach(node, plugins, "c3", "10.2.0.0/24", ingressPolicy=policy),
    }
    assert node.reaches("c1", "10.1.0.3")
    node.run("nft", "-c", "-f", "-", stdin="flush ruleset\n" + node.rules())
    assert node.reaches("c1", "10.2.0.2") != apart and node.reaches("c3", "10.1.0.2") != apart
    call(node, f"{plugins}/firewall", "CHECK", confs["c3"], "c3", netns="/run/netns/c3")
    call(node, f"{plugins}/firewall", "DEL", confs["c3"], "c3", netns="/run/netns/c3")
    assert node.reaches("c1", "10.2.0.2")


def test_policy_needs_a_bridge(node: Node, plugins: str) -> None:
    result = {"ips": [{"address": "10.1.0.2/24"}]}
    conf = {"cniVersion": "1.1.0", "name": "net", "type": "firewall", "prevResult": result}
    conf["ingressPolicy"] = "same-bridge"
    error = call(node, f"{plugins}/firewall", "ADD", conf, netns=node.container("c1"), status=1)
    assert error["code"] == 7 and "bridge" in error["msg"] and node.rules() == ""
