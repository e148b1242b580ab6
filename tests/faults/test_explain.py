"""Faults explained: the right cause first, the right object, and a fix that mends when it is executed as printed.

By default a sample, one of each kind of evidence; all of them with ``-m drill`` or ``./run drill``.
"""

from __future__ import annotations

from typing import Any, Callable, Dict

import pytest

from podwire.faults.catalogue import CATALOGUE

from .labs import Lab, differences, kind_for, names

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
    healthy = lab.states(NODE)
    expects = lab.inject(name, NODE).expects
    assert expects is not None
    try:
        broken = lab.states(NODE)
        found = lab.explain()
        assert differences(broken, lab.states(NODE)) == [], "explain changed something"
        assert [each.id for each in found.causes] == [expects.cause]
        assert names(found.causes[0], expects), found.causes[0]
        assert found.unexplained == ()
        assert lab.execute(found.causes[0]) == ""
        after = lab.explain()
        assert (after.causes, after.failing) == ((), {})
    finally:
        lab.mend(NODE)
    assert differences(healthy, lab.states(NODE)) == []


@pytest.mark.parametrize("kind", ["vxlan", "host-gw"])
def test_a_healthy_lab_has_no_cause(kind: str, lab_of: Callable[[str], Lab]) -> None:
    found = lab_of(kind).explain()
    assert (found.causes, found.failing, found.unexplained) == ((), {}, ())


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
