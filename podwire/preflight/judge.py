"""All nodes' findings side by side, and what only shows between nodes. Pure."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from ..intent.cluster import Cluster
from .finding import NOT_RUN, OK, PROBLEM, WARNING, Finding

#: Seconds by which a node's clock may differ from the controller's: logs are to be read side by side.
_SKEW = 2.0
_SHOWN = 8
_ORDER = (PROBLEM, WARNING, NOT_RUN, OK)

#: What a node reported: ``findings`` (lists of Finding's fields), ``machine_id``, ``clock`` (Unix time there) and
#: ``asked`` (the controller's before and after).
Told = Mapping[str, Any]


class Report(NamedTuple):
    """(nodes, finding): equal findings of several nodes are one, problems first."""

    nodes: int
    rows: Tuple[Tuple[Tuple[str, ...], Finding], ...]

    def count(self, level: str) -> int:
        """Findings of a level."""
        return sum(finding.level == level for _, finding in self.rows)

    def to_json(self) -> Dict[str, Any]:
        """For programs."""
        rows = [{"nodes": list(nodes), **finding._asdict()} for nodes, finding in self.rows]
        return {"nodes": self.nodes, "problems": self.count(PROBLEM), "findings": rows}


def judge(cluster: Cluster, hosts: Sequence[str], answers: Mapping[str, Told], heard: Mapping[str, Any]) -> Report:
    """``answers`` and ``heard`` (see wire.py) by node, of this run; ``hosts`` are those that were asked."""
    findings: List[Tuple[str, Finding]] = []
    for host in hosts:
        if host not in answers:
            fix = "see what Ansible says of it above"
            findings.append((host, Finding(PROBLEM, "reach", "Ansible did not get an answer from the node", fix)))
            continue
        findings += [(host, Finding(*fields)) for fields in answers[host]["findings"]]
        findings += ((host, finding) for finding in _clock(answers[host]))
    findings += _identities(cluster, answers)
    findings += _pairs(cluster, hosts, heard)
    merged: Dict[Finding, List[str]] = {}
    for host, finding in findings:
        merged.setdefault(finding, []).append(host)
    rows = sorted(merged.items(), key=lambda row: (_ORDER.index(row[0].level), row[0].check))
    return Report(len(hosts), tuple((tuple(nodes), finding) for finding, nodes in rows))


def _clock(answer: Told) -> Iterator[Finding]:
    before, after = answer["asked"]
    skew = max(before - answer["clock"], answer["clock"] - after, 0.0)
    if skew > _SKEW:
        direction = "behind" if answer["clock"] < before else "ahead of"
        yield Finding(
            WARNING, "clock", f"{skew:.0f} s {direction} the controller's", "set it, by chrony or systemd-timesyncd"
        )


def _identities(cluster: Cluster, answers: Mapping[str, Told]) -> Iterator[Tuple[str, Finding]]:
    """Nodes of one machine have its identity, and containers that of their image: they may."""
    owners: Dict[str, List[str]] = {}
    for node, facts in answers.items():
        if facts["machine_id"] and cluster.node(node).kind == "ssh":
            owners.setdefault(facts["machine_id"], []).append(node)
    for identity, nodes in owners.items():
        if len(nodes) > 1:
            text = f"{_list(nodes)} have one /etc/machine-id, {identity[:12]}: clones of one image"
            fix = "on all but one: rm /etc/machine-id && systemd-machine-id-setup, and reboot"
            yield from ((node, Finding(PROBLEM, "machine-id", text, fix)) for node in nodes)


def _pairs(cluster: Cluster, hosts: Sequence[str], heard: Mapping[str, Any]) -> Iterator[Tuple[str, Finding]]:
    """By receiver: from whom nothing came, and from whom only packets that are too small."""
    needed, port = cluster.underlay_mtu, cluster.backend.port
    good = 0
    for receiver in hosts:
        if receiver not in heard:
            if len(hosts) > 1:
                text = "nobody listened here: datagrams from peers and their size"
                yield receiver, Finding(NOT_RUN, "pairs", text, "see the node's other findings")
            continue
        for version in cluster.versions:
            sizes = heard[receiver].get(str(version), {})
            senders = [
                host for host in hosts if host != receiver and host in heard and cluster.node(host).public_ip(version)
            ]
            silent = [host for host in senders if host not in sizes]
            if silent:
                yield receiver, _closed(cluster, version, silent)
            small: Dict[int, List[str]] = {}
            for host in senders:
                if host in sizes and sizes[host] < needed:
                    small.setdefault(sizes[host], []).append(host)
            for size, from_whom in sorted(small.items()):
                text = f"from {_list(from_whom)} (IPv{version}) packets of {size} bytes pass, and {needed} do not"
                fix = f"raise the MTU of the path, or declare it: node_mtu or the segment's mtu: {size}"
                yield receiver, Finding(PROBLEM, "path MTU", text, fix)
            good += sum(host in sizes and sizes[host] >= needed for host in senders)
    if good:
        yield "all", Finding(OK, "pairs", f"{good} paths between nodes: UDP port {port} is open, {needed} bytes pass")


def _closed(cluster: Cluster, version: int, silent: Sequence[str]) -> Finding:
    port = cluster.backend.port
    text = f"nothing came to UDP port {port} from {_list(silent)} (IPv{version})"
    if cluster.backend_driver.udp_port is None:  # its packets need no port
        return Finding(
            NOT_RUN, "path MTU", text, "it is measured by datagrams to that port: let them pass for this once"
        )
    return Finding(PROBLEM, "UDP port", text, f"open UDP {port} between nodes, in firewalls and security groups too")


def _list(nodes: Sequence[str]) -> str:
    more = f" and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else ""
    return ", ".join(nodes[:_SHOWN]) + more


def render(report: Report) -> str:
    """For people: what is wrong first, with what to do; what is well in a line each."""
    counts = ((PROBLEM, "problem"), (WARNING, "warning"), (NOT_RUN, "check not run"))
    totals = [f"{report.count(level)} {word}{'s' if report.count(level) != 1 else ''}" for level, word in counts]
    totals[2] = f"{report.count(NOT_RUN)} not run"
    lines = [f"preflight of {report.nodes} nodes: {', '.join(totals)}", ""]
    for nodes, finding in report.rows:
        who = f"all {report.nodes} nodes" if len(nodes) == report.nodes > 1 else _list(nodes)
        where = "" if nodes == ("all",) or finding.level == OK and len(nodes) == report.nodes else f" [{who}]"
        lines.append(f"{finding.level.upper() if finding.level != OK else OK:8} {finding.check}: {finding.text}{where}")
        if finding.fix:
            lines.append(f"{'':8}   {finding.fix}")
    return "\n".join(lines)
