"""Fewest hypotheses that account for all deviations and failing pairs, and that no passing pair contradicts. Pure.

Failing pairs and deviations have to be accounted for; a cause's consequences are deviations that it
accounts for as well, so that the one that explains more is chosen first and leaves the smaller ones nothing to explain.
A candidate without a deviation (a rule of somebody's firewall) comes last, for failing pairs that are left, and only
where most of what it would break fails. Passing pairs speak against deviations, too: against one that breaks few of
the pairs that it would, where other causes account for these.
"""

from __future__ import annotations

from typing import Iterable, List, Set, Tuple

from .cause import Cause, Pair


def infer(candidates: Iterable[Cause], failing: Set[Pair]) -> Tuple[List[Cause], List[str]]:
    """(causes, the one that explains most first; what was ruled out and why)."""
    left: List[Cause] = []
    ruled_out: List[str] = []
    for candidate in candidates:
        if candidate.quiet or candidate.pairs & failing:
            left.append(candidate)
        else:
            ruled_out.append(
                f"{candidate.id} ({candidate.object} on {candidate.node}): everything that it would break passes"
            )
    chosen = _deviations(left, failing)
    while True:  # a contradicted one goes, and leaves to others what it accounted for
        against = [cause for cause in chosen if _is_contradicted(cause, chosen, failing)]
        if not against:
            break
        worst = min(against, key=lambda cause: _confidence(cause, failing))
        left.remove(worst)
        ruled_out.append(_passing(worst))
        chosen = _deviations(left, failing)
    left = [cause for cause in left if cause not in chosen]
    open_pairs = failing.difference(*(cause.pairs for cause in chosen))
    loose = [cause for cause in left if not cause.keys]
    while loose and open_pairs:
        best = max(loose, key=lambda cause: (len(cause.pairs & open_pairs), cause.id))
        loose.remove(best)
        if best.pairs & open_pairs and 2 * len(best.pairs & failing) > len(best.pairs):
            left.remove(best)
            open_pairs -= best.pairs
            chosen.append(best)
    contradicted = [cause for cause in left if not cause.keys and cause.pairs & open_pairs]
    for cause in contradicted:
        left.remove(cause)
        ruled_out.append(_passing(cause))
    ruled_out += [f"{cause.id} ({cause.object} on {cause.node}): a consequence of the causes above" for cause in left]
    sure = [cause._replace(confidence=_confidence(cause, failing)) for cause in chosen]
    sure.sort(key=lambda cause: (-len(cause.pairs & failing) / max(1, len(failing)) * cause.confidence, cause.quiet))
    return sure, ruled_out


def _deviations(candidates: List[Cause], failing: Set[Pair]) -> List[Cause]:
    """The fewest that account for all deviations, the one that accounts for most first."""
    left, chosen = list(candidates), []
    open_keys = {key for cause in left for key in cause.keys}
    open_pairs = set(failing)
    while left and open_keys:
        best = max(left, key=lambda cause: (len(cause.keys & open_keys), len(cause.pairs & open_pairs), cause.id))
        if not best.keys & open_keys:
            break
        left.remove(best)
        open_keys -= best.keys
        open_pairs -= best.pairs
        chosen.append(best)
    return chosen


def _is_contradicted(cause: Cause, chosen: List[Cause], failing: Set[Pair]) -> bool:
    """A deviation that does no harm: most of what it would break passes, and other causes account for the rest."""
    if cause.quiet or 2 * len(cause.pairs & failing) >= len(cause.pairs):
        return False
    others: Set[Pair] = set().union(*(other.pairs for other in chosen if other is not cause and not other.quiet))
    return cause.pairs & failing <= others


def _passing(cause: Cause) -> str:
    return f"{cause.id} ({cause.object} on {cause.node}): most of what it would break passes"


def _confidence(cause: Cause, failing: Set[Pair]) -> float:
    """How much of what it would break is broken; what does not show in pairs rests on the deviation alone."""
    if not cause.pairs & failing:
        return 0.8
    return 0.6 + 0.4 * len(cause.pairs & failing) / len(cause.pairs)
