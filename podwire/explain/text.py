"""An explanation as plain text for a terminal."""

from __future__ import annotations

import shlex
from typing import List, Sequence, Tuple

from ..model.command import script
from . import trace_evidence
from .cause import Cause, Explanation, Pair

#: Pairs listed one by one.
SHOWN = 6


def render(found: Explanation, ends: Tuple[str, str] = ("", ""), inventory: str = "") -> str:
    """Each cause with how it is known, whom it hurts and what mends it; then what is left unexplained. ``inventory``:
    what podwire's own verbs are to be called with."""
    lines = [""]
    lines += [f"inferred: {each}" for each in found.inferred]
    if any(ends):
        lines.append(f"about {ends[0] or 'all'} -> {ends[1] or 'all'}")
    for number, each in enumerate(found.causes, 1):
        lines += ["", *_cause(number, each, found, f" -i {shlex.quote(inventory)}" if inventory else "")]
    if found.unexplained:
        lines += ["", f"unexplained: {_pairs(found.unexplained)}"]
        lines += [f"    {source} -> {target}: {found.failing[source, target]}"
                  for source, target in sorted(found.unexplained)[:SHOWN]]  # fmt: skip
        for node, look in found.looks:
            if (look["source"], look["target"]) in found.unexplained:
                lines += [f"  {line}" for line in trace_evidence.words(node, look)]
        lines += ["  ruled out: every object of the plan, veth pairs, bridges, nftables rules and leases were compared"]
        lines += [f"    {each}" for each in found.ruled_out]
    if not found.causes and not found.unexplained:
        words = "nothing fails between these two" if any(ends) else "nothing fails, and nothing differs from intent"
        words += " on the nodes that reported" if found.missing else ""
        lines += ["", words]
    lines += ["", *(f"without: {each}" for each in found.cannot)] if found.cannot else []
    if found.missing:
        lines += ["", f"did not report: {', '.join(found.missing)}"]
    return "\n".join([*lines, ""])


def _cause(number: int, cause: Cause, found: Explanation, inventory: str) -> List[str]:
    hurt = sorted(cause.pairs & found.failing.keys())
    lines = [f"{number}. {cause.id}: {cause.title}", f"   object      {cause.object} ({_where(cause)})"]
    lines += [f"   {'evidence' if not index else '':10}  {line}" for index, line in enumerate(cause.evidence)]
    lines.append(f"   affected    {_pairs(hurt) if hurt else 'no pair yet'}")
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
