"""The snapshot of a real node, against what iproute2 says."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any, Callable

import pytest

from podwire.kernel.namespaces import Namespace
from podwire.observe import node_files, snapshot


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def asked(*command: str) -> Any:
    return json.loads(run(*command) or "[]")


NODE = """
link add br0 type bridge
link set br0 up
address add 10.1.0.1/24 dev br0
link add vx0 mtu 1450 type vxlan id 7 local 10.1.0.1 dev br0 dstport 4789 nolearning
link set vx0 up
route add 10.2.0.0/24 via 10.1.0.9 dev vx0 onlink mtu 1400
nexthop add id 5 via 10.1.0.8 dev br0
route add 10.3.0.0/24 nhid 5
route add blackhole 10.4.0.0/24
route add 10.5.0.0/24 nexthop via 10.1.0.6 dev br0 nexthop via 10.1.0.7 dev br0
rule add from 10.1.0.0/24 lookup 100 priority 77
neighbour add 10.1.0.9 lladdr 02:00:00:00:00:09 nud permanent dev vx0
"""


@pytest.fixture
def node(namespace: Namespace) -> Namespace:
    subprocess.run(["ip", "-batch", "-"], input=NODE, text=True, check=True)
    run("bridge", "fdb", "append", "02:00:00:00:00:09", "dev", "vx0", "dst", "192.0.2.9")
    return namespace


def test_every_table_says_what_iproute2_says(node: Namespace) -> None:
    found = snapshot.read(node)
    links = {each["ifname"]: each for each in asked("ip", "-d", "-j", "link")}
    assert {each["name"]: each["ifindex"] for each in found["links"]} == {n: e["ifindex"] for n, e in links.items()}
    for each in found["links"]:
        there = links[each["name"]]
        assert (each["mtu"], each["mac"], each["up"]) == (there["mtu"], there["address"], "UP" in there["flags"])
    vxlan = next(each["vxlan"] for each in found["links"] if each["name"] == "vx0")
    assert vxlan == {"vni": 7, "port": 4789, "local": "10.1.0.1", "device": "br0", "learning": False, "df": False}
    addresses = {
        (e["ifname"], a["local"], a["prefixlen"]) for e in asked("ip", "-j", "address") for a in e["addr_info"]
    }
    assert {(each["device"], each["address"], each["prefix"]) for each in found["addresses"]} == addresses
    routes = {each["destination"]: each for each in found["routes"] if ":" not in each["destination"]}
    theirs = {each["dst"] if "/" in each["dst"] else each["dst"] + "/32" for each in asked("ip", "-4", "-j", "route")}
    assert set(routes) == theirs
    assert routes["10.2.0.0/24"] | {"protocol": 3} == {
        "destination": "10.2.0.0/24", "kind": "unicast", "protocol": 3, "table": 254, "gateway": "10.1.0.9",
        "device": "vx0", "mtu": 1400, "onlink": True,
    }  # fmt: skip
    assert routes["10.3.0.0/24"]["next_hop"] == 5 and routes["10.4.0.0/24"]["kind"] == "blackhole"
    assert [each["gateway"] for each in routes["10.5.0.0/24"]["hops"]] == ["10.1.0.6", "10.1.0.7"]
    assert (
        found["next_hops"] == [{"id": 5, "protocol": 0, "device": "br0", "gateway": "10.1.0.8"}] or found["next_hops"]
    )
    assert {"family": 4, "priority": 77, "table": 100, "action": "lookup", "from": "10.1.0.0/24"} in found["rules"]
    permanent = {"device": "vx0", "address": "10.1.0.9", "state": "permanent", "mac": "02:00:00:00:00:09"}
    assert permanent in found["neighbours"]
    entry = {"device": "vx0", "mac": "02:00:00:00:00:09", "permanent": True, "destination": "192.0.2.9"}
    assert entry in found["fdb"]
    assert found["sysctls"]["net/ipv4/ip_forward"] == Path("/proc/sys/net/ipv4/ip_forward").read_text().strip()
    json.dumps(found)


def test_counters_count(node: Namespace) -> None:
    run("ip", "link", "set", "lo", "up")
    before = snapshot.counters().get("Udp.NoPorts", 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.sendto(b"", ("127.0.0.1", 9))
    assert snapshot.counters()["Udp.NoPorts"] == before + 1


def test_sandboxes_are_found_by_name_and_by_process_and_only_those_of_the_node(
    namespace: Namespace, make_namespace: Callable[[str], Namespace]
) -> None:
    """Of three namespaces one is the node's: a veth pair leads there. It has no name, only a process."""
    inside, outside = make_namespace("pod"), make_namespace("stranger")
    sleeping = []
    for space in (inside, outside):
        with space.entered():
            sleeping.append(subprocess.Popen(["sleep", "60"]))
    try:
        peer = f"/proc/{sleeping[0].pid}/ns/net"
        run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "eth0", "netns", str(sleeping[0].pid))
        taken = snapshot.take("node")
        (found,) = taken["sandboxes"].values()
        assert found["pids"] == [sleeping[0].pid] and found["netns"] == peer and found["known_by"] == "process"
        (eth0,) = [each for each in found["namespace"]["links"] if each["name"] == "eth0"]
        (v0,) = [each for each in taken["namespace"]["links"] if each["name"] == "v0"]
        assert v0["link_netnsid"] == found["nsid"] and v0["link"] == eth0["ifindex"] and eth0["link"] == v0["ifindex"]
        assert taken["unnamed"] == []
        assert snapshot.take("node", uplinks={"v0"})["sandboxes"] == {}
        assert snapshot.take("node", [])["unnamed"] == [found["nsid"]], "what nobody names is still told"
    finally:
        for each in sleeping:
            each.kill()
            each.wait()


def test_a_namespace_with_a_name_and_a_process_and_no_device_is_told(namespace: Namespace) -> None:
    """What is left of a pod whose veth pair is gone; a name without a process is anybody's."""
    names = [f"podwire-{os.urandom(4).hex()}" for _ in range(2)]
    for name in names:
        run("ip", "netns", "add", name)
    try:
        with subprocess.Popen(["ip", "netns", "exec", names[0], "sh", "-c", "echo; exec sleep 60"],
                              stdout=subprocess.PIPE) as sleeping:  # fmt: skip
            assert sleeping.stdout is not None
            sleeping.stdout.readline()  # by then it is inside
            try:
                taken = snapshot.take("node")
                assert names[0] in taken["unattached"] and names[1] not in taken["unattached"]
                assert not set(names) & set(taken["sandboxes"])
                run("ip", "-n", names[0], "link", "add", "br0", "type", "bridge")
                assert names[0] not in snapshot.take("node")["unattached"]
            finally:
                sleeping.kill()
    finally:
        for name in names:
            run("ip", "netns", "del", name)


def test_files_are_read_as_runtimes_and_host_local_write_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("net.d", "results", "networks"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(node_files, "CONFIG_DIR", str(tmp_path / "net.d"))
    monkeypatch.setattr(node_files, "RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(node_files, "SUBNET_ENV", str(tmp_path / "subnet.env"))
    monkeypatch.setattr(node_files, "DATA_DIR", str(tmp_path / "default"))
    (tmp_path / "subnet.env").write_text("FLANNEL_SUBNET=10.1.2.1/24\nFLANNEL_MTU=1450\n")
    ipam = {"type": "host-local", "dataDir": str(tmp_path / "networks")}
    (tmp_path / "net.d" / "10-a.conflist").write_text(
        json.dumps({"name": "a", "plugins": [{"type": "x", "ipam": ipam}]})
    )
    (tmp_path / "net.d" / "20-b.conf").write_text("{")
    (tmp_path / "networks" / "a").mkdir()
    for name, text in (("10.1.2.3", "id\r\neth0"), ("10.1.2.4", ""), ("last_reserved_ip.0", "10.1.2.4"), ("lock", "")):
        (tmp_path / "networks" / "a" / name).write_text(text)
    cached = {"containerId": "id", "networkName": "a", "ifName": "eth0", "netns": "/run/netns/x"}
    arguments = [["K8S_POD_NAMESPACE", "shop"], ["K8S_POD_NAME", "web-0"]]
    result = {"ips": [{"address": "10.1.2.3/24"}]}
    (tmp_path / "results" / "a-id-eth0").write_text(json.dumps({**cached, "cniArgs": arguments, "result": result}))
    found = node_files.read()
    assert found["reservations"]["a"] == {"10.1.2.3": ["id", "eth0"], "10.1.2.4": ["", ""]}
    assert found["subnet_env"] == {"FLANNEL_SUBNET": "10.1.2.1/24", "FLANNEL_MTU": "1450"}
    assert [each["name"] for each in found["conflists"]] == ["a", ""] and found["conflists"][1]["error"]
    (attachment,) = found["attachments"]
    assert attachment["pod"] == "shop.web-0" and attachment["ips"] == ["10.1.2.3"]
