"""The undo holds whatever happens: a death at any line, a converge in between, two faults at once, a lab made anew."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Iterator, List

import pytest

from podwire.errors import FaultError
from podwire.faults import engine, journal, revert
from podwire.faults.catalogue import CATALOGUE
from podwire.faults.context import Context
from podwire.faults.edit import Patch
from podwire.faults.namespaces import Namespaces
from podwire.faults.places import MACHINE
from podwire.intent.cluster import DeclaredFault
from podwire.stages.controller import faults as stages

from ..death import Death
from ..kernel.labs import wait_until
from .labs import Lab, differences, make

NODE = "node-1"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = make("faults-mend", pods=2)
    yield made
    made.close()


@pytest.fixture
def healthy(lab: Lab) -> Iterator[Any]:
    """The node as it is, and has to be again after the test."""
    before = lab.states(NODE)
    yield before
    lab.mend(NODE)
    assert differences(before, lab.states(NODE)) == []


def dying(namespaces: Namespaces, lab: Lab, name: str, at: int) -> int:
    """Inject in a child that dies at a line; the number of lines if it lived."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        tracer = Death(at)
        try:
            context = Context(lab.cluster, NODE, lab.addresses, namespaces)
            sys.settrace(tracer)
            engine.inject(CATALOGUE[name], context)
            sys.settrace(None)
            os.write(writer, str(tracer.count).encode())
        finally:
            os._exit(0)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    with open(reader) as pipe:
        lived = pipe.read()
    assert lived or os.WTERMSIG(status) == signal.SIGKILL
    return int(lived or 0)


#: One of each way to break: objects, devices made anew, a device that goes with its pod's side, resources, processes.
@pytest.mark.parametrize("name", ["vni_mismatch", "veth_deleted", "orphan_namespace", "cni_binary_missing"])
def test_death_anywhere(name: str, lab: Lab, healthy: Any) -> None:
    lines = lab.within(NODE, dying, lab, name, 0)
    lab.mend(NODE)
    for part in (40, 65, 80, 93):
        assert not lab.within(NODE, dying, lab, name, lines * part // 100)
        lab.mend(NODE)
        # The kernel takes its time with the namespaces of processes that died.
        wait_until(lambda: differences(healthy, lab.states(NODE)) == [])


def test_death_while_mending(lab: Lab, healthy: Any) -> None:
    def mending(namespaces: Namespaces, at: int) -> None:
        child = os.fork()
        if child == 0:
            sys.settrace(Death(at))
            try:
                revert.mend(namespaces)
            finally:
                os._exit(0)
        os.waitpid(child, 0)

    lab.inject("vni_mismatch", NODE)
    for at in (500, 2000, 4000):
        lab.within(NODE, mending, at)
    lab.mend(NODE)


@pytest.mark.parametrize(
    "name", ["vxlan_fdb_missing", "vni_mismatch", "bridge_down", "cni_conf_malformed", "subnet_env_stale"]
)
def test_converged_in_between(name: str, lab: Lab, healthy: Any) -> None:
    """site.yml repairs what is podwire's; mend finds nothing left to do, and forgets the fault."""
    lab.inject(name, NODE)
    assert lab.converge(NODE)
    assert not lab.converge(NODE)
    assert [each for each, _ in lab.mend(NODE)] == [name]
    assert not lab.converge(NODE)


def test_two_at_once_mended_in_any_order(lab: Lab, healthy: Any) -> None:
    lab.inject("route_missing", NODE, "node-2")
    lab.inject("vxlan_fdb_missing", NODE, "node-3")
    assert [each for each, _ in lab.mend(NODE, "route_missing")] == ["route_missing"]
    assert [each for each, _ in lab.mend(NODE)] == ["vxlan_fdb_missing"]


def test_twice_is_refused(lab: Lab, healthy: Any) -> None:
    lab.inject("route_missing", NODE)
    with pytest.raises(FaultError, match="it is there already"):
        lab.inject("route_missing", NODE)


def test_a_broken_node_is_not_broken_further(lab: Lab, healthy: Any) -> None:
    """What does not work already cannot show whether the fault does."""
    lab.within(NODE, sysctl, "0")
    try:
        with pytest.raises(FaultError, match="says 'lost' already"):
            lab.inject("route_missing", NODE)
        assert not lab.mend(NODE)
    finally:
        lab.within(NODE, sysctl, "1")


def sysctl(_: Namespaces, value: str) -> None:
    with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
        file.write(value)


def test_on_top_of_another_fault_the_kernels_word_will_do(lab: Lab, healthy: Any) -> None:
    assert lab.inject("ip_forward_off", NODE).said == "lost"
    assert lab.inject("route_missing", NODE).said == ""
    assert [each for each, _ in lab.mend(NODE)] == ["route_missing", "ip_forward_off"]


def test_of_a_nodes_faults_all_are_injected_or_none(lab: Lab, healthy: Any) -> None:
    wanted = [DeclaredFault("route_missing", NODE), DeclaredFault("conntrack_full", NODE)]
    options = {"faults": wanted, "addresses": lab.addresses}
    with pytest.raises(FaultError, match="conntrack_full .* so route_missing, injected just before, is undone"):
        stages.run_on_node("present", lab.cluster, NODE, options, False)
    assert differences(healthy, lab.states(NODE)) == []


def test_what_does_not_show_is_undone(lab: Lab, healthy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An injector that silently does nothing to the traffic is an error, and leaves nothing."""
    fault = CATALOGUE["link_slow"]
    edits = CATALOGUE["policy_not_enforced"].edits
    monkeypatch.setitem(CATALOGUE, "link_slow", replace(fault, edits=edits))
    with pytest.raises(FaultError, match="it does not show"):
        lab.inject("link_slow", NODE)
    assert differences(healthy, lab.states(NODE)) == []


def test_what_the_kernel_does_not_show_is_undone(lab: Lab, healthy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_apply", lambda context, patch: None)
    with pytest.raises(FaultError, match="the kernel does not show node without route"):
        lab.inject("route_missing", NODE)


def test_changes_by_others_stay(lab: Lab, healthy: Any) -> None:
    """Mending takes back the fault, and nothing that came beside it."""

    def add(namespaces: Namespaces) -> None:
        from podwire.faults.resource import run

        run(namespaces["node"], ("ip", "route", "add", "203.0.113.0/24", "dev", "cni0"))

    def remove(namespaces: Namespaces) -> str:
        from podwire.faults.resource import run

        return run(namespaces["node"], ("ip", "route", "del", "203.0.113.0/24", "dev", "cni0"))

    lab.inject("bridge_address_stale", NODE)
    lab.within(NODE, add)
    lab.mend(NODE)
    lab.within(NODE, remove)  # fails if it is not there


def test_host_wide_is_refused(lab: Lab) -> None:
    for name in ("neighbour_table_full", "conntrack_full"):
        assert "host_wide=true" in lab.lacking(name, NODE)
        assert CATALOGUE[name].host_wide


def test_host_wide_is_injected_and_undone_where_it_is_allowed(lab: Lab, healthy: Any) -> None:
    """What the entries would do is only looked at, and one neighbour less is what the machine gets."""
    key = "net/ipv4/neigh/default/gc_thresh3"

    def dry_run(namespaces: Namespaces) -> List[str]:
        context = Context(lab.cluster, NODE, lab.addresses, namespaces)
        return [*engine.inject(CATALOGUE["neighbour_table_full"], context, host_wide=True, check=True).lines]

    def less(context: Context) -> List[Any]:
        right = context.sysctl(key, MACHINE)
        return [Patch(MACHINE, (right,), (right._replace(value=str(int(right.value) - 1)),))]

    def inject(namespaces: Namespaces) -> revert.Done:
        fault = replace(CATALOGUE["neighbour_table_full"], edits=less)
        return engine.inject(fault, Context(lab.cluster, NODE, lab.addresses, namespaces), host_wide=True)

    before = Path(f"/proc/sys/{key}").read_text()
    assert f"machine: + sysctl {key} = 1" in lab.within(NODE, dry_run)
    lab.within(NODE, inject)
    assert int(Path(f"/proc/sys/{key}").read_text()) == int(before) - 1
    lab.mend(NODE)
    assert Path(f"/proc/sys/{key}").read_text() == before


def test_the_undo_is_on_the_disk_before_anything_is_touched(lab: Lab, healthy: Any) -> None:
    def attempt(namespaces: Namespaces) -> List[str]:
        seen: List[str] = []

        def apply(context: Context, patch: Any) -> None:
            seen.extend(entry["fault"] for entry in journal.entries())
            raise FaultError("stop here")

        engine._apply = apply
        with pytest.raises(FaultError, match="stop here"):  # in a process of its own, which ends with its engine
            engine.inject(CATALOGUE["route_missing"], Context(lab.cluster, NODE, lab.addresses, namespaces))
        return seen

    assert lab.within(NODE, attempt) == ["route_missing"]


def test_a_pod_made_anew_has_nothing_to_mend(lab: Lab) -> None:
    """The fault went with the sandbox that it was in."""
    pod = "node-1-pod-1"

    def end(_: Namespaces) -> None:
        from podwire.sandbox import sandboxes

        sandboxes.stop([pod])

    lab.inject("pod_routes_lost", NODE, pod=pod)
    lab.within(NODE, end)
    lab.converge(NODE)
    fresh = lab.states(NODE)
    assert [each for each, _ in lab.mend(NODE)] == ["pod_routes_lost"]
    assert differences({**fresh, "journal": []}, lab.states(NODE)) == []


def test_what_another_fault_has_taken_away_is_refused_in_words(lab: Lab) -> None:
    lab.inject("vxlan_fdb_missing", "node-1", blind=True)
    lab.inject("ipam_exhausted", "node-2", blind=True)
    try:
        with pytest.raises(FaultError, match="failed to inject vxlan_fdb_wrong_vtep on node-1: what it would break is"):
            lab.inject("vxlan_fdb_wrong_vtep", "node-1", blind=True)
        with pytest.raises(FaultError, match="failed to choose an address on node-2: every address of .* is reserved"):
            lab.inject("ipam_leak", "node-2", blind=True)
    finally:
        lab.mend("node-1")
        lab.mend("node-2")
