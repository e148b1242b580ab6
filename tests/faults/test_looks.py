"""Closer looks: what no table tells, told by the kernel of one probe; and that looking leaves nothing behind."""

from __future__ import annotations

import os
import shutil
from typing import Any, Callable, List

import pytest

from podwire.explain import Explanation, explain
from podwire.explain.collect import collect
from podwire.model.command import script

from . import programs
from .labs import Lab, differences
from .test_explain import NODE, run

needs_legacy = pytest.mark.skipif(
    not shutil.which("iptables-legacy"), reason="needs iptables-legacy: apt-get install iptables"
)


def evidence(found: Explanation) -> str:
    return "\n".join(line for each in found.causes for line in each.evidence)


def explained(lab: Lab) -> Explanation:
    """With nothing changed by it."""
    before = lab.states(NODE)
    found = lab.explain()
    assert differences(before, lab.states(NODE)) == []
    return found


def ids(found: Explanation) -> List[str]:
    assert not found.unexplained
    return [each.id for each in found.causes]


def mends(lab: Lab, found: Explanation) -> bool:
    assert [lab.execute(each) for each in found.causes] == [""]
    after = lab.explain()
    return not after.causes and not after.failing


def test_the_way_and_the_end_of_a_probe_are_told(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("vxlan")
    lab.inject("vni_mismatch", NODE)
    try:
        found = explained(lab)
    finally:
        lab.mend(NODE)
    assert ids(found) == ["vni_mismatch"]
    assert any("cni0 > flannel.1 > eth0" in line and "VXLAN_VNI_NOT_FOUND in vxlan_rcv" in line
               for line in found.causes[0].evidence), evidence(found)  # fmt: skip
    assert "flannel.1 tx packets +" in evidence(found)


def test_of_rules_that_do_not_count_the_one_that_drops_is_named(lab_of: Callable[[str], Lab]) -> None:
    """Both match packets of pods; only the kernel knows that the second is never reached."""
    lab = lab_of("vxlan")
    rules = """nft 'table ip house {
        chain forwards { type filter hook forward priority 0
            iifname "cni0" jump users
            iifname "cni0" jump more
        }
        chain users { ip daddr 10.244.0.0/16 meta length > 1 drop
        }
        chain more { ip daddr 10.244.0.0/16 drop
        }
    }'"""
    run(lab, rules)
    try:
        found = explained(lab)
        assert ids(found) == ["packets_dropped"]
        assert "handle" in found.causes[0].fix[0].words and "house users" in script(found.causes[0].fix)
        assert "nftables trace: rule" in evidence(found)
        assert "NETFILTER_DROP" in evidence(found)
    finally:
        run(lab, "nft delete table ip house")


@needs_legacy
@pytest.mark.parametrize(
    "rules, cause",
    [
        ("iptables-legacy -A FORWARD -i cni0 -m comment --comment 'no pods' -j DROP", "packets_dropped"),
        ("iptables-legacy -P FORWARD DROP", "forward_dropped"),
        ("iptables-legacy -A INPUT -p udp --dport 8472 -j DROP", "vxlan_port_blocked"),
        ("iptables-legacy -N users && iptables-legacy -A FORWARD -j users && "
         "iptables-legacy -A users -d 10.244.1.0/24 -j REJECT", "packets_dropped"),
    ],
)  # fmt: skip
def test_a_rule_of_the_older_iptables_is_named_and_mended(rules: str, cause: str, lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("vxlan")
    run(lab, rules)
    try:
        found = explained(lab)
        assert ids(found) == [cause]
        assert found.causes[0].object == "iptables-legacy table filter"
        assert mends(lab, found)
    finally:
        run(lab, "iptables-legacy -P FORWARD ACCEPT; iptables-legacy -F; iptables-legacy -X")


def collect_without_nft(*arguments: Any) -> Any:
    os.environ["PATH"] = "/nonexistent"  # of this process alone, which entered the node
    return collect(*arguments)


@pytest.mark.skipif(not shutil.which("iptables-nft"), reason="needs iptables-nft: apt-get install iptables")
def test_without_nft_iptables_rules_are_read_by_iptables(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("vxlan")
    run(lab, "iptables-nft -A FORWARD -i cni0 -j DROP")
    try:
        told = {
            node.name: lab.call(node.name, collect_without_nft, lab.cluster, node.name, lab.addresses)
            for node in lab.cluster.nodes
        }
        found = explain(lab.cluster, lab.addresses, told)
        assert ids(found) == ["packets_dropped"]
        assert script(found.causes[0].fix) == "iptables-nft -t filter -D FORWARD -i cni0 -j DROP"
        assert mends(lab, found)
    finally:
        run(lab, "iptables-nft -F; nft delete table ip filter")


@pytest.mark.parametrize("hook", ["ingress", "egress"])
def test_a_program_on_a_device_is_named_and_mended(hook: str, lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("vxlan")
    refused = lab.call(NODE, programs.drop, "cni0" if hook == "egress" else "flannel.1", hook)
    device = "cni0" if hook == "egress" else "flannel.1"
    try:
        if refused:
            pytest.skip(refused)
        found = explained(lab)
        assert ids(found) == ["filter_drops"]
        assert found.causes[0].object == f"filter {device} {hook}"
        assert f"TC_{hook.upper()}" in evidence(found)
        assert mends(lab, found)
    finally:
        run(lab, f"tc qdisc del dev {device} clsact")


def test_a_program_of_xdp_is_named_and_mended(lab_of: Callable[[str], Lab]) -> None:
    """On a device whose neighbours stay: on the underlay's, ARP is dropped as well, and nothing is sent any more."""
    lab = lab_of("vxlan")
    refused = lab.call(NODE, programs.drop_by_xdp, "flannel.1")
    if refused:
        pytest.skip(refused)
    try:
        found = explained(lab)
        assert [(each.id, each.object) for each in found.causes] == [("filter_drops", "link flannel.1")]
        assert mends(lab, found)
    finally:
        run(lab, "ip link set dev flannel.1 xdpgeneric off")


def test_a_rule_of_a_devices_own_chain_is_named(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("vxlan")
    run(
        lab,
        """nft 'table netdev house { chain early { type filter hook ingress device "flannel.1" priority 0
            ip daddr 10.244.0.0/16 drop
        }
    }'""",
    )
    try:
        found = explained(lab)
        assert [(each.id, each.object) for each in found.causes] == [("packets_dropped", "nftables table netdev house")]
        assert mends(lab, found)
    finally:
        run(lab, "nft delete table netdev house")


def test_what_no_cause_accounts_for_is_told_with_where_it_ends(lab_of: Callable[[str], Lab]) -> None:
    """A pod's device without ARP: explain has no hypothesis for that."""
    from podwire.explain.text import render

    lab = lab_of("vxlan")
    pod = lab.cluster.pods_of(NODE)[0].name
    run(lab, f"ip -n {pod} link set eth0 arp off")
    try:
        found = explained(lab)
    finally:
        run(lab, f"ip -n {pod} link set eth0 arp on")
    text = render(found)
    assert found.unexplained, text
    assert f"-> {pod} (10.244.0." in text and "path: eth0 > " in text
