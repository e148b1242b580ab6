"""An explanation as plain text for a terminal."""

from __future__ import annotations

import shlex
from typing import List, Sequence, Tuple

from ..model.command import script
from . import trace_evidence
from .cause import Cause, Explanation, Pair

#: Pairs listed one by one.
SHOWN = 6


def render(explanation: Explanation, ends: Tuple[str, str] = ("", ""), inventory: str = "") -> str:
    """Each cause with its evidence, the affected pairs and its fix; then what is left unexplained. ``inventory``: the
    one that podwire's own commands need."""
    lines = [""]
    lines += [f"inferred: {note}" for note in explanation.inferred]
    if any(ends):
        lines.append(f"about {ends[0] or 'all'} -> {ends[1] or 'all'}")
    for number, cause in enumerate(explanation.causes, 1):
        lines += ["", *_cause(number, cause, explanation, f" -i {shlex.quote(inventory)}" if inventory else "")]
    if explanation.unexplained:
        lines += ["", f"unexplained: {_pairs(explanation.unexplained)}"]
        lines += [f"    {source} -> {target}: {explanation.failing[source, target]}"
                  for source, target in sorted(explanation.unexplained)[:SHOWN]]  # fmt: skip
        for node, look in explanation.looks:
            if (look["source"], look["target"]) in explanation.unexplained:
                lines += [f"  {text}" for text in trace_evidence.lines(node, look)]
        lines += ["  ruled out: every object of the plan, veth pairs, bridges, nftables rules and leases were compared"]
        lines += [f"    {candidate}" for candidate in explanation.ruled_out]
    if not explanation.causes and not explanation.unexplained:
        line = "nothing fails between these two" if any(ends) else "nothing fails, and nothing differs from intent"
        line += " on the nodes that reported" if explanation.missing else ""
        lines += ["", line]
    lines += ["", *(f"without: {problem}" for problem in explanation.cannot)] if explanation.cannot else []
    if explanation.missing:
        lines += ["", f"did not report: {', '.join(explanation.missing)}"]
    return "\n".join([*lines, ""])


def _cause(number: int, cause: Cause, explanation: Explanation, inventory: str) -> List[str]:
    affected = sorted(cause.pairs & explanation.failing.keys())
    lines = [f"{number}. {cause.id}: {cause.title}", f"   object      {cause.object} ({_where(cause)})"]
    lines += [f"   {'evidence' if not index else '':10}  {line}" for index, line in enumerate(cause.evidence)]
    lines.append(f"   affected    {_pairs(affected) if affected else 'no pair yet'}")
    verb = f"{cause.verb}{inventory}" if cause.verb.startswith("./run") else cause.verb
    lines.append(f"   fix         {script(cause.fix) or verb}")
    if cause.fix and verb:
        lines.append(f"   or          {verb}")
    return [*lines, f"   confidence  {cause.confidence:.0%}"]


def _where(cause: Cause) -> str:
    return f"on {cause.node}" if cause.place == "node" else f"on {cause.node}, {cause.place.replace(':', ' ')}"


def _pairs(pairs: Sequence[Pair]) -> str:
    shown = [f"{source} -> {target}" for source, target in pairs[:SHOWN]]
    more = f" and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
    return f"{len(pairs)} pairs: {', '.join(shown)}{more}" if len(pairs) > 1 else ", ".join(shown)
