"""Faults of IPv6 alone in a dual-stack lab: named with their objects, and mended by what is printed."""

from __future__ import annotations

import shutil
from typing import Callable

import pytest

from .labs import Lab, shell
from .test_explain import NODE, run

legacy = pytest.mark.skipif(not shutil.which("ip6tables-legacy"), reason="needs ip6tables-legacy")
LEGACY = "ip6tables-legacy table filter"
CASES = [
    ("route_missing", "route {block}", "ip -6 route del {block}"),
    ("route_blackhole", "route {block}", "ip -6 route replace blackhole {block}"),
    ("route_overlapped", "route {base}/65", "ip -6 route add {base}/65 dev cni0"),
    ("next_hop_dead", "route {block}", "ip -6 route replace {block} via fd00:30::99 dev eth0"),
    ("vxlan_neighbour_missing", "neighbour {base} dev flannel-v6.1", "ip -6 neigh del {base} dev flannel-v6.1"),
    ("vxlan_fdb_missing", "fdb {mac} dev flannel-v6.1",
     "bridge fdb del {mac} dev flannel-v6.1 dst fd00:30::12 self"),
    ("vtep_flapped", "link flannel-v6.1", "ip link set flannel-v6.1 down; ip link set flannel-v6.1 up"),
    ("vtep_down", "link flannel-v6.1", "ip link set flannel-v6.1 down"),
    ("ip_forward_off", "sysctl net/ipv6/conf/all/forwarding", "sysctl -qw net.ipv6.conf.all.forwarding=0"),
    ("bridge_address_lost", "address {gateway}/64 dev cni0", "ip -6 addr del {gateway}/64 dev cni0"),
    ("pod_routes_lost", "route ::/0 via {gateway} dev eth0", "{a} ip -6 route del default"),
    ("gateway_mac_wrong", "neighbour {gateway} dev eth0",
     "{a} ip -6 neigh replace {gateway} lladdr 02:00:00:00:00:11 dev eth0 nud permanent"),
    ("ipv6_disabled", "sysctl net/ipv6/conf/eth0/disable_ipv6", "{a} sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1"),
    ("duplicate_ip", "address {ip}/64 dev eth0", "{d} ip -6 addr add {ip}/64 dev eth0 nodad"),
    ("policy_rule", "rule 100: from {ip} lookup 100",
     "ip -6 rule add from {ip} lookup 100 pref 100; ip -6 route add unreachable default table 100"),
    ("pod_snat", "nftables table ip6 fw",
     "nft 'table ip6 fw {{ chain f {{ type nat hook postrouting priority 0; masquerade; }}; }}'"),
    ("policy_stale", "nftables table ip6 fw",
     "nft 'table ip6 fw {{ chain f {{ type filter hook forward priority 0; ip6 daddr {ip} drop; }}; }}'"),
    ("packets_dropped", LEGACY, "ip6tables-legacy -A FORWARD -i cni0 -j DROP"),
    ("vxlan_port_blocked", LEGACY, "ip6tables-legacy -A INPUT -p udp --dport 8472 -j DROP"),
]  # fmt: skip
SAMPLE = {"vxlan_fdb_missing", "ip_forward_off", "next_hop_dead"}


def marked(case: tuple[str, str, str]) -> object:
    marks = [] if case[0] in SAMPLE else [pytest.mark.drill]
    return pytest.param(*case, marks=[*marks, legacy] if case[1] == LEGACY else marks, id=case[0])


@pytest.mark.parametrize("cause, object, command", [marked(case) for case in CASES])
def test_a_fault_of_ipv6_is_named_and_mended(
    cause: str, object: str, command: str, lab_of: Callable[[str], Lab]
) -> None:
    lab = lab_of("dual-stack")
    pods = [pod.name for pod in lab.cluster.pods_of(NODE)]
    peer, own = (lab.cluster.node(name).pod_cidr(6) for name in ("node-2", NODE))
    assert peer is not None and own is not None
    ip = next(text.partition("/")[0] for text in lab.addresses[pods[0]] if ":" in text)
    words = {"block": peer, "base": peer[0], "gateway": own[1], "ip": ip}
    words.update(zip("ad", (f"ip netns exec {pod}" for pod in pods)))
    words["mac"] = _vtep(lab, str(peer[0]))
    run(lab, command.format(**words))
    try:
        found = lab.explain()
        assert [(each.id, each.object) for each in found.causes] == [(cause, object.format(**words))]
        assert not found.unexplained
        assert lab.execute(found.causes[0]) == ""
        after = lab.explain()
        assert (after.causes, after.failing) == ((), {})
    finally:
        for undo in _UNDO:
            lab.call(NODE, shell, undo.format(**words))
        lab.converge(NODE)


#: What podwire's own converge would not touch, or not bring back into pods.
_UNDO = (
    "ip6tables-legacy -F; ip6tables-legacy -F INPUT",
    "nft delete table ip6 fw",
    "ip -6 rule del pref 100; ip -6 route flush table 100",
    "ip -6 route del {base}/65 dev cni0; ip -6 route del blackhole {block}",
    "ip -6 addr replace {gateway}/64 dev cni0 nodad",
    "{d} ip -6 addr del {ip}/64 dev eth0",
    "{a} ip -6 neigh del {gateway} dev eth0",
    "{a} sysctl -qw net.ipv6.conf.eth0.disable_ipv6=0; {a} ip -6 addr replace {ip}/64 dev eth0 nodad",
    "{a} ip -6 route replace default via {gateway} dev eth0",
)


def _vtep(lab: Lab, address: str) -> str:
    """The MAC address that a node has for a peer's VTEP."""

    def read() -> str:
        from podwire.kernel import Namespace
        from podwire.observe.snapshot import read

        with Namespace.current() as here:
            neighbours = read(here)["neighbours"]
        return next(str(each["mac"]) for each in neighbours if each["address"] == address)

    return str(lab.call(NODE, read))
