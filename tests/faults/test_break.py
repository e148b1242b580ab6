"""Every fault: injected, it is there and shows; mended, nothing of it is left, and traffic passes as before.

By default a sample, some of each layer; all of them with ``-m drill`` or ``./run drill``.
"""

from __future__ import annotations

from typing import Callable

import pytest

from podwire.faults.catalogue import CATALOGUE

from .labs import Lab, differences, kind_for

#: What the default run injects: of each layer what no other entry does in the same way.
SAMPLE = {
    "cni_conf_shadowed", "cni_binary_missing", "ipam_exhausted", "duplicate_ip", "veth_deleted",
    "port_without_learning", "fdb_pinned_to_wrong_port", "policy_rule", "route_blackhole", "vtep_flapped",
    "vni_mismatch", "vxlan_mtu_too_big", "underlay_mtu_low", "duplicate_node_ip", "next_hop_not_adjacent",
    "rp_filter_strict", "pod_snat", "pod_firewall", "host_port_clash", "orphan_namespace", "link_slow",
}  # fmt: skip


def marked(name: str) -> object:
    return name if name in SAMPLE else pytest.param(name, marks=pytest.mark.drill)


@pytest.mark.parametrize("name", [marked(name) for name in CATALOGUE])
def test_fault(name: str, lab_of: Callable[[str], Lab]) -> None:
    fault = CATALOGUE[name]
    lab = lab_of(kind_for(name))
    lacking = lab.lacking(name, "node-1")
    if lacking:
        pytest.skip(lacking)
    healthy = lab.states("node-1")
    done = lab.inject(name, "node-1")  # holds the kernel and the traffic to what the catalogue says
    try:
        assert differences(healthy, {**lab.states("node-1"), "journal": []}), "nothing was changed"
        assert bool(done.said) == (fault.symptom is not None)
    finally:
        mended = lab.mend("node-1")
    assert [each for each, _ in mended] == [name]
    assert differences(healthy, lab.states("node-1")) == []
    if fault.symptom is not None:
        assert mended[0][1].said in fault.symptom.before
    assert lab.mend("node-1") == []
