"""A bridge that podwire did not make is as it was before and after every command, by executables and by podwire's own
runtime, but for what the list asks for; and a bridge that it made is known again, also one of an older podwire."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict, Mapping

import pytest

from tests.cni.nodes import Node, bridge, call, conflist, needs_go
from tests.cni.test_vlan import needs_filtering

#: Runs a command of CNI for the container ``name``.
Run = Callable[..., Any]
_SYSCTLS = ("ipv6/conf/{0}/accept_ra", "ipv6/conf/{0}/autoconf", "ipv6/conf/{0}/forwarding", "ipv4/conf/{0}/rp_filter",
            "ipv4/conf/{0}/arp_ignore", "ipv6/conf/{0}/disable_ipv6")  # fmt: skip
_HAND_MADE = """
set -e
ip link add {0} type bridge
ip link add port0 type veth peer name port1
ip link set port1 up
ip link set port0 master {0} up
sysctl -qw net.ipv6.conf.{0}.addr_gen_mode=1
ip link set {0} address 02:00:00:00:00:77 mtu 1400 up
sysctl -qw net.ipv6.conf.{0}.accept_ra=1
ip address add 192.0.2.1/24 dev {0}
ip address add 2001:db8::1/64 dev {0} nodad
ip route add default via 192.0.2.254 dev {0}
ip -6 route add 2001:db8:1::/64 via 2001:db8::2 dev {0}
ip neigh add 192.0.2.254 lladdr 02:00:00:00:00:fe dev {0} nud permanent
"""


def shown(node: Node, device: str) -> Dict[str, Any]:
    """A bridge with all that is on it."""
    [link] = node.json("ip", "-j", "-d", "link", "show", "dev", device)
    [addresses] = node.json("ip", "-j", "address", "show", "dev", device)
    listed = {
        "addresses": [(each["local"], each["prefixlen"], each["scope"]) for each in addresses["addr_info"]],
        "routes": [
            line
            for version in ("-4", "-6")
            for line in node.run("ip", version, "route", "show", "dev", device).stdout.splitlines()
        ],
        "neighbours": node.run("ip", "neigh", "show", "dev", device, "nud", "permanent").stdout.splitlines(),
        "sysctls": [(key, Path(f"/proc/{node.pid}/root/proc/sys/net/{key.format(device)}").read_text()) for key in ()],
    }
    sysctls = [node.run("cat", f"/proc/sys/net/{key.format(device)}").stdout.strip() for key in _SYSCTLS]
    return {
        **{key: sorted(value) for key, value in listed.items()},
        "sysctls": dict(zip(_SYSCTLS, sysctls)),
        "mac": link["address"],
        "mtu": link["mtu"],
        "alias": link.get("ifalias"),
        "promisc": int("PROMISC" in link["flags"]),
        "filtering": link["linkinfo"]["info_data"]["vlan_filtering"],
    }


def by_executable(node: Node, plugins: str) -> Run:
    results: Dict[str, Any] = {}

    def run(command: str, plugin: Mapping[str, Any], name: str = "c1", status: int = 0) -> Any:
        conf = {"cniVersion": "1.1.0", "name": "net", **plugin}
        if command == "GC":
            conf["cni.dev/valid-attachments"] = []
        if command in ("CHECK", "DEL"):
            conf["prevResult"] = results[name]
        answer = call(node, f"{plugins}/bridge", command, conf, name, netns=f"/run/netns/{name}", status=status)
        if command == "ADD":
            results[name] = answer
        return answer

    return run


def by_runtime(node: Node, _: str) -> Run:
    def run(command: str, plugin: Mapping[str, Any], name: str = "c1", status: int = 0) -> Any:
        text = conflist(plugin, version="1.1.0")
        node.run("sh", "-c", "mkdir -p /etc/cni/net.d && cat >/etc/cni/net.d/10-net.conflist", stdin=text)
        done = node.podwire("cni", command.lower(), "net", f"/run/netns/{name}", status=status)
        return json.loads(done.stdout) if done.stdout.strip() else done.stderr

    return run


WAYS = {"executable": by_executable, "runtime": by_runtime}
_PLAIN = {"type": "bridge"}
_IPAM = {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]}
CONFIGURATIONS: Dict[str, Dict[str, Any]] = {
    "layer 2": _PLAIN,
    "addresses": {**_PLAIN, "ipam": _IPAM, "mtu": 1300},
    "gateway": {**_PLAIN, "ipam": _IPAM, "mtu": 1450, "isGateway": True},
    "promiscuous": {**_PLAIN, "promiscMode": True},
    "filtering": {**_PLAIN, "vlan": 7},
}


def asked_for(before: Dict[str, Any], name: str) -> Dict[str, Any]:
    """The bridge with what the list asks for."""
    after = dict(before)
    if name == "gateway":
        after["addresses"] = sorted([*before["addresses"], ("10.1.0.1", 24, "global")])
        after["routes"] = sorted([*before["routes"], "10.1.0.0/24 proto kernel scope link src 10.1.0.1 "])
    after["promisc"] += name == "promiscuous"
    after["filtering"] += name == "filtering"
    return after


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=needs_filtering if name == "filtering" else ()) for name in CONFIGURATIONS]
)
@pytest.mark.parametrize("device", ["br0", "cni0"])
@pytest.mark.parametrize("way", WAYS)
def test_a_bridge_made_by_hand_is_as_it_was(node: Node, plugins: str, way: str, device: str, name: str) -> None:
    node.run("sh", "-c", _HAND_MADE.format(device))
    before = shown(node, device)
    wanted = asked_for(before, name)
    run, conf = WAYS[way](node, plugins), {**CONFIGURATIONS[name], "bridge": device}
    node.container("c1")
    run("ADD", conf)
    ports = [each["ifname"] for each in node.json("ip", "-j", "link", "show", "master", device)]
    assert len(ports) == 2
    if conf.get("mtu") == 1300:  # the smallest of the ports, unless it was set: it was
        assert shown(node, device)["mtu"] == 1400
    assert shown(node, device) == wanted
    for command in ("CHECK", "DEL", "GC"):
        run(command, conf)
        assert shown(node, device) == wanted, command
    assert len(node.json("ip", "-j", "link", "show", "master", device)) == 1


@needs_go
@pytest.mark.parametrize("way", WAYS)
def test_a_bridge_that_the_reference_made_is_as_it_was(node: Node, plugins: str, way: str) -> None:
    conf = bridge()
    call(node, "/usr/lib/cni/bridge", "ADD", {"cniVersion": "1.0.0", "name": "go", **conf}, "g1",
         netns=node.container("g1"))  # fmt: skip
    before = shown(node, "cni0")
    node.container("c1")
    run = WAYS[way](node, plugins)
    for command in ("ADD", "CHECK", "DEL", "GC"):
        run(command, conf)
        assert shown(node, "cni0") == before, command


@pytest.mark.parametrize("way", WAYS)
def test_two_networks_share_a_bridge_of_ours(node: Node, plugins: str, way: str) -> None:
    """The second adds its gateway; neither takes away the other's, nor what the administrator added."""
    run = WAYS[way](node, plugins)
    node.container("c1")
    run("ADD", bridge())
    node.run("ip", "address", "add", "198.51.100.1/24", "dev", "cni0")
    node.run("ip", "neigh", "add", "198.51.100.2", "lladdr", "02:00:00:00:00:fe", "dev", "cni0", "nud", "permanent")
    before = shown(node, "cni0")
    node.container("c2")
    run("ADD", bridge("10.2.0.0/24"), "c2")
    after = shown(node, "cni0")
    assert after["addresses"] == sorted([*before["addresses"], ("10.2.0.1", 24, "global")])
    assert after["routes"] == sorted([*before["routes"], "10.2.0.0/24 proto kernel scope link src 10.2.0.1 "])
    assert {key: after[key] for key in ("mac", "neighbours", "sysctls", "mtu")} == {
        key: before[key] for key in ("mac", "neighbours", "sysctls", "mtu")
    }


@pytest.mark.parametrize("way", WAYS)
def test_a_second_add_of_a_living_attachment_is_refused_and_undoes_nothing(node: Node, plugins: str, way: str) -> None:
    run = WAYS[way](node, plugins)
    node.container("c1")
    first = run("ADD", bridge(ipMasq=True))

    def state() -> Dict[str, Any]:
        inside = node.run("ip", "-n", "c1", "-o", "address", "show", "dev", "eth0").stdout
        return {"links": node.links(), "inside": inside, "rules": node.rules(), "files": node.files("/var/lib/cni"),
                "bridge": shown(node, "cni0")}  # fmt: skip

    before = state()
    answer = run("ADD", bridge(ipMasq=True), status=1)
    text = json.dumps(answer)
    assert "eth0" in text and "already" in text
    if way == "runtime":
        assert "network net" in text and first["ips"][0]["address"] in text and "cnitool-" in text
    assert state() == before
    run("CHECK" if way == "runtime" else "STATUS", bridge(ipMasq=True))
    run("DEL", bridge(ipMasq=True)) if way == "runtime" else None


def test_a_second_add_of_a_living_attachment_by_other_plugins_is_refused(node: Node, plugins: str) -> None:
    """A plugin that is executed may know nothing of it: whoever has its result cached does."""
    result = '{"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "/run/netns/c1"}]}'
    script = f"""#!/bin/sh
[ $CNI_COMMAND = DEL ] && exec ip -n c1 link del eth0
ip -n c1 link add eth0 type veth peer name other || exit 1
echo '{result}'
"""
    node.run("sh", "-c", "mkdir -p /etc/cni/net.d && cat >/opt/cni/other && chmod +x /opt/cni/other", stdin=script)
    node.run("sh", "-c", "cat >/etc/cni/net.d/10-net.conflist", stdin=conflist({"type": "other"}))
    node.container("c1")
    environ = {"CNI_PATH": "/opt/cni"}
    node.podwire("cni", "add", "net", "/run/netns/c1", **environ)
    before = node.run("ip", "-n", "c1", "-o", "link").stdout, node.files("/var/lib/cni")
    refused = node.podwire("cni", "add", "net", "/run/netns/c1", status=1, **environ).stderr
    assert "eth0" in refused and "network net" in refused
    assert (node.run("ip", "-n", "c1", "-o", "link").stdout, node.files("/var/lib/cni")) == before


@pytest.mark.parametrize("way", WAYS)
def test_a_bridge_of_an_older_podwire_is_known_to_be_ours(node: Node, plugins: str, way: str) -> None:
    """Its MAC address tells, which follows from its address: so it takes no router advertisements."""
    for name in ("cni0", "br0"):
        node.run("ip", "link", "add", name, "type", "bridge")
        node.run("sysctl", "-qw", f"net.ipv6.conf.{name}.accept_ra=1")
    node.run("ip", "link", "set", "cni0", "address", "0a:58:0a:01:00:01", "up", "mtu", "1400")
    node.run("ip", "address", "add", "10.1.0.1/24", "dev", "cni0")
    run, read = WAYS[way](node, plugins), "/proc/sys/net/ipv6/conf/{}/accept_ra"
    for number, name in enumerate(("cni0", "br0")):
        node.container(f"c{number}")
        run("ADD", {**bridge(f"10.{number + 1}.0.0/24"), "bridge": name}, f"c{number}")
    assert [node.run("cat", read.format(name)).stdout for name in ("cni0", "br0")] == ["0\n", "1\n"]
    assert shown(node, "cni0")["alias"] is None
    node.container("c3")
    run("ADD", {**bridge("10.9.0.0/24"), "bridge": "br9"}, "c3")
    assert shown(node, "br9")["alias"] == "podwire cni"
