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
    pairs:     pairs that suffer if it is true.
    evidence:  expected against found, counters, the kernel's own word.
    fix:       commands, one after the other. verb: what of podwire does the same, "" if nothing does.
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
    ``ruled_out``: what was looked at and is not it; ``inferred``: from what intent was taken; ``looks``: closer looks,
    each with the node that made it; ``cannot``: what could not be read or asked."""

    causes: Tuple[Cause, ...]
    failing: Dict[Pair, str]
    unexplained: Tuple[Pair, ...]
    ruled_out: Tuple[str, ...]
    inferred: Tuple[str, ...] = ()
    missing: Tuple[str, ...] = ()
    looks: Tuple[Tuple[str, Look], ...] = ()
    cannot: Tuple[str, ...] = ()

    def about(self, source: str, target: str) -> Explanation:
        """Of all this only what hurts pairs from ``source`` to ``target``, though it need not break them; "" is any."""
        if not source and not target:
            return self

        def meant(pair: Pair) -> bool:
            return source in ("", pair[0]) and target in ("", pair[1])

        ends = {pair: why for pair, why in self.failing.items() if meant(pair)}
        causes = tuple(
            cause for cause in self.causes
            if cause.pairs & ends.keys() or (cause.quiet and any(map(meant, cause.pairs)))
        )  # fmt: skip
        return self._replace(
            causes=causes, failing=ends, unexplained=tuple(pair for pair in self.unexplained if pair in ends)
        )


def to_json(found: Explanation) -> Dict[str, Any]:
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
                "pairs": sorted(map(list, cause.pairs & found.failing.keys())),
                "evidence": list(cause.evidence),
                "fix": script(cause.fix),
                "verb": cause.verb,
                "confidence": round(cause.confidence, 2),
            }
            for cause in found.causes
        ],
        "failing": [[*pair, why] for pair, why in sorted(found.failing.items())],
        "unexplained": sorted(map(list, found.unexplained)),
        "ruled_out": list(found.ruled_out),
        "inferred": list(found.inferred),
        "missing": list(found.missing),
        "cannot": list(found.cannot),
        "looks": [{"node": node, **look} for node, look in found.looks],
    }
