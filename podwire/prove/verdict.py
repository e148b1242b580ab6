"""The judge: intent and every node's observations in, a verdict on each guarantee out. Pure.

What was not observed is "not run", and "not run" is never "passed": a verdict is ok only if every
check that intent asks for ran and passed.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Collection, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..cluster import Cluster
from . import expect
from .groups import Cells, describe

#: One node's observations, see prober.py.
Observations = Mapping[str, Any]

#: Failing pairs that a verdict lists one by one; every one of them is counted and grouped.
LISTED = 50


class Failure(NamedTuple):
    """One check that failed. ``source`` is a pod or a node, ``target`` a pod; ``cause`` a word to group by."""

    source: str
    target: str
    address: str
    cause: str
    reason: str

    def __str__(self) -> str:
        arrow = f"{self.source} -> {self.target}" if self.source else self.target
        return f"{arrow} ({self.address}): {self.reason}" if self.address else f"{arrow}: {self.reason}"


#: Checks from a node's pods to another's: source's node, target's node, passed, failed, not run.
Class = Tuple[str, str, int, int, int]


class Guarantee(NamedTuple):
    """The verdict on one promise. ``unit`` is what is counted; ``shared`` says what failures have in common;
    ``classes`` are the counts by pair of nodes, none where a check concerns no pair."""

    key: str
    title: str
    unit: str
    passed: int
    failed: int
    not_run: int
    failures: Tuple[Failure, ...] = ()
    shared: Tuple[str, ...] = ()
    notes: Tuple[str, ...] = ()
    classes: Tuple[Class, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything that had to run ran, and passed."""
        return not self.failed and not self.not_run


class Verdict(NamedTuple):
    """All guarantees. ``nodes`` were asked for, ``missing`` of them did not report."""

    guarantees: Tuple[Guarantee, ...]
    nodes: Tuple[str, ...]
    missing: Tuple[str, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every guarantee holds and everything ran."""
        return not self.missing and all(each.ok for each in self.guarantees)


def judge(
    cluster: Cluster,
    addresses: expect.Addresses,
    observations: Mapping[str, Observations],
    only: Optional[Collection[str]] = None,
) -> Verdict:
    """Hold what the nodes observed against intent.

    ``addresses`` as the probers got them; ``only``: the nodes that were asked to probe (``--limit``),
    all of them by default. Pairs from other nodes are then nobody's business.
    """
    nodes = tuple(node.name for node in cluster.nodes if only is None or node.name in only)
    ends = expect.endpoints(cluster, addresses)
    seen = {name: observations[name] for name in nodes if name in observations}
    return Verdict(
        guarantees=(
            _unique(cluster, addresses, seen, nodes),
            _pairs(cluster, ends, seen, nodes),
            _agents(cluster, ends, seen, nodes),
            _path_mtu(cluster, ends, seen, nodes),
        ),
        nodes=nodes,
        missing=tuple(name for name in nodes if name not in seen),
        seconds=max((float(each["seconds"]) for each in seen.values()), default=0.0),
    )


def _unique(
    cluster: Cluster, addresses: expect.Addresses, seen: Mapping[str, Observations], nodes: Sequence[str]
) -> Guarantee:
    """Guarantee 1, pod by pod and family by family."""
    holders: Dict[str, List[str]] = {}
    for observed in seen.values():
        for pod, has in observed["pods"].items():
            for address in has["addresses"]:
                holders.setdefault(address, []).append(pod)
    passed = not_run = 0
    failures: List[Failure] = []
    for pod in cluster.pods:
        if pod.host_network or pod.node not in nodes:
            continue
        given = {ip_address(text.partition("/")[0]) for text in addresses.get(pod.name, ())}
        for version in cluster.versions:
            address = next((str(ip) for ip in given if ip.version == version), "")
            if not address:
                failures.append(Failure("", pod.name, "", "no address", f"has no IPv{version} address"))
            elif pod.node not in seen or pod.name not in seen[pod.node]["pods"]:
                not_run += 1
            else:
                wrong = _wrong_address(cluster, pod.node, pod.name, address, seen[pod.node], holders)
                if wrong:
                    failures.append(Failure("", pod.name, address, *wrong))
                else:
                    passed += 1
    shared = sum(pod.host_network for pod in cluster.pods if pod.node in nodes)
    notes = (f"{_count(shared, 'hostNetwork pod')} with the node's address not counted",) if shared else ()
    return Guarantee(
        "unique",
        "every pod has its own cluster-wide IP address",
        "addresses",
        passed,
        len(failures),
        not_run,
        tuple(failures[:LISTED]),
        notes=notes + _absent(seen),
    )


def _wrong_address(
    cluster: Cluster, node: str, pod: str, address: str, observed: Observations, holders: Mapping[str, Sequence[str]]
) -> Optional[Tuple[str, str]]:
    has = observed["pods"][pod]["addresses"]
    ip = ip_address(address)
    block = cluster.node(node).pod_cidr(ip.version)
    if address not in has:
        return "not held", f"is not on its device, which has {', '.join(has) or 'no address'}"
    if len(holders[address]) > 1:
        return "duplicate", f"is also held by {', '.join(other for other in holders[address] if other != pod)}"
    if address in observed["second_owners"]:
        return "duplicate", f"is answered by {' and '.join(observed['second_owners'][address])}"
    if block is None or ip not in block:
        return "foreign range", f"is outside {node}'s block {block}"
    return None


def _pairs(
    cluster: Cluster, ends: Sequence[expect.Endpoint], seen: Mapping[str, Observations], nodes: Sequence[str]
) -> Guarantee:
    expected: Cells = {}
    for node in nodes:
        for pair in _count_pairs(node, ends):
            expected[pair[0]] = expected.get(pair[0], 0) + pair[1]
    notes = []
    if any(pod.host_network for pod in cluster.pods):
        notes.append("for hostNetwork pods an address of the node counts as the pod's own")
    without = sorted({end.pod for end in ends if not end.address})
    if without:
        notes.append(f"not run for want of an address: {', '.join(without)}")
    return _from_cells(
        "pods", "pods reach each other without NAT", "pairs", "pairs", expected, seen, ends, tuple(notes)
    )


def _count_pairs(node: str, ends: Sequence[expect.Endpoint]) -> List[Tuple[Tuple[str, str], int]]:
    """((node, node of the targets), pairs): what ``expect.pairs_from`` yields, counted."""
    by_cell: Dict[Tuple[str, int], Dict[str, int]] = {}
    for end in ends:
        pods = by_cell.setdefault((end.node, end.version), {})
        pods[end.pod] = pods.get(end.pod, 0) + 1
    counted = []
    for (source_node, version), sources in by_cell.items():
        if source_node != node:
            continue
        for (target_node, target_version), targets in by_cell.items():
            if target_version == version:
                total = sum(sources.values()) * sum(targets.values())
                same = sum(count * targets.get(pod, 0) for pod, count in sources.items())
                counted.append(((node, target_node), total - same))
    return counted


def _agents(
    cluster: Cluster, ends: Sequence[expect.Endpoint], seen: Mapping[str, Observations], nodes: Sequence[str]
) -> Guarantee:
    expected = {(node, node): len(expect.agent_targets(node, ends)) for node in nodes}
    return _from_cells("agents", "node agents reach their pods", "checks", "agents", expected, seen, ends, ())


def _path_mtu(
    cluster: Cluster, ends: Sequence[expect.Endpoint], seen: Mapping[str, Observations], nodes: Sequence[str]
) -> Guarantee:
    expected: Cells = {}
    for node in nodes:
        for pair in expect.mtu_pairs_from(node, ends):
            cell = node, pair.target.node
            expected[cell] = expected.get(cell, 0) + 1
    mode = "every pair" if expect.measures_all(ends) else "one pair for each pod and node"
    size = cluster.mtu
    title = f"{size} bytes pass unfragmented, {size + 1} are refused"
    own = [end for end in ends if not end.host_network]
    return _from_cells("mtu", title, "paths", "path_mtu", expected, seen, own, (f"measured: {mode}",))


def _from_cells(
    key: str,
    title: str,
    unit: str,
    field: str,
    expected: Cells,
    seen: Mapping[str, Observations],
    ends: Sequence[expect.Endpoint],
    notes: Tuple[str, ...],
) -> Guarantee:
    """Count cell by cell, (source's node, target's node); what is missing in a cell did not run."""
    passed = failed = not_run = 0
    failing: Cells = {}
    failures: List[Failure] = []
    classes: List[Class] = []
    for (node, target), total in expected.items():
        good, bad = seen[node][field]["towards"].get(target, (0, 0)) if node in seen else (0, 0)
        passed, failed = passed + good, failed + bad
        not_run += max(0, total - good - bad)
        classes.append((node, target, good, bad, max(0, total - good - bad)))
        if bad:
            failing[node, target] = bad
    for observed in seen.values():
        failures += [Failure(*each) for each in observed[field]["failures"]]
    shared = describe(expected, failing, failures, ends) if failed else ()
    listed = tuple(failures[:LISTED])
    return Guarantee(key, title, unit, passed, failed, not_run, listed, tuple(shared), notes, tuple(classes))


def _absent(seen: Mapping[str, Observations]) -> Tuple[str, ...]:
    absent = [f"{pod} on {node}" for node, observed in seen.items() for pod in observed["absent"]]
    return (f"not running: {', '.join(absent)}",) if absent else ()


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def to_json(verdict: Verdict) -> Dict[str, Any]:
    """A verdict in JSON's types."""
    return {
        "ok": verdict.ok,
        "nodes": list(verdict.nodes),
        "missing": list(verdict.missing),
        "seconds": verdict.seconds,
        "guarantees": [
            {**each._asdict(), "ok": each.ok, "failures": [failure._asdict() for failure in each.failures]}
            for each in verdict.guarantees
        ],
    }


def from_json(data: Mapping[str, Any]) -> Verdict:
    """The verdict that ``to_json`` wrote."""
    guarantees = []
    for each in data["guarantees"]:
        fields = {name: each[name] for name in Guarantee._fields}
        fields["failures"] = tuple(Failure(**failure) for failure in each["failures"])
        fields["shared"] = tuple(each["shared"])
        fields["notes"] = tuple(each["notes"])
        fields["classes"] = tuple(map(tuple, each["classes"]))
        guarantees.append(Guarantee(**fields))
    return Verdict(tuple(guarantees), tuple(data["nodes"]), tuple(data["missing"]), data["seconds"])
