"""The parts of a verdict: guarantees with counts, and failed checks. Values only."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

#: Failing checks that a verdict lists; all of them are counted and grouped.
LISTED = 50


class Failure(NamedTuple):
    """One check that failed. ``source`` is a pod or a node, ``target`` a pod; ``cause`` groups failures."""

    source: str
    target: str
    address: str
    cause: str
    reason: str

    def __str__(self) -> str:
        arrow = " -> ".join(filter(None, (self.source, self.target)))
        return f"{arrow} ({self.address}): {self.reason}" if self.address else f"{arrow}: {self.reason}"


#: Checks from a node's pods to another's: source's node, target's node, passed, failed, not run.
Class = Tuple[str, str, int, int, int]


class Guarantee(NamedTuple):
    """The verdict on one guarantee. ``unit`` is what is counted; ``shared`` says what failures have in common;
    ``classes`` are the counts by pair of nodes, empty if checks are not about pairs.
    ``seconds`` is the time of the slowest node, 0 for comparisons."""

    key: str
    title: str
    unit: str
    passed: int
    failed: int
    not_run: int
    failures: Tuple[Failure, ...] = ()
    shared: Tuple[str, ...] = ()
    notes: Tuple[str, ...] = ()
    seconds: float = 0.0
    classes: Tuple[Class, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything that had to run ran, and passed."""
        return not self.failed and not self.not_run


def guarantee(
    key: str, title: str, unit: str, ran: int, failures: Sequence[Failure], not_run: int = 0, notes: Sequence[str] = ()
) -> Guarantee:
    """A guarantee of which ``ran`` checks were made; each failure is one of them."""
    listed: List[Failure] = list(failures[:LISTED])
    return Guarantee(
        key, title, unit, ran - len(failures), len(failures), not_run, tuple(listed), by_cause(failures), tuple(notes)
    )


def by_cause(failures: Sequence[Failure], total: Optional[int] = None) -> Tuple[str, ...]:
    """ "with stale MAC: 4" for each cause, if there is more than one. For a truncated list (``total``
    is larger) only the causes, without counts."""
    counts: Dict[str, int] = {}
    for failure in failures:
        counts[failure.cause] = counts.get(failure.cause, 0) + 1
    if len(counts) < 2 and len(failures) > 1 and total is not None:
        return ()
    whole = total is None or total == len(failures)
    return tuple(f"with {cause}: {count}" if whole else f"with {cause}" for cause, count in counts.items() if count > 1)
