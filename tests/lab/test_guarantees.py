"""The three guarantees, the path MTU, and what they stand on, from one probe call a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podwire.prove.verdict import Guarantee

if TYPE_CHECKING:
    from .conftest import Lab


def holds(guarantee: Guarantee) -> None:
    """Fail with what failed in words, rather than with an assertion on numbers."""
    if guarantee.ok:
        return
    lines = [f"{guarantee.title}: {guarantee.passed} passed, {guarantee.failed} failed, {guarantee.not_run} not run"]
    lines += [f"failing {shared}" for shared in guarantee.shared]
    more = guarantee.failed - len(guarantee.failures)
    lines += [*map(str, guarantee.failures), *([f"and {more} more"] if more else []), *guarantee.notes]
    pytest.fail("\n".join(lines), pytrace=False)


def test_every_pod_has_its_own_address(lab: Lab) -> None:
    holds(lab.guarantee("unique"))


def test_pods_reach_each_other_without_nat(lab: Lab, node: str) -> None:
    holds(lab.guarantee("pods", node))


def test_the_node_reaches_its_pods(lab: Lab, node: str) -> None:
    holds(lab.guarantee("agents", node))


def test_the_path_mtu_is_exactly_the_expected(lab: Lab, node: str) -> None:
    holds(lab.guarantee("mtu", node))


@pytest.mark.parametrize("key", ["nodes", "bulk", "fragments", "ranges", "leases", "consistency"])
def test_what_the_guarantees_stand_on(lab: Lab, key: str) -> None:
    holds(lab.guarantee(key))


def test_every_guarantee_was_put_to_the_test(lab: Lab) -> None:
    """A lab with pods on two nodes and nothing to check would pass everything above."""
    if len({pod.node for pod in lab.cluster.pods if not pod.host_network}) < 2:
        pytest.skip("fewer than two nodes have pods of their own network")
    for key in ("unique", "pods", "agents", "mtu"):
        assert lab.guarantee(key).passed, key
