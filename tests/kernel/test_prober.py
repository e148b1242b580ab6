"""The prober on a real kernel: two nodes with bridges, three pods and a hostNetwork pod, both families.

Every test breaks one thing and looks at what the prober and the judge say; the healthy network is the
control that nothing else was broken.
"""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Set

import pytest

from podwire.backend import BackendSettings
from podwire.converge import Target, converge
from podwire.intent.cluster import Check, Cluster, CniSettings, Node, Pod
from podwire.kernel.namespaces import Namespace
from podwire.model.objects import Address, Link, MacAddress, Route, Sysctl, VethPeer
from podwire.model.state import State, scope_of
from podwire.observe import node_files
from podwire.prove import expect, sockets
from podwire.prove.prober import Options, Running, observe
from podwire.prove.text import render
from podwire.prove.verdict import Guarantee, Verdict, judge
from podwire.prove.watch import text, watch

ROOT = Path(__file__).resolve().parents[2]
MTU = 1400
NODE_OF = {"pod-a": "node-1", "pod-b": "node-1", "pod-c": "node-2", "pod-h": "node-2"}
ADDRESSES = {
    "pod-a": ["10.244.1.2", "fd00:244:0:1::2"],
    "pod-b": ["10.244.1.3", "fd00:244:0:1::3"],
    "pod-c": ["10.244.2.2", "fd00:244:0:2::2"],
}
SERVER = """
import socket, sys
from podwire.sandbox.server import Server, listen
server = Server(sys.argv[1], sys.argv[2], listen(8080), listen(8080, socket.SOCK_DGRAM))
print("ready", flush=True)
server.serve()
"""
ANY = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}


def declared() -> Cluster:
    nodes = tuple(
        Node(
            name=f"node-{number}",
            kind="netns",
            interface="eth0",
            addresses=(ip_interface(f"192.168.1.1{number}/24"), ip_interface(f"fd00:168::1{number}/64")),
            public_ips=(ip_address(f"192.168.1.1{number}"), ip_address(f"fd00:168::1{number}")),
            pod_cidrs=(ip_network(f"10.244.{number}.0/24"), ip_network(f"fd00:244:0:{number}::/64")),
        )
        for number in (1, 2)
    )
    return Cluster(
        id="test",
        cluster_cidrs=(ip_network("10.244.0.0/16"), ip_network("fd00:244::/56")),
        service_cidrs=(),
        node_prefix_lengths=(24, 64),
        backend=BackendSettings(type="host-gw", mtu=MTU),
        cni=CniSettings(),
        masquerade=False,
        nodes=nodes,
        pods=tuple(Pod(name, node, host_network=name == "pod-h") for name, node in NODE_OF.items()),
    )


def node_state(cluster: Cluster, number: int) -> State:
    me, peer = cluster.node(f"node-{number}"), cluster.node(f"node-{3 - number}")
    pods = [name for name, node in NODE_OF.items() if node == me.name and name in ADDRESSES]
    links = {Link("eth0", "veth", mtu=1500, peer=VethPeer("node-2", "eth0") if number == 1 else None)}
    links |= {Link("cni0", "bridge", mtu=MTU), Link("lo", "loopback")}
    links |= {Link(f"v-{pod}", "veth", mtu=MTU, master="cni0", peer=VethPeer(pod, "eth0")) for pod in pods}
    addresses = {Address("eth0", each, nodad=each.version == 6) for each in me.addresses}
    for block in me.pod_cidrs:
        gateway = ip_interface(f"{block[1]}/{block.prefixlen}")
        addresses.add(Address("cni0", gateway, nodad=gateway.version == 6))
    routes = {Route(peer.pod_cidrs[i], gateway=peer.public_ips[i], device="eth0") for i in (0, 1)}
    sysctls = {Sysctl("net/ipv4/ip_forward", "1"), Sysctl("net/ipv6/conf/all/forwarding", "1")}
    return State(frozenset(links), frozenset(sysctls), frozenset(addresses), routes=frozenset(routes))


def pod_state(pod: str) -> State:
    number = NODE_OF[pod][-1]
    v4, v6 = ADDRESSES[pod]
    return State(
        links=frozenset({Link("eth0", "veth", mtu=MTU), Link("lo", "loopback")}),
        addresses=frozenset(
            {Address("eth0", ip_interface(f"{v4}/24")), Address("eth0", ip_interface(f"{v6}/64"), nodad=True)}
        ),
        routes=frozenset(
            {
                Route(ANY[4], gateway=ip_address(f"10.244.{number}.1"), device="eth0"),
                Route(ANY[6], gateway=ip_address(f"fd00:244:0:{number}::1"), device="eth0"),
            }
        ),
    )


class Lab:
    """The network, and the servers that answer in it."""

    def __init__(self, make: Callable[[str], Namespace]) -> None:
        self.cluster = declared()
        self.absent: Set[str] = set()
        self.mode = "auto"
        self.spaces = {name: make(name) for name in ("node-1", "node-2", *ADDRESSES)}
        for space in self.spaces.values():  # link-local addresses too shall be usable at once
            with space.entered():
                Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")
        states = {node: node_state(self.cluster, int(node[-1])) for node in ("node-1", "node-2")}
        states.update({pod: pod_state(pod) for pod in ADDRESSES})
        converge([Target(self.spaces[name], state, scope_of(state)) for name, state in states.items()])
        self.servers: Dict[str, subprocess.Popen[str]] = {}
        for pod in NODE_OF:
            self.serve(pod)

    def space(self, pod: str) -> Namespace:
        return self.spaces.get(pod) or self.spaces[NODE_OF[pod]]

    def serve(self, pod: str, name: str = "") -> None:
        """Start a pod's server; it listens when this returns."""
        command = [sys.executable, "-c", SERVER, name or pod, NODE_OF[pod]]
        with self.space(pod).entered():
            self.servers[pod] = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        pipe = self.servers[pod].stdout
        assert pipe is not None and pipe.readline() == "ready\n"

    def stop(self, pod: str) -> None:
        server = self.servers.pop(pod)
        server.kill()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()

    def run(self, place: str, *command: str) -> str:
        with self.space(place).entered():
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def observe(self, node: str) -> Dict[str, Any]:
        running = {
            pod: Running(f"/proc/self/fd/{self.space(pod).fd}", pod not in ADDRESSES)
            for pod, place in NODE_OF.items()
            if place == node and pod not in self.absent
        }
        with self.spaces[node].entered():
            found = observe(self.cluster, node, ADDRESSES, running, Options(self.mode))
        return json.loads(json.dumps(found))  # type: ignore[no-any-return]

    def judge(self) -> Verdict:
        nodes = ("node-1", "node-2")
        with ThreadPoolExecutor() as pool:  # network namespaces are per thread
            found = judge(self.cluster, ADDRESSES, dict(zip(nodes, pool.map(self.observe, nodes))))
        print(render(found))
        return found


@pytest.fixture(autouse=True)
def small_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What fails twice fails: nothing needs to come up first. And the machine's own CNI files are no node's."""
    monkeypatch.setattr(sockets, "_FRUITLESS", 1)
    for name in ("CONFIG_DIR", "RESULTS", "SUBNET_ENV", "DATA_DIR"):
        monkeypatch.setattr(node_files, name, str(tmp_path / name))


@pytest.fixture
def lab(make_namespace: Callable[[str], Namespace]) -> Iterator[Lab]:
    built = Lab(make_namespace)
    yield built
    for pod in list(built.servers):
        built.stop(pod)


def guarantee(verdict: Verdict, key: str) -> Guarantee:
    return next(each for each in verdict.guarantees if each.key == key)


def failures(verdict: Verdict, key: str) -> List[str]:
    return sorted(str(each) for each in guarantee(verdict, key).failures)


def counts(verdict: Verdict, key: str) -> Any:
    found = guarantee(verdict, key)
    return found.passed, found.failed, found.not_run


def test_a_healthy_network_keeps_every_guarantee(lab: Lab) -> None:
    verdict = lab.judge()
    assert verdict.ok, render(verdict)
    assert counts(verdict, "unique") == (6, 0, 0)
    assert counts(verdict, "pods") == (24, 0, 0)  # 4 pods, ordered pairs, two families
    assert counts(verdict, "agents") == (8, 0, 0)
    assert counts(verdict, "nodes") == (6, 0, 0)
    assert counts(verdict, "mtu") == (12, 0, 0)  # without the hostNetwork pod
    assert counts(verdict, "bulk") == (6, 0, 0)  # node-1 has two pods, node-2 one; two families
    assert counts(verdict, "fragments") == (2, 0, 0)
    assert counts(verdict, "consistency") == (7, 0, 0)  # two nodes both ways, two families; three pods


def test_snat_is_named_with_both_addresses(lab: Lab) -> None:
    masquerade(lab, "oif eth0 ip saddr 10.244.0.0/16 masquerade")
    verdict = lab.judge()
    assert failures(verdict, "pods") == [
        f"{pod} -> {target}: seen as 192.168.1.11 instead of {ADDRESSES[pod][0]} (NAT)"
        for pod in ("pod-a", "pod-b")
        for target in ("pod-c (10.244.2.2)", "pod-h (192.168.1.12)")
    ]
    assert counts(verdict, "agents") == (8, 0, 0)


def test_masquerade_towards_a_host_network_pod_is_allowed_where_declared(lab: Lab) -> None:
    lab.cluster = replace(lab.cluster, masquerade=True)
    masquerade(lab, "oif eth0 ip saddr 10.244.0.0/16 ip daddr != 10.244.0.0/16 masquerade")
    assert lab.judge().ok


def masquerade(lab: Lab, rule: str) -> None:
    lab.run("node-1", "nft", f"table ip t {{ chain c {{ type nat hook postrouting priority 100; {rule}; }}; }}")


def test_an_address_on_two_pods_is_a_duplicate(lab: Lab) -> None:
    lab.run("pod-a", "ip", "address", "add", "10.244.1.3/24", "dev", "eth0")
    verdict = lab.judge()
    assert [each for each in failures(verdict, "unique") if "pod-b" in each[:5]] == [
        "pod-b (10.244.1.3): is a duplicate IP: also on pod-a"
    ]
    assert counts(verdict, "unique") == (5, 1, 0)


def test_an_owner_that_nobody_knows_is_found_on_the_bridge(
    lab: Lab, make_namespace: Callable[[str], Namespace]
) -> None:
    lab.spaces["orphan"] = orphan = make_namespace("orphan")
    twin = State(
        frozenset({Link("eth0", "veth", mac=MacAddress.parse("02:00:00:00:00:99"))}),
        addresses=frozenset(Address("eth0", ip_interface(ip), nodad=":" in ip) for ip in ADDRESSES["pod-b"]),
    )
    port = State(frozenset({Link("v-orphan", "veth", master="cni0", peer=VethPeer("orphan", "eth0"))}))
    converge(
        [
            Target(space, each, scope_of(each, protocol=None))
            for space, each in ((lab.spaces["node-1"], port), (orphan, twin))
        ]
    )
    verdict = lab.judge()
    found = failures(verdict, "unique")
    assert len(found) == 2
    assert all("pod-b" in each and "answered by" in each and "02:00:00:00:00:99" in each for each in found)


def test_dropped_tcp_is_told_apart_from_dropped_icmp(lab: Lab) -> None:
    lab.run("pod-c", "nft", "table inet t { chain c { type filter hook input priority 0; tcp dport 8080 drop; }; }")
    verdict = lab.judge()
    assert {each.reason for each in guarantee(verdict, "pods").failures} == {"TCP no answer"}
    assert {(each.source, each.target) for each in guarantee(verdict, "pods").failures} == {
        (pod, "pod-c") for pod in ("pod-a", "pod-b", "pod-h")
    }
    assert guarantee(verdict, "pods").shared == ("towards pod-c: 6",)
    assert failures(verdict, "agents") == [
        f"node-2 -> pod-c ({address}): TCP no answer" for address in ADDRESSES["pod-c"]
    ]
    assert counts(verdict, "mtu") == (12, 0, 0)


def test_dropped_icmp_is_told_apart_from_dropped_tcp(lab: Lab) -> None:
    lab.run("pod-c", "nft", "table ip t { chain c { type filter hook input priority 0; ip protocol icmp drop; }; }")
    verdict = lab.judge()
    assert {each.reason for each in guarantee(verdict, "pods").failures} == {"ICMP no answer"}
    # pod-c's own echoes go unanswered too: its input drops the replies.
    assert guarantee(verdict, "pods").shared == ("to and from pod-c: 6", "over IPv4: 6")
    assert {each.reason for each in guarantee(verdict, "mtu").failures} == {"no answer at any size"}
    assert counts(verdict, "mtu") == (8, 4, 0)


def test_a_pod_without_its_server_refuses(lab: Lab) -> None:
    lab.stop("pod-c")
    verdict = lab.judge()
    assert {each.reason for each in guarantee(verdict, "pods").failures} == {"refused (TCP, UDP)"}
    assert counts(verdict, "pods") == (18, 6, 0)
    assert counts(verdict, "mtu") == (12, 0, 0)


def test_an_answer_from_somebody_else_is_no_answer(lab: Lab) -> None:
    lab.stop("pod-c")
    lab.serve("pod-c", "impostor")
    verdict = lab.judge()
    assert {each.reason for each in guarantee(verdict, "pods").failures} == {"answered by impostor (TCP, UDP)"}
    assert counts(verdict, "agents") == (6, 2, 0)


def test_an_echo_that_somebody_else_answers_is_no_answer(lab: Lab) -> None:
    rule = "ip daddr 10.244.2.2 ip protocol icmp dnat to 10.244.1.1"
    lab.run("node-1", "nft", f"table ip t {{ chain c {{ type nat hook prerouting priority -100; {rule}; }}; }}")
    assert failures(lab.judge(), "pods") == [
        f"{pod} -> pod-c (10.244.2.2): ICMP answered, but not by the pod" for pod in ("pod-a", "pod-b")
    ]


def test_a_lost_route_is_unreachable_and_says_who_said_so(lab: Lab) -> None:
    lab.run("node-1", "ip", "route", "delete", "10.244.2.0/24")
    verdict = lab.judge()
    assert "pod-c -> pod-a (10.244.1.2): no answer (ICMP, TCP, UDP)" in failures(verdict, "pods")
    # How many errors a router sends is limited (net.ipv4.icmp_ratelimit), and whose comes first is chance.
    told = [each for each in failures(verdict, "pods") if "unreachable, reported by 10.244.1.1" in each]
    assert all("-> pod-c (10.244.2.2)" in each for each in told)
    assert failures(verdict, "consistency") == ["node-1 -> node-2 (10.244.2.0/24): no route to 10.244.2.0/24"]
    assert counts(verdict, "pods") == (20, 4, 0)
    assert counts(verdict, "mtu") == (8, 4, 0)


def test_a_smaller_underlay_shows_in_both_directions(lab: Lab) -> None:
    lab.run("node-1", "ip", "link", "set", "eth0", "mtu", "1300")
    verdict = lab.judge()
    assert counts(verdict, "pods") == (24, 0, 0), "small packets pass: only the path MTU shows it"
    assert counts(verdict, "mtu") == (4, 8, 0)
    found = failures(verdict, "mtu")
    told = "which reports an MTU of 1300; the path MTU is 1300"
    assert f"pod-a -> pod-c (10.244.2.2): 1400 bytes refused by 10.244.1.1, {told}" in found
    assert f"pod-a -> pod-c (fd00:244:0:2::2): 1400 bytes refused by fd00:244:0:1::1, {told}" in found
    # What a veth receives may be a VLAN tag larger than its MTU (__is_skb_forwardable).
    assert "pod-c -> pod-a (10.244.1.2): 1400 bytes are dropped without an ICMP error; the path MTU is 1304" in found
    assert guarantee(verdict, "mtu").shared == ("all between node-1 and node-2: 8",)


def bigger_pods(lab: Lab) -> None:
    """Pods of node-1 that may send more than was declared."""
    for place, device in (("pod-a", "eth0"), ("pod-b", "eth0"), ("node-1", "v-pod-a"), ("node-1", "v-pod-b")):
        lab.run(place, "ip", "link", "set", device, "mtu", "1500")
    lab.run("node-1", "ip", "link", "set", "cni0", "mtu", "1500")


def test_a_larger_mtu_than_declared_is_found_only_where_it_passes(lab: Lab) -> None:
    bigger_pods(lab)
    verdict = lab.judge()
    assert {each.reason for each in guarantee(verdict, "mtu").failures} == {
        "1401 bytes pass too; expected 1400 at most; the path MTU is 1500"
    }
    # Towards node-2 its smaller bridge refuses by ICMP, which is as good as the pod's own device.
    assert counts(verdict, "mtu") == (8, 4, 0)
    assert guarantee(verdict, "mtu").shared == ("all within node-1: 4",)


def test_silence_is_no_refusal(lab: Lab) -> None:
    bigger_pods(lab)
    rules = "icmp type destination-unreachable drop; icmpv6 type packet-too-big drop;"
    lab.run("node-2", "nft", f"table inet t {{ chain c {{ type filter hook output priority 0; {rules} }}; }}")
    verdict = lab.judge()
    assert "pod-a -> pod-c (10.244.2.2): 1400 bytes pass, 1401 are dropped without an ICMP error" in failures(
        verdict, "mtu"
    )
    assert counts(verdict, "mtu") == (4, 8, 0)


def test_what_did_not_run_is_not_passed(lab: Lab) -> None:
    verdict = judge(lab.cluster, ADDRESSES, {"node-1": lab.observe("node-1")})
    assert not verdict.ok and verdict.missing == ("node-2",)
    assert counts(verdict, "unique") == (4, 0, 2)
    assert counts(verdict, "pods") == (12, 0, 12)
    assert counts(verdict, "agents") == (4, 0, 4)
    assert counts(verdict, "mtu") == (8, 0, 4)


def test_a_pod_that_does_not_run_is_not_passed(lab: Lab) -> None:
    lab.absent.add("pod-b")
    verdict = lab.judge()
    assert not verdict.ok
    assert counts(verdict, "pods") == (18, 0, 6), "its server still answers here; nobody probed from it"
    assert "not running: pod-b on node-1" in guarantee(verdict, "unique").notes


def own_checks(lab: Lab, *checks: Check) -> Guarantee:
    lab.cluster = replace(lab.cluster, checks=checks)
    return guarantee(lab.judge(), "checks")


def test_checks_of_the_inventorys_own(lab: Lab) -> None:
    lab.run("pod-c", "nft", "table inet t { chain c { type filter hook input priority 0; tcp dport 8080 drop; }; }")
    found = own_checks(
        lab,
        Check("by TCP", "pod-a", "pod-b", "tcp", 8080),
        Check("by UDP", "pod-a", "pod-h", "udp", 8080),
        Check("by ICMP, measured", "pod-c", "pod-a", "icmp", mtu=MTU),
        Check("a closed port", "node-1", "pod-a", "tcp", 81, "refused"),
        Check("a closed UDP port", "pod-c", "pod-a", "udp", 81, "refused"),
        Check("an address", "pod-a", "192.168.1.12", "tcp", 8080),
        Check("too large", "pod-a", "pod-b", "icmp", mtu=MTU + 100),
        Check("not denied", "pod-a", "pod-b", "tcp", 8080, "denied", within=0),
        Check("dropped", "pod-a", "pod-c", "tcp", 8080, "reachable", within=0),
    )
    assert (found.passed, found.failed, found.not_run) == (6, 3, 0), found
    assert found.seconds > 0
    reasons = [each.reason for each in found.failures]
    assert reasons[0].startswith("too large: 1500 bytes refused by the sender's own device")
    assert reasons[1].startswith("not denied: expected denied, found reachable after 1 try")
    assert reasons[2].startswith("dropped: expected reachable, found silent after 1 try")


def test_silence_counts_as_denied_only_with_its_controls(lab: Lab) -> None:
    """The policy lets pod-c's node in: that is the control. Nobody gets to port 81 of pod-b, so that proves nothing."""
    rule = (
        "ip saddr 10.244.1.0/24 tcp dport 8080 drop; ip6 saddr fd00:244:0:1::/64 tcp dport 8080 drop; tcp dport 82 drop"
    )
    lab.run("pod-c", "nft", f"table inet t {{ chain c {{ type filter hook input priority 0; {rule}; }}; }}")
    found = own_checks(
        lab,
        Check("denied", "pod-a", "pod-c", "tcp", 8080, "denied"),
        Check("nothing there", "pod-a", "pod-c", "tcp", 82, "denied"),
        Check("a pod that is not there", "pod-z", "pod-c", "tcp", 82, "denied"),
    )
    assert (found.passed, found.failed, found.not_run) == (1, 0, 2), found
    assert found.notes[0] == "not run: nothing there: no control reached pod-c, so a missing answer proves nothing"


def test_each_address_that_is_silent_needs_its_own_control(lab: Lab) -> None:
    """IPv4 is a policy, IPv6 is answered to nobody."""
    rule = "ip saddr 10.244.1.0/24 tcp dport 8080 drop; meta nfproto ipv6 tcp dport 8080 drop"
    lab.run("pod-c", "nft", f"table inet t {{ chain c {{ type filter hook input priority 0; {rule}; }}; }}")
    found = own_checks(lab, Check("half", "pod-a", "pod-c", "tcp", 8080, "denied"))
    assert (found.passed, found.failed, found.not_run) == (0, 0, 1), found
    assert found.notes[0].startswith("not run: half: no control reached fd00:")


def test_a_check_is_tried_until_it_holds(lab: Lab) -> None:
    """The rule goes away as soon as it has dropped a first packet: the check holds at a later try."""
    rule = "tcp dport 8080 limit rate 1/hour burst 8 packets drop"
    lab.run("pod-b", "nft", f"table inet t {{ chain c {{ type filter hook input priority 0; {rule}; }}; }}")
    found = own_checks(lab, Check("in the end", "pod-a", "pod-b", "tcp", 8080, within=30))
    assert found.ok, found


def test_classes_find_what_fails_and_probe_all_that_it_stands_for(lab: Lab) -> None:
    lab.mode = "classes"
    assert lab.judge().ok
    lab.run("node-1", "ip", "route", "add", "blackhole", "10.244.2.2/32")
    verdict = lab.judge()
    assert counts(verdict, "pods")[1] == 4  # both pods of node-1 towards pod-c, and back; hostNetwork goes another way
    assert {(each.source, each.target) for each in guarantee(verdict, "pods").failures} == {
        ("pod-a", "pod-c"), ("pod-b", "pod-c"), ("pod-c", "pod-a"), ("pod-c", "pod-b"),
    }  # fmt: skip
    assert "a route to 10.244.2.2/32, inside 10.244.2.0/24" in failures(verdict, "consistency")[0]


def test_bulk_tcp_shows_what_superframes_hide(lab: Lab) -> None:
    """A veth pair takes a superframe of any size; one packet a segment meets the smaller MTU behind the node."""
    lab.run("node-2", "ip", "link", "set", "eth0", "mtu", "1300")
    rules = "icmp type destination-unreachable drop; icmpv6 type packet-too-big drop;"
    lab.run("node-2", "nft", f"table inet t {{ chain c {{ type filter hook output priority 0; {rules} }}; }}")
    verdict = lab.judge()
    assert counts(verdict, "pods")[1] == 0
    found = failures(verdict, "bulk")
    assert any("segments of" in each for each in found), found


def test_fragments_of_outer_packets_are_counted(lab: Lab) -> None:
    """The DF bit that probes have is not the outer packet's: only the node's counter shows what happens to that."""
    for number, node in enumerate(("node-1", "node-2"), 1):
        remote = f"192.168.1.1{3 - number}"
        lab.run(
            node,
            "ip",
            "link",
            "add",
            "vx",
            "mtu",
            "1500",
            "type",
            "vxlan",
            "id",
            "7",
            "remote",
            remote,
            "dstport",
            "8472",
        )
        lab.run(node, "ip", "link", "set", "vx", "up", "mtu", "1500")
        lab.run(node, "ip", "address", "add", f"10.9.9.{number}/24", "dev", "vx")
        lab.run(node, "ip", "route", "replace", f"10.244.{3 - number}.0/24", "via", f"10.9.9.{3 - number}")
        lab.run(node, "ip", "link", "set", "eth0", "mtu", "1420")
    verdict = lab.judge()
    found = failures(verdict, "fragments")
    assert len(found) == 2 and "FragCreates" in found[0], verdict


def test_a_running_probe_tells_what_is_lost_and_for_how_long(lab: Lab) -> None:
    """A route flaps: the pair behind it has a gap, the pair within the node has none, a source that goes is away."""
    ends = {(end.pod, end.version): end for end in expect.endpoints(lab.cluster, ADDRESSES)}
    pairs = [expect.Pair(ends[one, 4], ends[other, 4]) for one, other in (("pod-a", "pod-c"), ("pod-a", "pod-b"))]
    steps = iter(range(1000))

    def done() -> bool:
        """Called before each packet: that is the clock of this test."""
        step = next(steps)
        if step == 100:
            lab.run("node-1", "ip", "route", "add", "blackhole", "10.244.2.2/32")
        if step == 150:
            lab.run("node-1", "ip", "route", "delete", "blackhole", "10.244.2.2/32")
        return step == 300

    found = watch(pairs, lambda pod: f"/proc/self/fd/{lab.space(pod).fd}", done)
    print(text(found))
    flapped, steady = found
    assert flapped.pair.target.pod == "pod-c" and steady.pair.target.pod == "pod-b"
    assert flapped.sent == steady.sent == 300
    assert flapped.lost == 50 and steady.lost == 0
    assert flapped.gap > steady.gap
    assert "pod-a -> pod-c (node-1 -> node-2): 50 of 300 lost, longest gap " in text(found)


def test_time_without_a_source_is_no_loss(lab: Lab) -> None:
    ends = {(end.pod, end.version): end for end in expect.endpoints(lab.cluster, ADDRESSES)}
    steps = iter(range(1000))
    path = f"/proc/self/fd/{lab.space('pod-a').fd}"
    place = {"now": path}

    def done() -> bool:
        step = next(steps)
        place["now"] = path if step < 50 or step > 100 else ""
        return step == 200

    (found,) = watch([expect.Pair(ends["pod-a", 4], ends["pod-b", 4])], lambda _: place["now"] or None, done)
    assert found.lost == 0 and 100 < found.sent < 200 and found.away > 0.2
