"""Together with the Go reference, executable beside executable: one lease directory, and chains of both."""

from __future__ import annotations

import json
import os
from typing import Any, Dict

import pytest

from tests.cni.nodes import GO, Node, bridge, call, conflist, needs_go

pytestmark = needs_go
LEASES = "/var/lib/cni/networks/net"


def host_local(**more: Any) -> Dict[str, Any]:
    """A configuration of host-local alone, over two families."""
    ranges = [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]
    return {"cniVersion": "1.0.0", "name": "net", "type": "x", "ipam": {"type": "host-local", "ranges": ranges, **more}}


@pytest.fixture
def mixed(node: Node, plugins: str) -> str:
    """A directory for each plugin that podwire and the reference have, of whose is wanted: ``<dir>/<whose>-<name>``."""
    for whose, origin in (("go", GO), ("our", plugins)):
        for name in ("bridge", "host-local", "portmap"):
            folder = node.home / f"{whose}-{name}"
            folder.mkdir()
            os.symlink(os.path.join(origin, name), folder / name)
    return str(node.home)


@pytest.mark.parametrize("first", ["go", "our"])
def test_leases_of_one_are_read_and_released_by_the_other(node: Node, plugins: str, first: str) -> None:
    one, other = (GO, plugins) if first == "go" else (plugins, GO)
    conf = host_local()
    given = []
    for number in range(4):
        result = call(node, f"{(one, other)[number % 2]}/host-local", "ADD", conf, f"c{number}", netns="/x")
        given.append([each["address"].partition("/")[0] for each in result["ips"]])
    assert given == [[f"10.1.0.{n}", f"fd00:1::{n}"] for n in range(2, 6)]
    files = node.files(LEASES)
    for number, addresses in enumerate(given):
        for address in addresses:
            assert files[address] == f"c{number}\r\neth0".encode()
    refused = call(node, f"{other}/host-local", "ADD", conf, "c0", netns="/x", status=1)
    assert "c0" in refused["msg"]
    for path in (one, other):
        for number in range(4):
            call(node, f"{path}/host-local", "CHECK", conf, f"c{number}", netns="/x")
    for number in range(4):
        call(node, f"{(other, one)[number % 2]}/host-local", "DEL", conf, f"c{number}")
        assert len(node.leases("net")) == 2 * (3 - number)
    result = call(node, f"{other}/host-local", "ADD", conf, "c9", netns="/x")
    assert [each["address"] for each in result["ips"]] == ["10.1.0.6/24", "fd00:1::6/64"]


@pytest.mark.parametrize("chain", ["go-bridge:our-host-local", "our-bridge:go-host-local", "our-bridge:our-host-local"])
@pytest.mark.parametrize("portmap", ["go-portmap", "our-portmap"])
def test_mixed_chains(node: Node, mixed: str, chain: str, portmap: str) -> None:
    kinds = [*chain.split(":"), portmap]
    folder = node.home / "net.d"
    folder.mkdir()
    ports = {"type": "portmap", "backend": "iptables", "capabilities": {"portMappings": True}}
    (folder / "10-net.conflist").write_text(conflist(bridge(), ports))
    environ = {
        "NETCONFPATH": str(folder),
        "CNI_PATH": ":".join(f"{mixed}/{kind}" for kind in kinds),
        "CAP_ARGS": json.dumps({"portMappings": [{"hostPort": 8080, "containerPort": 9, "protocol": "tcp"}]}),
    }
    paths = [node.container(name) for name in ("a", "b")]
    first = json.loads(node.podwire("cni", "add", "net", paths[0], **environ).stdout)
    second = json.loads(node.podwire("cni", "add", "net", paths[1], **{**environ, "CAP_ARGS": ""}).stdout)
    assert [each["ips"][0]["address"] for each in (first, second)] == ["10.1.0.2/24", "10.1.0.3/24"]
    assert node.reaches("a", "10.1.0.3") and node.reaches("b", "10.1.0.2")
    assert node.reaches("b", "10.1.0.1", 8080)
    assert "8080" in node.rules()
    if portmap != "go-portmap":  # whose CHECK wants rules for an IPv6 address that there is not
        node.podwire("cni", "check", "net", paths[0], **environ)
    fresh = "stamp" in "".join(node.files("/var/lib/cni/networks/.podwire"))
    assert fresh is ("our-host-local" in kinds), "the other's host-local was used"
    for path in paths:
        node.podwire("cni", "del", "net", path, **environ)
    assert node.links() == ["cni0"] and node.leases("net") == {}
    assert "8080" not in node.rules() and "10.1.0." not in node.rules()


def test_what_the_other_attached_is_detached(node: Node, plugins: str) -> None:
    """An upgrade from one to the other: DEL of what was added before, with the same configuration."""
    conf = {"cniVersion": "1.0.0", "name": "net", **bridge()}
    for first, second in ((GO, plugins), (plugins, GO)):
        path = node.container("a")
        result = call(node, f"{first}/bridge", "ADD", conf, netns=path)
        call(node, f"{second}/bridge", "DEL", {**conf, "prevResult": result}, netns=path)
        assert node.links() == ["cni0"] and node.leases("net") == {}
        node.run("ip", "netns", "del", "a")


DOCKER = """
iptables -P FORWARD DROP
iptables -N DOCKER-USER
iptables -A FORWARD -j DOCKER-USER
iptables -A DOCKER-USER -j RETURN
"""


@pytest.mark.parametrize("backend", [{}, {"backend": "iptables"}])
def test_pods_are_reachable_where_docker_drops_what_is_forwarded(
    node: Node, plugins: str, backend: Dict[str, str]
) -> None:
    node.run("sh", "-ec", DOCKER)
    # A network of the node's, whose hosts the pods cannot reach over the bridge itself.
    node.run("ip", "netns", "add", "outside")
    node.run("ip", "link", "add", "out", "type", "veth", "peer", "name", "eth0", "netns", "outside")
    node.run("sh", "-ec", "ip addr add 192.0.2.1/24 dev out; ip link set out up")
    node.run("sh", "-ec", "ip -n outside addr add 192.0.2.2/24 dev eth0; ip -n outside link set eth0 up")
    node.run("ip", "-n", "outside", "route", "add", "default", "via", "192.0.2.1")
    folder = node.home / "net.d"
    folder.mkdir()
    environ = {"NETCONFPATH": str(folder), "CNI_PATH": plugins}
    (folder / "10-net.conflist").write_text(conflist(bridge()))
    node.podwire("cni", "add", "net", node.container("a"), **environ)
    assert not node.reaches("a", "192.0.2.2"), "the policy does not drop"
    node.podwire("cni", "del", "net", "/run/netns/a", **environ)
    (folder / "10-net.conflist").write_text(conflist(bridge(), {"type": "firewall", **backend}))
    node.podwire("cni", "add", "net", "/run/netns/a", **environ)
    assert node.reaches("a", "192.0.2.2")
    node.podwire("cni", "check", "net", "/run/netns/a", **environ)
    node.podwire("cni", "del", "net", "/run/netns/a", **environ)
    assert "10.1.0." not in node.rules()
    assert "DOCKER-USER" in node.rules()
