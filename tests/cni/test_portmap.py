"""portmap with real traffic: who reaches what by the node's ports, and what is left when it goes."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import pytest

from tests.cni.nodes import Node, bridge, call

TCP = {"hostPort": 8080, "containerPort": 9, "protocol": "tcp"}


def attach(node: Node, plugins: str, *mappings: Dict[str, Any], container: str = "c1", **keys: Any) -> Tuple[str, Any]:
    """A container behind bridge and portmap: its namespace, and portmap's configuration for DEL and CHECK."""
    netns = node.container(container)
    conf = {"cniVersion": "1.1.0", "name": "net", **bridge(hairpinMode=True)}
    result = call(node, f"{plugins}/bridge", "ADD", conf, container, netns=netns)
    chained = {"cniVersion": "1.1.0", "name": "net", "type": "portmap", "prevResult": result, **keys}
    chained["runtimeConfig"] = {"portMappings": list(mappings)}
    assert call(node, f"{plugins}/portmap", "ADD", chained, container, netns=netns) == result
    return netns, chained


def redirections(node: Node) -> List[str]:
    return [line.strip() for line in node.rules().splitlines() if " dnat ip" in line]


def connects(node: Node, address: str, port: int = 8080) -> bool:
    """From the node itself."""
    command = ["python3", "-c", "import socket,sys\ntry: socket.create_connection((sys.argv[1],int(sys.argv[2])),2)\n"]
    command[2] += "except ConnectionRefusedError: pass"
    return node.run(*command, address, str(port), status=None).returncode == 0


def test_everybody_on_the_node_reaches_the_port(node: Node, plugins: str) -> None:
    _, conf = attach(node, plugins, {**TCP, "containerPort": 9})
    node.container("c2")
    call(
        node,
        f"{plugins}/bridge",
        "ADD",
        {"cniVersion": "1.1.0", "name": "net", **bridge(hairpinMode=True)},
        "c2",
        netns="/run/netns/c2",
    )
    for source in ("c1", "c2"):
        assert node.reaches(source, "10.1.0.1", 8080), source
    assert connects(node, "127.0.0.1") and connects(node, "10.1.0.1")
    tracked = [line for line in node.rules().splitlines() if "ip to 10.1.0.2:9" in line]
    assert len(tracked) == 2  # of prerouting and of output
    node.run("nft", "-c", "-f", "-", stdin="flush ruleset\n" + node.rules())
    call(node, f"{plugins}/portmap", "CHECK", conf, netns="/run/netns/c1")


def test_the_container_answers_not_the_node(node: Node, plugins: str) -> None:
    attach(node, plugins, TCP)
    node.run("ip", "netns", "exec", "c1", "nft", "add table ip t")
    node.run("ip", "netns", "exec", "c1", "nft", "add chain ip t c { type filter hook input priority 0; }")
    node.run("ip", "netns", "exec", "c1", "nft", "add rule ip t c tcp dport 9 counter drop")
    assert not connects(node, "127.0.0.1")
    shown = node.run("ip", "netns", "exec", "c1", "nft", "list", "table", "ip", "t").stdout
    assert "counter packets" in shown and "counter packets 0" not in shown


def test_loopback_becomes_the_nodes_address(node: Node, plugins: str) -> None:
    """A container cannot answer 127.0.0.1; so with snat off the node's own loopback has no way."""
    attach(node, plugins, TCP)
    assert node.run("sysctl", "-n", "net.ipv4.conf.cni0.route_localnet").stdout.strip() == "1"
    assert "ip saddr 127.0.0.1 ip daddr 10.1.0.2" in node.rules()


@pytest.mark.parametrize(
    ("keys", "present", "absent"),
    [
        ({}, "ip saddr 10.1.0.0/24 ip daddr 10.1.0.2 ct status dnat masquerade", "never"),
        ({"snat": False}, "dnat ip to 10.1.0.2:9", "masquerade"),
        ({"masqAll": True}, "\t\tip daddr 10.1.0.2 ct status dnat masquerade", "ip saddr 127.0.0.1"),
        ({"conditionsV4": ["!", "-s", "192.0.2.0/24"]}, "ip saddr != 192.0.2.0/24 dnat", "never"),
        ({"conditionsV4": ["ip", "saddr", "192.0.2.0/24"]}, "ip saddr 192.0.2.0/24 dnat", "never"),
    ],
)
def test_keys(node: Node, plugins: str, keys: Dict[str, Any], present: str, absent: str) -> None:
    _, conf = attach(node, plugins, TCP, **keys)
    rules = node.rules()
    assert present in rules and absent not in rules, rules
    call(node, f"{plugins}/portmap", "CHECK", conf, netns="/run/netns/c1")


def test_host_ip_and_protocols(node: Node, plugins: str) -> None:
    mappings = (
        {"hostPort": 53, "containerPort": 5353, "protocol": "UDP", "hostIP": "10.1.0.1"},
        {"hostPort": 54, "containerPort": 54, "protocol": "sctp", "hostIP": "0.0.0.0"},
        {"hostPort": 55, "containerPort": 55, "hostIP": "::"},
    )
    attach(node, plugins, *mappings)
    found = sorted({line.partition(" comment")[0] for line in redirections(node)})
    assert found == [
        "ip daddr 10.1.0.1 udp dport 53 dnat ip to 10.1.0.2:5353",
        "meta nfproto ipv4 fib daddr type local sctp dport 54 dnat ip to 10.1.0.2:54",
    ]  # the container has no IPv6 address for the third


@pytest.mark.parametrize("state", ["present", "empty", "gone"])
def test_del_leaves_nothing(node: Node, plugins: str, state: str) -> None:
    netns, conf = attach(node, plugins, TCP)
    _, other = attach(node, plugins, {**TCP, "hostPort": 8081}, container="c2")
    if state != "present":
        node.run("ip", "netns", "del", "c1")
    without = {key: value for key, value in conf.items() if key != "prevResult"}
    for _ in range(2):
        call(node, f"{plugins}/portmap", "DEL", without, netns="" if state == "empty" else netns)
    assert len(redirections(node)) == 2 and all("8081" in line for line in redirections(node))
    call(node, f"{plugins}/portmap", "CHECK", other, "c2", netns="/run/netns/c2")


def test_failed_add_leaves_nothing(node: Node, plugins: str) -> None:
    netns = node.container("c1")
    conf = {
        "cniVersion": "1.1.0",
        "name": "net",
        "type": "portmap",
        "prevResult": {"ips": [{"address": "10.1.0.2/24"}]},
    }
    conf["runtimeConfig"] = {"portMappings": [TCP, {**TCP, "hostPort": 0}]}
    error = call(node, f"{plugins}/portmap", "ADD", conf, netns=netns, status=1)
    assert error["code"] == 7 and "hostPort 0" in error["msg"]
    assert redirections(node) == []


@pytest.mark.parametrize(
    ("keys", "code", "words"),
    [
        ({"backend": "magic"}, 7, "magic"),
        ({"markMasqBit": 32}, 7, "markMasqBit"),
        ({"markMasqBit": 5, "externalSetMarkChain": "X"}, 7, "both"),
        ({"conditionsV4": ["-m", "owner"], "backend": "nftables"}, 2, "-m"),
        ({"conditionsV4": ["ip", "saddr", "10.0.0.0/8"], "backend": "iptables"}, 2, "words of nft"),
        ({"conditionsV4": ["--modp=/bin/sh", "-m", "x"]}, 2, "--modprobe"),
        ({"markMasqBit": 5, "backend": "nftables"}, 2, "markMasqBit 5"),
        ({"externalSetMarkChain": "MARK", "backend": "nftables"}, 2, "externalSetMarkChain 'MARK'"),
        ({"externalSetMarkChain": "no chain"}, 7, "no name of a chain"),
        ({"conditionsV4": ["-s", "10.0.0.0/8\nCOMMIT"]}, 7, "conditionsV4"),
        ({"conditionsV4": ["-s", "fd00::/8"]}, 7, "IPv4"),
    ],
)
def test_invalid(node: Node, plugins: str, keys: Dict[str, Any], code: int, words: str) -> None:
    netns = node.container("c1")
    result = {"interfaces": [{"name": "eth0", "sandbox": netns}], "ips": [{"address": "10.1.0.2/24", "interface": 0}]}
    conf = {"cniVersion": "1.0.0", "name": "net", "type": "portmap", "prevResult": result, **keys}
    conf["runtimeConfig"] = {"portMappings": [TCP]}
    error = call(node, f"{plugins}/portmap", "ADD", conf, netns=netns, status=1)
    assert error["code"] == code and words in error["msg"]


def test_udp_flows_follow(node: Node, plugins: str) -> None:
    """A flow that began before ADD, or went to a container that is gone, is forgotten."""
    udp = {"hostPort": 5000, "containerPort": 5000, "protocol": "udp"}
    send = "import socket; s=socket.socket(2,2); s.bind(('10.1.0.1',4000)); s.sendto(b'x',('10.1.0.1',5000))"

    def flows() -> List[str]:
        shown = node.run(
            "sh", "-c", "cat /proc/net/nf_conntrack 2>/dev/null || conntrack -L -p udp 2>/dev/null", status=None
        )
        return [line for line in shown.stdout.splitlines() if "dport=5000" in line]

    _, conf = attach(node, plugins, udp)
    node.run("python3", "-c", send)
    before = flows()
    if not before:
        pytest.skip("this kernel does not list connections: no /proc/net/nf_conntrack, no conntrack command")
    call(node, f"{plugins}/portmap", "DEL", conf, netns="/run/netns/c1")
    assert flows() == []
