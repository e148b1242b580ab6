"""The judge: intent and every node's observations in, a verdict on each guarantee out. Pure.

A check that was not observed is "not run", and never "passed": a verdict is ok only if every
check that intent requires ran and passed.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import (
    Any,
    Callable,
    Collection,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from ..intent.cluster import Cluster
from . import expect, throughput, user_checks
from .consistency import consistency
from .groups import Cells, describe
from .guarantee import LISTED, Class, Failure, Guarantee, by_cause, guarantee
from .leases import leases, ranges
from .observations import Observations, Summary, real_devices

__all__ = ["Failure", "Guarantee", "Verdict", "from_json", "judge", "to_json"]


class Verdict(NamedTuple):
    """All guarantees. ``nodes`` were probed, ``missing`` of them did not report; ``inferred`` says from what
    undeclared intent was inferred."""

    guarantees: Tuple[Guarantee, ...]
    nodes: Tuple[str, ...]
    missing: Tuple[str, ...]
    seconds: float
    inferred: Tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every guarantee holds and everything ran."""
        return not self.missing and all(guarantee.ok for guarantee in self.guarantees)


def judge(
    cluster: Cluster,
    addresses: expect.Addresses,
    observations: Mapping[str, Observations],
    only: Optional[Collection[str]] = None,
) -> Verdict:
    """Compare the nodes' observations with intent.

    ``addresses`` as the probers got them; ``only``: the nodes that were asked to probe (``--limit``),
    all of them by default. Pairs from other nodes are not judged.
    """
    nodes = tuple(node.name for node in cluster.nodes if only is None or node.name in only)
    ends = expect.endpoints(cluster, addresses)
    reports = {name: observations[name] for name in nodes if name in observations}
    guarantees = [
        _unique(cluster, addresses, reports, nodes),
        _pairs(cluster, ends, reports, nodes),
        _agents(cluster, ends, reports, nodes),
        _nodes(cluster, ends, reports, nodes),
        _path_mtu(cluster, ends, reports, nodes),
        _bulk(cluster, ends, reports, nodes),
        _fragments(reports, nodes),
        ranges(cluster, reports, nodes),
        leases(cluster, addresses, reports, nodes),
        consistency(cluster, reports, nodes),
    ]
    if cluster.checks:
        guarantees.append(user_checks.judge(cluster, reports, nodes))
    if any("throughput" in observed for observed in reports.values()):
        guarantees.append(throughput.judge(cluster, reports))
    return Verdict(
        guarantees=tuple(guarantees),
        nodes=nodes,
        missing=tuple(name for name in nodes if name not in reports),
        seconds=max((float(observed["seconds"]) for observed in reports.values()), default=0.0),
    )


def _unique(
    cluster: Cluster, addresses: expect.Addresses, reports: Mapping[str, Observations], nodes: Sequence[str]
) -> Guarantee:
    """Guarantee 1, pod by pod and family by family; and unknown owners of pod addresses."""
    holders: Dict[str, List[str]] = {}
    for holder, ip, _ in _held(reports):
        holders.setdefault(ip, []).append(holder)
    ran = not_run = 0
    failures: List[Failure] = []
    for pod in cluster.pods:
        if pod.host_network or pod.node not in nodes:
            continue
        given = [ip_address(text.partition("/")[0]) for text in addresses.get(pod.name, ())]
        for version in cluster.versions:
            attached = [str(ip) for ip in dict.fromkeys(given) if ip.version == version]
            if attached and (pod.node not in reports or pod.name not in reports[pod.node]["pods"]):
                not_run += len(attached)
                continue
            ran += max(1, len(attached))
            if not attached:
                failures.append(Failure("", pod.name, "", "no address", f"has no IPv{version} address"))
            for address in attached:
                wrong = _wrong_address(cluster, pod.node, pod.name, address, reports[pod.node], holders)
                if wrong:
                    failures.append(Failure("", pod.name, address, *wrong))
    others = list(_strangers(cluster, addresses, reports))
    if cluster.discovered and not cluster.pods:
        not_run += 1  # without pods nothing is proven
    shared = sum(pod.host_network for pod in cluster.pods if pod.node in nodes)
    notes = (f"{_count(shared, 'hostNetwork pod')} with the node's address not counted",) if shared else ()
    title = "every pod has its own cluster-wide IP address"
    return guarantee(
        "unique", title, "addresses", ran + len(others), [*failures, *others], not_run, notes + _absent(reports)
    )


def _held(reports: Mapping[str, Observations]) -> Iterator[Tuple[str, str, str]]:
    """(sandbox, address, node) of all sandboxes, declared or not."""
    for node, observed in reports.items():
        names = dict(observed["pods"])
        if "snapshot" in observed:
            for name, sandbox in observed["snapshot"]["sandboxes"].items():
                names.setdefault(name, real_devices(sandbox["namespace"]))
        for name, has in names.items():
            for ip in has["addresses"]:
                yield name, ip, node


def _strangers(cluster: Cluster, addresses: expect.Addresses, reports: Mapping[str, Observations]) -> Iterator[Failure]:
    """Undeclared sandboxes with a pod address, and answers from unknown MAC addresses."""
    declared = {pod.name for pod in cluster.pods}
    for name, ip, node in _held(reports):
        parsed = ip_address(ip)
        if name not in declared and any(parsed.version == c.version and parsed in c for c in cluster.cluster_cidrs):
            yield Failure(node, name, ip, "orphan", "belongs to a sandbox that is not declared")
    for node, observed in reports.items():
        for ip, macs in observed.get("strangers", {}).items():
            yield Failure(
                node, ip, "", "orphan", f"is answered by {' and '.join(macs)}, which belongs to no known sandbox"
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
        return (
            "duplicate",
            f"is a duplicate IP: also on {', '.join(other for other in holders[address] if other != pod)}",
        )
    if address in observed["second_owners"]:
        return "duplicate", f"is a duplicate IP: answered by {' and '.join(observed['second_owners'][address])}"
    if block is None or ip not in block:
        return "foreign range", f"is outside {node}'s pod CIDR {block}"
    return None


def _pairs(
    cluster: Cluster, ends: Sequence[expect.Endpoint], reports: Mapping[str, Observations], nodes: Sequence[str]
) -> Guarantee:
    summaries = [observed["pairs"] for observed in reports.values()]
    mode = next((summary["mode"] for summary in summaries if "mode" in summary), expect.mode_for(ends))
    expected: Cells = {}
    for node in nodes:
        if mode == "classes":
            counted = [((node, pair.target.node), 1) for pair in expect.classes_from(node, ends)]
        else:
            counted = _count_pairs(node, ends)
        for cell, count in counted:
            expected[cell] = expected.get(cell, 0) + count
    notes = []
    if mode == "classes":
        total = expect.count_pairs(ends)
        notes.append(f"probed: a sample of {sum(expected.values())} of {total} pairs (-e pairs=all probes every pair)")
    elif not all(summary.get("all_protocols", True) for summary in summaries):
        notes.append("probed: every pair by ICMP, a sample also by UDP and TCP")
    if any(pod.host_network for pod in cluster.pods):
        notes.append("for hostNetwork pods an address of the node counts as the pod's own")
    without = sorted({end.pod for end in ends if not end.address})
    if without:
        notes.append(f"not run, no address: {', '.join(without)}")
    title = "pods reach each other without NAT"
    return _from_cells(
        "pods", title, "pairs", lambda summaries: summaries.get("pairs"), expected, reports, ends, tuple(notes)
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
    cluster: Cluster, ends: Sequence[expect.Endpoint], reports: Mapping[str, Observations], nodes: Sequence[str]
) -> Guarantee:
    expected = {(node, node): len(expect.agent_targets(node, ends)) for node in nodes}
    return _from_cells(
        "agents",
        "node agents reach their pods",
        "checks",
        lambda observed: observed.get("agents"),
        expected,
        reports,
        ends,
        (),
    )


def _nodes(
    cluster: Cluster, ends: Sequence[expect.Endpoint], reports: Mapping[str, Observations], nodes: Sequence[str]
) -> Guarantee:
    expected = {(node, node): len(expect.node_targets(cluster, node, ends)) for node in nodes}
    return _from_cells(
        "nodes", "pods reach their node", "checks", lambda observed: observed.get("nodes"), expected, reports, ends, ()
    )


def _path_mtu(
    cluster: Cluster, ends: Sequence[expect.Endpoint], reports: Mapping[str, Observations], nodes: Sequence[str]
) -> Guarantee:
    expected = _counted(expect.mtu_pairs_from, ends, nodes)
    pod_ends = [end for end in ends if not end.host_network]
    mode = "every pair" if expect.measures_all(ends) else "a sample, in each direction of every node pair and every pod"
    size = cluster.mtu
    title = f"{size} bytes pass unfragmented, {size + 1} are refused"
    return _from_cells(
        "mtu",
        title,
        "paths",
        lambda observed: observed.get("path_mtu"),
        expected,
        reports,
        pod_ends,
        (f"measured: {mode}",),
    )


def _bulk(
    cluster: Cluster, ends: Sequence[expect.Endpoint], reports: Mapping[str, Observations], nodes: Sequence[str]
) -> Guarantee:
    pod_ends = [end for end in ends if not end.host_network]
    expected = _counted(expect.bulk_pairs_from, ends, nodes)
    title = "TCP moves bulk data in full segments"
    return _from_cells(
        "bulk", title, "transfers", lambda observed: observed.get("bulk"), expected, reports, pod_ends, ()
    )


def _counted(
    pairs: Callable[[str, Sequence[expect.Endpoint]], Iterable[expect.Pair]],
    ends: Sequence[expect.Endpoint],
    nodes: Sequence[str],
) -> Cells:
    expected: Cells = {}
    for node in nodes:
        for pair in pairs(node, ends):
            cell = node, pair.target.node
            expected[cell] = expected.get(cell, 0) + 1
    return expected


def _fragments(reports: Mapping[str, Observations], nodes: Sequence[str]) -> Guarantee:
    """No node created fragments while full-sized packets were sent, neither of pods' packets nor of outer ones."""
    ran = [node for node in nodes if node in reports and "fragments" in reports[node]]
    failures = [
        Failure(node, "", "", "fragments", f"made {_count(reports[node]['fragments'], 'fragment')} (FragCreates)")
        for node in ran
        if reports[node]["fragments"]
    ]
    title = "full-sized packets are not fragmented"
    return guarantee("fragments", title, "nodes", len(ran), failures, len(nodes) - len(ran))


def _from_cells(
    key: str,
    title: str,
    unit: str,
    summary_of: Callable[[Observations], Optional[Summary]],
    expected: Cells,
    reports: Mapping[str, Observations],
    ends: Sequence[expect.Endpoint],
    notes: Tuple[str, ...],
) -> Guarantee:
    """Count by cell, (source's node, target's node); what is missing in a cell did not run."""
    summaries = {
        node: summary for node, observed in reports.items() for summary in [summary_of(observed)] if summary is not None
    }
    passed = failed = not_run = 0
    failing: Cells = {}
    probed: Cells = {}
    failures: List[Failure] = []
    classes: List[Class] = []
    for (node, target), total in expected.items():
        counts = summaries.get(node, _NOTHING)
        good, bad = counts["towards"].get(target, (0, 0))
        not_run += max(0, total - good - bad)
        # Pairs that were probed because their sample failed are counted in addition.
        more, worse = counts.get("members", {}).get(target, (0, 0))
        probed[node, target] = max(total, good + bad) + more + worse
        passed, failed = passed + good + more, failed + bad + worse
        classes.append((node, target, good + more, bad + worse, max(0, total - good - bad)))
        if bad + worse:
            failing[node, target] = bad + worse
    for summary in summaries.values():
        failures += [Failure(*failure) for failure in summary["failures"]]
    shared: List[str] = []
    if failed:
        shared = [
            *describe(probed, failing, failures, ends),
            *_family(failures, failed, ends),
            *by_cause(failures, failed),
        ]
    seconds = max((float(observed.get("took", {}).get(key, 0)) for observed in reports.values()), default=0.0)
    listed = tuple(failures[:LISTED])
    return Guarantee(key, title, unit, passed, failed, not_run, listed, tuple(shared), notes, seconds, tuple(classes))


def _family(failures: Sequence[Failure], total: int, ends: Sequence[expect.Endpoint]) -> Iterator[str]:
    """The family that all failures have in common, if pods have both."""
    families = {ip_address(failure.address).version for failure in failures if failure.address}
    if len(failures) == total > 1 and len(families) == 1 and len({end.version for end in ends}) > 1:
        yield f"over IPv{families.pop()}: {total}"


_NOTHING: Summary = {"passed": 0, "failed": 0, "towards": {}, "failures": ()}


def _absent(reports: Mapping[str, Observations]) -> Tuple[str, ...]:
    absent = [f"{pod} on {node}" for node, observed in reports.items() for pod in observed["absent"]]
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
        "inferred": list(verdict.inferred),
        "guarantees": [
            {
                **guarantee._asdict(),
                "ok": guarantee.ok,
                "failures": [failure._asdict() for failure in guarantee.failures],
            }
            for guarantee in verdict.guarantees
        ],
    }


def from_json(data: Mapping[str, Any]) -> Verdict:
    """The verdict that ``to_json`` wrote."""
    guarantees = []
    for row in data["guarantees"]:
        fields = {name: row[name] for name in Guarantee._fields if name in row}
        fields["failures"] = tuple(Failure(**failure) for failure in row["failures"])
        fields["shared"] = tuple(row["shared"])
        fields["notes"] = tuple(row["notes"])
        fields["seconds"] = float(row.get("seconds", 0))
        fields["classes"] = tuple(map(tuple, row["classes"]))
        guarantees.append(Guarantee(**fields))
    return Verdict(
        tuple(guarantees),
        tuple(data["nodes"]),
        tuple(data["missing"]),
        data["seconds"],
        tuple(data.get("inferred", ())),
    )
