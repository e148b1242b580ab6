"""A verdict as plain text for a terminal."""

from __future__ import annotations

from typing import Sequence

from ..intent.cluster import Cluster
from .guarantee import Guarantee
from .verdict import Verdict

#: Failing checks shown one by one under each guarantee.
SHOWN = 10
_COLOURS = {"ok": "\033[32m", "FAILED": "\033[31m", "NOT RUN": "\033[33m"}
_PLAIN = "\033[0m"


def render(verdict: Verdict, colour: bool = False) -> str:
    """One line a guarantee; below a failed one what its failures share, and the failures."""
    lines = [f"inferred: {source}" for source in verdict.inferred]
    lines += [""] if lines else []
    width = max(len(guarantee.title) for guarantee in verdict.guarantees)
    counts = max(len(_counts(guarantee)) for guarantee in verdict.guarantees)
    for guarantee in verdict.guarantees:
        word = _word(guarantee)
        mark = f"{_COLOURS[word]}{word:8}{_PLAIN}" if colour else f"{word:8}"
        took = f"  {guarantee.seconds:.2f} s" if guarantee.seconds >= 0.01 else ""
        lines.append(f"{mark}{guarantee.title:{width}}  {_counts(guarantee):{counts}}{took}".rstrip())
        lines += [f"        {note}" for note in guarantee.notes]
        lines += [f"        failing {shared}" for shared in guarantee.shared]
        lines += [f"          {failure}" for failure in guarantee.failures[:SHOWN]]
        if guarantee.failed > SHOWN:
            lines.append(f"          … and {guarantee.failed - min(SHOWN, len(guarantee.failures))} more")
    if verdict.missing:
        lines.append(f"NOT RUN on {', '.join(verdict.missing)}")
    return "\n".join(lines)


def _word(guarantee: Guarantee) -> str:
    if guarantee.failed:
        return "FAILED"
    return "NOT RUN" if guarantee.not_run else "ok"


def _counts(guarantee: Guarantee) -> str:
    total = guarantee.passed + guarantee.failed + guarantee.not_run
    text = f"{guarantee.passed} of {total} {guarantee.unit}"
    extra = [
        f"{count} {word}" for count, word in ((guarantee.failed, "failed"), (guarantee.not_run, "not run")) if count
    ]
    return f"{text} ({', '.join(extra)})" if extra else text


def table(cluster: Cluster) -> str:
    """Node, podCIDR, backend, pods and MTU, one row a node; and of machines the interface and public IP, which may
    have been found there."""
    machines = any(node.kind == "ssh" for node in cluster.nodes)
    rows = [["NODE", "POD CIDR", "BACKEND", "PODS", "MTU", *(("INTERFACE", "PUBLIC IP") if machines else ())]]
    for node in cluster.nodes:
        cidrs, pods = ", ".join(map(str, node.pod_cidrs)), str(len(cluster.pods_of(node.name)))
        rows.append([node.name, cidrs, cluster.backend.type, pods, str(cluster.mtu)])
        if machines:
            rows[-1] += [node.interface, ", ".join(map(str, node.public_ips))]
    return columns(rows)


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows as left-aligned columns, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths)).rstrip() for row in rows)
