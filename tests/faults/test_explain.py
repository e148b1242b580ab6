"""Faults explained: the right cause first, the right object, and a fix that mends when it is executed as printed.

By default a sample, one of each kind of evidence; all of them with ``-m drill`` or ``./run drill``.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import Any, Callable, Dict

import pytest

from podwire.faults.catalogue import CATALOGUE

from .labs import Lab, check_explained, kind_for, shell

#: A row of the plan, a rule with its counter, a pod's inside, files, and what only failing pairs tell.
SAMPLE = {"vxlan_fdb_missing", "vtep_flapped", "pod_snat", "duplicate_ip", "ipam_exhausted", "underlay_mtu_low"}
NODE = "node-1"


def marked(name: str) -> object:
    return name if name in SAMPLE else pytest.param(name, marks=pytest.mark.drill)


@pytest.mark.parametrize("name", [marked(name) for name in CATALOGUE])
def test_fault_is_explained_and_mended_by_what_is_said(name: str, lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of(kind_for(name))
    lacking = lab.lacking(name, NODE)
    if lacking:
        pytest.skip(lacking)
    check_explained(lab, name, NODE)


@pytest.mark.parametrize("kind", ["vxlan", "host-gw"])
def test_a_healthy_lab_has_no_cause(kind: str, lab_of: Callable[[str], Lab]) -> None:
    found = lab_of(kind).explain()
    assert (found.causes, found.failing, found.unexplained) == ((), {}, ())


def run(lab: Lab, command: str) -> None:
    """A command on the node by hand."""
    assert lab.call(NODE, shell, command) == ""


#: A firewall as hosts have them: all of it may stay.
FIREWALL = """nft 'table inet house {
    chain input { type filter hook input priority 0; policy drop; ct state invalid drop; tcp dport 22 drop; accept; }
    chain forwards { type filter hook forward priority 0; iifname docker0 drop; meta mark 0x77 drop; }
}'"""


def test_a_firewall_that_stands_by_is_not_accused(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("vxlan")
    try:
        run(lab, FIREWALL)
        assert lab.explain().causes == ()
        lab.inject("route_missing", NODE)
        found = lab.explain()
        assert [each.id for each in found.causes] == ["route_missing"]
        assert not found.unexplained
    finally:
        lab.mend(NODE)
        run(lab, "nft delete table inet house")


#: Firewalls as hosts have them, by iptables: each lets pods through by chains that FORWARD jumps to, or by what comes
#: before; podwire's lab would have nothing to complain of.
HOSTS = {
    "policies": "-P FORWARD DROP; -N more; -A FORWARD -j more; -A more -m conntrack --ctstate ESTABLISHED -j ACCEPT; "
    "-A more -s 10.244.0.0/16 -j ACCEPT; -A more -d 10.244.0.0/16 -j ACCEPT; -A FORWARD -o docker0 -j REJECT",
    "masquerade": "-t nat -A POSTROUTING -s 10.244.0.0/16 -d 10.244.0.0/16 -j RETURN; "
    "-t nat -A POSTROUTING -s 10.244.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE",
}


@pytest.mark.parametrize("name", HOSTS)
def test_a_firewall_is_not_accused_of_what_another_fault_breaks(name: str, lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("vxlan")
    if not shutil.which("iptables-nft"):
        pytest.skip("needs iptables-nft: apt-get install iptables")
    try:
        run(lab, " && ".join(f"iptables-nft {each.strip()}" for each in HOSTS[name].split(";")))
        assert lab.explain().failing == {}
        lab.inject("vtep_down", NODE)
        found = lab.explain()
        assert [each.id for each in found.causes] == ["vtep_down"]
        assert not found.unexplained
    finally:
        lab.mend(NODE)
        run(lab, "nft delete table ip filter; nft delete table ip nat; true")


#: An application's own rules, none of which meets what is probed.
POD_RULES = (
    "table inet app { chain input { type filter hook input priority 0; ct state invalid drop; tcp dport 9 drop; }; }"
)


def test_a_pods_own_rules_are_not_accused_of_what_another_fault_breaks(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("vxlan")
    pod = lab.cluster.pods_of(NODE)[0].name
    try:
        run(lab, f"ip netns exec {pod} nft '{POD_RULES}'")
        lab.inject("vtep_down", NODE)
        assert [each.id for each in lab.explain().causes] == ["vtep_down"]
    finally:
        lab.mend(NODE)
        run(lab, f"ip netns exec {pod} nft delete table inet app")


def test_a_strangers_namespace_has_rules_of_its_own(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("vxlan")
    policy = "table ip own { chain input { type filter hook input priority 0; policy drop; tcp dport 9 drop; }; }"
    try:
        run(lab, "ip netns add stranger && ip link add stranger0 type veth peer name eth0 netns stranger")
        run(lab, f"ip netns exec stranger nft '{policy}'")
        assert lab.explain().causes == ()
    finally:
        run(lab, "ip netns del stranger")


def test_a_rule_in_a_chain_that_another_jumps_to_is_found(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("vxlan")
    target = next(pod.name for pod in lab.cluster.pods if pod.node != NODE)
    ip = lab.addresses[target][0].partition("/")[0]
    try:
        run(
            lab,
            f"""nft 'table ip house {{
            chain users {{ ip daddr {ip} counter drop; }}
            chain forwards {{ type filter hook forward priority 0; jump users; }}
        }}'""",
        )
        found = lab.explain()
        assert [(each.id, each.object) for each in found.causes] == [("packets_dropped", "nftables table ip house")]
        assert {target} <= {end for pair in found.failing for end in pair}
        assert not found.unexplained
        assert lab.execute(found.causes[0]) == ""
        assert lab.explain().failing == {}
    finally:
        run(lab, "nft delete table ip house")


def drilled(*values: str) -> object:
    return pytest.param(*values, marks=pytest.mark.drill)


@pytest.mark.parametrize(
    "wanted, command, undo",
    [
        ("vtep_mac_wrong", "ip link set flannel.1 address 02:00:00:00:77:77", ""),
        ("vtep_remade", "ip link set flannel.1 down && ip link set flannel.1 up && bridge fdb show dev flannel.1 | "
         "while read mac rest; do bridge fdb del $mac dev flannel.1 $(echo $rest | cut -d' ' -f1,2) self; done", ""),
        ("policy_rule", "ip rule add from {a} lookup 100 pref 100; ip route add unreachable default table 100",
         "ip route flush table 100"),
        ("policy_rule", "ip rule add from 10.244.0.0/24 to 10.244.1.0/24 lookup 100 pref 100; "
         "ip route add unreachable default table 100", "ip route flush table 100"),
        drilled("route_overlapped", "ip route add {a}/32 dev eth0", "ip route del {a}/32 dev eth0"),
        drilled("bridge_mtu_wrong", "ip link set cni0 mtu 1000", ""),
        drilled("node_neighbour_wrong", "ip neigh replace {a} lladdr 02:00:00:00:00:22 dev cni0 nud permanent", ""),
        drilled("policy_rule", "{in_a} ip rule add to 10.244.1.0/24 prohibit pref 50", ""),
        drilled("duplicate_ip", "ip addr add {far}/32 dev lo", ""),
        drilled("pod_route_wrong", "{in_a} ip route replace default via 10.244.0.77 dev eth0", ""),
        drilled("duplicate_ip", "{in_a} ip addr add {far}/32 dev lo", ""),
        ("pod_firewall", "{in_a} nft 'table ip app {{ chain c {{ type filter hook input priority 0; "
         "policy drop; }}; }}'", "{in_a} nft delete table ip app"),
        ("pod_snat", "nft 'table ip nat {{ set pods {{ type ipv4_addr; flags interval; "
         "elements = {{ 10.244.0.0/16 }}; }}; chain p {{ type nat hook postrouting priority 100; "
         "ip saddr @pods oifname != cni0 masquerade; }}; }}'", "nft delete table ip nat"),
        ("packets_dropped", "nft 'table ip t {{ chain c {{ type filter hook forward priority 0; "
         "meta length > 1300 drop; }}; }}'", "nft delete table ip t"),
        ("pod_neighbour_wrong", "{in_a} ip neigh replace {b} lladdr 02:00:00:00:00:11 dev eth0 nud permanent", ""),
        ("pod_route_wrong", "{in_a} ip route add unreachable 10.244.1.0/24", ""),
        ("echo_ignored", "{in_a} sysctl -qw net.ipv4.icmp_echo_ignore_all=1", ""),
    ],
)  # fmt: skip
def test_what_no_fault_injects_is_named_and_mended(
    wanted: str, command: str, undo: str, lab_of: Callable[[str], Lab]
) -> None:
    lab = lab_of("vxlan")
    a, b = (pod.name for pod in lab.cluster.pods_of(NODE)[:2])
    ips = {key: lab.addresses[pod][0].partition("/")[0] for key, pod in (("a", a), ("b", b))}
    far = lab.addresses[lab.cluster.pods_of("node-2")[0].name][0].partition("/")[0]
    words = {**ips, "far": far, "in_a": f"ip netns exec {a}"}
    run(lab, command.format(**words))
    try:
        found = lab.explain()
        assert [each.id for each in found.causes] == [wanted]
        assert not found.unexplained
        assert lab.execute(found.causes[0]) == ""
        after = lab.explain()
        assert (after.causes, after.failing) == ((), {})
    finally:
        run(lab, undo.format(**words) + " 2>/dev/null; true" if undo else "true")
        lab.converge(NODE)


def test_a_fix_that_is_pasted_runs_no_devices_name(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("vxlan")
    pod = lab.cluster.pods_of(NODE)[0].name
    index = lab.call(NODE, output, f"ip -n {pod} -o link show eth0").partition("@if")[2].partition(":")[0]
    port = lab.call(NODE, output, f"ip -o link | sed -n 's/^{index}: \\([^@]*\\)@.*/\\1/p'").strip()
    evil = "x;>pwned"
    run(lab, f"ip link set dev {port} down && ip link set dev {port} name '{evil}'")
    try:
        found = lab.explain()
        assert [(each.id, each.device) for each in found.causes] == [("port_down", evil)]
        assert lab.execute(found.causes[0]) == ""
        assert lab.explain().causes == ()
        run(lab, "! test -e pwned")
    finally:
        run(lab, f"ip link set dev '{evil}' down && ip link set dev '{evil}' name {port} && ip link set dev {port} up")


def output(command: str) -> str:
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout


def test_a_reservation_that_is_gone_is_made_again(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("vxlan")
    pod = lab.cluster.pods_of(NODE)[0].name
    path = f"/var/lib/cni/networks/{lab.cluster.cni.name}/{lab.addresses[pod][0].partition('/')[0]}"
    run(lab, f"mv {path} /run/kept")
    try:
        found = lab.explain()
        assert [(each.id, each.object) for each in found.causes] == [("ipam_lease_missing", f"file {path}")]
        assert lab.execute(found.causes[0]) == ""
        run(lab, f"cmp {path} /run/kept")
        assert lab.explain().causes == ()
    finally:
        run(lab, f"mv /run/kept {path}")


def test_two_faults_on_two_nodes_are_both_named(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("vxlan")
    wanted: Dict[str, Any] = {"port_without_learning": "node-2", "route_blackhole": NODE}
    try:
        for name, node in wanted.items():
            lab.inject(name, node, blind=True)
        found = lab.explain()
    finally:
        for node in wanted.values():
            lab.mend(node)
    assert {each.id: each.node for each in found.causes} == wanted
    assert not found.unexplained
