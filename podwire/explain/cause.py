"""What an explanation is made of. Values only."""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, NamedTuple, Tuple

from ..model.command import Command, script
from .records import Look

#: (source, target): pods, or a node towards its own pods and they towards it.
Pair = Tuple[str, str]


class Cause(NamedTuple):
    """A candidate for a root cause.

    id:        the catalogue's. title: one line.
    object:    what is wrong, as podwire prints objects, as far as it identifies one.
    node, device, place: where. ``place``: ``node``, ``pod:NAME`` or ``underlay``: where ``fix`` is to be executed is
               always the node, or the switch for ``underlay``.
    keys:      the deviations that it accounts for, its consequences among them.
    pairs:     pairs that it affects if it is true.
    evidence:  expected against found, counters, kernel lookups and drop reasons.
    fix:       commands, one after the other. verb: podwire's own command that does the same, "" for none.
    quiet:     it needs no failing pair to be believed: it shows otherwise, or later.
    """

    id: str
    title: str
    object: str
    node: str
    device: str = ""
    place: str = "node"
    keys: FrozenSet[str] = frozenset()
    pairs: FrozenSet[Pair] = frozenset()
    evidence: Tuple[str, ...] = ()
    fix: Tuple[Command, ...] = ()
    verb: str = ""
    quiet: bool = False
    confidence: float = 1.0


class Explanation(NamedTuple):
    """``causes``, the one that explains most first; ``unexplained``: failing pairs that none of them covers;
    ``ruled_out``: candidates that are not it, and why; ``inferred``: from what intent was inferred; ``looks``: traced
    probes, each with the node that sent it; ``cannot``: what could not be read or traced."""

    causes: Tuple[Cause, ...]
    failing: Dict[Pair, str]
    unexplained: Tuple[Pair, ...]
    ruled_out: Tuple[str, ...]
    inferred: Tuple[str, ...] = ()
    missing: Tuple[str, ...] = ()
    looks: Tuple[Tuple[str, Look], ...] = ()
    cannot: Tuple[str, ...] = ()

    def about(self, source: str, target: str) -> Explanation:
        """The part that affects pairs from ``source`` to ``target``, though it need not break them; "" is any."""
        if not source and not target:
            return self

        def matches(pair: Pair) -> bool:
            return source in ("", pair[0]) and target in ("", pair[1])

        failing = {pair: why for pair, why in self.failing.items() if matches(pair)}
        causes = tuple(
            cause for cause in self.causes
            if cause.pairs & failing.keys() or (cause.quiet and any(map(matches, cause.pairs)))
        )  # fmt: skip
        return self._replace(
            causes=causes, failing=failing, unexplained=tuple(pair for pair in self.unexplained if pair in failing)
        )


def to_json(explanation: Explanation) -> Dict[str, Any]:
    """For reports: ``causes`` with their fields, and what they do not explain."""
    return {
        "format": "podwire causes",
        "version": 1,
        "causes": [
            {
                "id": cause.id,
                "title": cause.title,
                "object": cause.object,
                "node": cause.node,
                "device": cause.device,
                "place": cause.place,
                "pairs": sorted(map(list, cause.pairs & explanation.failing.keys())),
                "evidence": list(cause.evidence),
                "fix": script(cause.fix),
                "verb": cause.verb,
                "confidence": round(cause.confidence, 2),
            }
            for cause in explanation.causes
        ],
        "failing": [[*pair, why] for pair, why in sorted(explanation.failing.items())],
        "unexplained": sorted(map(list, explanation.unexplained)),
        "ruled_out": list(explanation.ruled_out),
        "inferred": list(explanation.inferred),
        "missing": list(explanation.missing),
        "cannot": list(explanation.cannot),
        "looks": [{"node": node, **look} for node, look in explanation.looks],
    }
