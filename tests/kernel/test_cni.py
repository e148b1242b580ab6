"""ADD, CHECK and DEL in real namespaces: what the kernel shows, what reaches whom, what is left."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple

import pytest

from podwire.cni.plugins import PLUGINS
from podwire.cni.runtime.runtime import Runtime
from podwire.cni.spec.netconf import Attachment
from podwire.cni.spec.netlist import parse_list
from podwire.errors import CNI_CONFLICT, CNI_INVALID_NETNS, CNI_NOT_AVAILABLE
from podwire.kernel.namespaces import Namespace

RANGES = {4: "10.244.1.0/24", 6: "fd00:10:244:1::/64"}
DEFAULTS = {4: "0.0.0.0/0", 6: "::/0"}


class Lab(NamedTuple):
    """A node's namespace (the test is in it), and how to make containers."""

    home: Path
    make: Callable[[str], Namespace]

    def network(self, kind: str = "bridge", versions: tuple[int, ...] = (4,), **extra: Any) -> Runtime:
        plugin: Dict[str, Any] = {"type": kind, "mtu": 1450, **extra}
        if kind == "bridge":
            plugin = {"isGateway": True, "hairpinMode": True, **plugin}
        plugin.setdefault(
            "ipam",
            {
                "type": "host-local",
                "ranges": [[{"subnet": RANGES[version]}] for version in versions],
                "routes": [{"dst": DEFAULTS[version]} for version in versions],
                "dataDir": str(self.home / "networks"),
            },
        )
        data = {"cniVersion": "1.0.0", "name": "test", "plugins": [plugin]}
        return Runtime(parse_list(json.dumps(data)), PLUGINS, str(self.home / "cni"))

    def container(self, name: str) -> Attachment:
        namespace = self.make(name)
        attachment = Attachment(name, "eth0", f"/proc/{os.getpid()}/fd/{namespace.fd}")
        assert inside(attachment, "ip", "link", "set", "lo", "up").returncode == 0
        return attachment

    def containers(self, count: int) -> List[Attachment]:
        return [self.container(f"c{number}") for number in range(count)]


@pytest.fixture
def lab(namespace: Namespace, make_namespace: Callable[[str], Namespace], tmp_path: Path) -> Lab:
    return Lab(tmp_path, make_namespace)


def ip(*words: str) -> Any:
    done = subprocess.run(["ip", "-j", *words], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout or b"[]")


def inside(each: Attachment, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["nsenter", f"--net={each.netns}", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def reaches(source: Attachment | None, target: Attachment, address: str) -> bool:
    """TCP from a container (None: the node) to another's address; who connects is who the other sees."""
    with Namespace.open(target.netns, target.name) as there, there.entered():
        server = socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
    with contextlib.ExitStack() as stack:
        stack.enter_context(server)
        if source is not None:
            stack.enter_context(stack.enter_context(Namespace.open(source.netns, source.name)).entered())
        try:
            client = stack.enter_context(socket.create_connection((address, server.getsockname()[1]), timeout=5))
        except OSError:
            return False
        connection, peer = server.accept()
        connection.close()
        return bool(peer[0] == client.getsockname()[0])


def files(path: Path) -> set[str]:
    return {str(each.relative_to(path)) for each in path.rglob("*") if each.is_file()}


def leases(lab: Lab) -> set[str]:
    return {each.name for each in (lab.home / "networks/test").glob("*") if each.name[0].isdigit()}


@pytest.mark.parametrize("kind", ["bridge", "ptp"])
@pytest.mark.parametrize("versions", [(4,), (6,), (4, 6)])
def test_containers_reach_each_other_and_the_node(lab: Lab, kind: str, versions: tuple[int, ...]) -> None:
    runtime = lab.network(kind, versions)
    containers = lab.containers(3)
    answers = runtime.add(containers)
    assert answers.errors == {}
    for target, result in answers.results.items():
        for each in result.ips:
            assert all(reaches(source, target, str(each.address.ip)) for source in (None, *containers))
    assert runtime.check(containers) == {}
    assert runtime.add([lab.container("late")]).errors == {}
    assert runtime.check(containers) == {}
    runtime.delete(containers)
    assert not [each for each in ip("link") if each["ifname"].startswith("veth") and "late" in each]


def test_a_failed_attachment_leaves_nothing_and_the_others_are_attached(lab: Lab) -> None:
    """Two containers with one network namespace: the interface of one is in the other's way."""
    runtime = lab.network()
    containers = lab.containers(5)
    containers[3] = containers[3]._replace(netns=containers[1].netns)
    before = files(lab.home)
    answers = runtime.add(containers)
    [failed] = answers.errors
    assert failed in (containers[1], containers[3]) and "File exists" in str(answers.errors[failed])
    assert len(answers.results) == 4
    assert len(ip("link", "show", "master", "cni0")) == 4
    assert not [each for each in files(lab.home) - before if f"-{failed.container_id}-" in each]
    assert runtime.held([failed]) == {failed: None}
    assert runtime.check(list(answers.results)) == {}
    runtime.delete(containers)
    assert leases(lab) == set()
    assert runtime.add([failed]).errors == {}


def test_a_default_route_by_another_interface_stays(lab: Lab) -> None:
    """As with executables: the container has another network, which was first."""
    runtime = lab.network()
    containers = lab.containers(3)
    for command in (
        "link add other0 type bridge",
        "link set other0 up",
        "addr add 192.0.2.1/24 dev other0",
        "route add default via 192.0.2.2",
    ):
        assert inside(containers[1], "ip", *command.split()).returncode == 0
    assert runtime.add(containers).errors == {}
    shown = [inside(each, "ip", "route", "show", "default").stdout.strip() for each in containers]
    assert shown[1].startswith("default via 192.0.2.2 dev other0")
    assert shown[0] == shown[2] and shown[0].startswith("default via 10.244.1.1 dev eth0")
    assert runtime.check(containers) == {}


def test_errors_before_anything_is_done(lab: Lab) -> None:
    runtime = lab.network()
    good = lab.container("good")
    assert inside(good, "ip", "link", "add", "eth0", "type", "bridge").returncode == 0
    gone = Attachment("gone", "eth0", str(lab.home / "no-netns"))
    own = Attachment("own", "eth0", "/proc/thread-self/ns/net")
    errors = runtime.add([good, gone, own]).errors
    assert {each.container_id: error.code for each, error in errors.items()} == {
        "good": CNI_CONFLICT,
        "gone": CNI_INVALID_NETNS,
        "own": CNI_INVALID_NETNS,
    }
    assert leases(lab) == set()
    assert [each["ifname"] for each in ip("link")] == ["lo"]


def test_exhaustion_fails_only_those_without_an_address(lab: Lab) -> None:
    small = {"type": "host-local", "ranges": [[{"subnet": "10.244.1.0/29"}]], "dataDir": str(lab.home / "networks")}
    runtime = lab.network(ipam=small)
    answers = runtime.add(lab.containers(7))
    assert len(answers.results) == 5
    assert {error.code for error in answers.errors.values()} == {CNI_NOT_AVAILABLE}
    assert "(5 leases)" in str(next(iter(answers.errors.values())))


@pytest.mark.parametrize(
    "harm",
    [
        "ip link set {veth} mtu 1400",
        "ip link set {veth} nomaster",
        "ip link set {veth} down",
        "ip link del {veth}",
        "bridge link set dev {veth} isolated on",
        "bridge link set dev {veth} hairpin off",
        "ip addr del 10.244.1.1/24 dev cni0",
        "ip link set cni0 address 02:00:00:00:00:01",
        "nsenter --net={netns} ip link set eth0 mtu 1300",
        "nsenter --net={netns} ip addr add 10.244.1.99/24 dev eth0",
        "nsenter --net={netns} ip addr del 10.244.1.2/24 dev eth0",
        "nsenter --net={netns} ip route del default",
        "nsenter --net={netns} ip neigh replace 10.244.1.1 lladdr 02:00:00:00:00:99 nud permanent dev eth0",
        "nsenter --net={netns} sysctl -qw net.ipv4.conf.eth0.arp_notify=0",
    ],
)
def test_check_finds_harm_and_mend_puts_it_right(lab: Lab, harm: str) -> None:
    runtime = lab.network()
    victim, other = lab.containers(2)
    result = runtime.add([victim, other]).results[victim]
    assert runtime.check([victim, other]) == {}
    command = harm.format(veth=result.interfaces[1].name, netns=victim.netns)
    subprocess.run(command.split(), check=True)
    found = runtime.check([victim, other])
    assert set(found) == ({victim, other} if "cni0" in harm else {victim})
    held = runtime.held([victim, other])
    answers = runtime.repair({each: reservation for each, reservation in held.items() if reservation is not None})
    assert answers.errors == {} and answers.operations
    assert runtime.check([victim, other]) == {}
    assert reaches(victim, other, "10.244.1.3") and reaches(other, victim, "10.244.1.2")


def test_check_finds_a_lost_lease_and_a_lost_result(lab: Lab) -> None:
    runtime = lab.network()
    first, second = lab.containers(2)
    runtime.add([first, second])
    (lab.home / "networks/test/10.244.1.2").unlink()
    runtime.cache.remove(second)
    assert set(runtime.check([first, second])) == {first, second}
    assert [each.claim for each in runtime.stale(set())] == [first.claim, second.claim]
    assert [each.claim for each in runtime.stale({first.claim})] == [second.claim]


def test_the_bridge_keeps_its_mac_and_outlives_its_ports(lab: Lab) -> None:
    runtime = lab.network()
    containers = lab.containers(3)
    macs = set()
    for each in containers:
        runtime.add([each])
        macs.add(ip("link", "show", "cni0")[0]["address"])
    runtime.delete(containers)
    macs.add(ip("link", "show", "cni0")[0]["address"])
    assert macs == {"0a:58:0a:f4:01:01"}
    assert [each["local"] for each in ip("-4", "addr", "show", "cni0")[0]["addr_info"]] == ["10.244.1.1"]
    assert leases(lab) == set()
    runtime.delete(containers)


def test_a_reused_address_is_announced(lab: Lab) -> None:
    """Neighbours that knew the address elsewhere (another plugin's random MAC) hear of the new place."""
    runtime = lab.network()
    peer = lab.container("peer")
    runtime.add([peer])
    stale = "02:00:00:00:00:99"
    for where, device in (("", "cni0"), (f"nsenter --net={peer.netns} ", "eth0")):
        for command in (
            f"sysctl -qw net.ipv4.neigh.{device}.locktime=0",
            f"ip neigh replace 10.244.1.3 lladdr {stale} nud reachable dev {device}",
        ):
            subprocess.run((where + command).split(), check=True)
    again = lab.container("again")
    assert str(runtime.add([again]).results[again].ips[0].address) == "10.244.1.3/24"
    mac = "0a:58:0a:f4:01:03"
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        known = {each["lladdr"] for each in ip("neigh", "show", "10.244.1.3")}
        known |= {each["lladdr"] for each in json.loads(inside(peer, "ip", "-j", "neigh", "show", "10.244.1.3").stdout)}
        if known == {mac}:
            break
    assert known == {mac}
    assert reaches(None, again, "10.244.1.3") and reaches(peer, again, "10.244.1.3")


def test_the_cached_result_is_libcnis(lab: Lab) -> None:
    runtime = lab.network(versions=(4, 6))
    container = lab.container("c0")
    result = runtime.add([container]).results[container]
    path = lab.home / "cni/results/test-c0-eth0"
    assert path.stat().st_mode & 0o777 == 0o600
    data = json.loads(path.read_text())
    assert base64.b64decode(data["config"]).decode() == runtime.network.source
    assert {key: value for key, value in data.items() if key not in ("config", "result")} == {
        "kind": "cniCacheV1",
        "containerId": "c0",
        "ifName": "eth0",
        "networkName": "test",
        "netns": container.netns,
    }
    assert data["result"]["ips"] == [
        {"interface": 2, "address": "10.244.1.2/24", "gateway": "10.244.1.1"},
        {"interface": 2, "address": "fd00:10:244:1::2/64", "gateway": "fd00:10:244:1::1"},
    ]
    cached = runtime.cache.read(container)
    assert cached is not None
    assert cached.result.to_json("1.0.0") == result.to_json("1.0.0") == data["result"]


def test_masquerade_comes_and_goes_with_each_attachment(lab: Lab) -> None:
    network = lab.network(ipMasq=True)
    first, second = lab.containers(2)
    answers = network.add([first, second])
    assert not answers.errors and network.check([first, second]) == {}
    rules = subprocess.run(["nft", "list", "ruleset"], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert [rules.count(f"ip saddr 10.244.1.{number} ") for number in (2, 3)] == [1, 1]
    network.delete([first])
    rules = subprocess.run(["nft", "list", "ruleset"], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert [rules.count(f"ip saddr 10.244.1.{number} ") for number in (2, 3)] == [0, 1]
    assert network.check([second]) == {}
    subprocess.run(["nft", "flush", "chain", "inet", "podwire-cni", "masquerading"], check=True)
    assert set(network.check([second])) == {second}
    network.delete([second])
