"""What failing pairs share: "all towards node-3" says more than forty lines. Pure.

Counts for each (source's node, target's node) are complete even where failures are too many to be
listed, so nodes are judged by counts and pods by the list.
"""

from __future__ import annotations

from collections import Counter
from typing import Dict, List, Sequence, Set, Tuple

from .expect import Endpoint

#: Sentences at most; where failures share nothing wider, more would only be a list again.
MOST = 12

Cell = Tuple[str, str]
#: (source's node, target's node) -> number of checks.
Cells = Dict[Cell, int]


def describe(expected: Cells, failing: Cells, failures: Sequence[Sequence[str]], ends: Sequence[Endpoint]) -> List[str]:
    """Sentences that cover as many failures as possible, widest first, each with its count.

    ``failures`` are rows that begin with source and target. Empty if they have nothing in common.
    """
    full = {cell for cell, total in expected.items() if total and failing.get(cell, 0) >= total}
    if full == {cell for cell, total in expected.items() if total}:
        return [f"all {sum(failing.values())}"]
    if len(failures) == sum(failing.values()) > 1 and _one_pod(failures, ends):
        return _pods(failures, set(), ends)
    covered: Set[Cell] = set()
    sentences: List[str] = []

    def say(what: str, cells: Set[Cell]) -> None:
        if sum(failing[cell] for cell in cells - covered) > 1:
            sentences.append(f"{what}: {sum(failing[cell] for cell in cells)}")
            covered.update(cells)

    for what, cells in _candidates(expected):
        if cells and cells <= full and cells - covered:
            say(what, cells)
    sentences += _pods(failures, covered, ends)
    return sentences if len(sentences) <= MOST else [*sentences[:MOST], f"and {len(sentences) - MOST} more groups"]


def _one_pod(failures: Sequence[Sequence[str]], ends: Sequence[Endpoint]) -> bool:
    """Whether every failure has the same pod at an end, and its node has other pods too."""
    common = set.intersection(*({failure[0], failure[1]} for failure in failures))
    pods_of: Dict[str, Set[str]] = {}
    for end in ends:
        pods_of.setdefault(end.node, set()).add(end.pod)
    return len(common) == 1 and any(common < pods for pods in pods_of.values())


def _candidates(expected: Cells) -> List[Tuple[str, Set[Cell]]]:
    """Sets of cells and their names, widest first; of two names for the same cells the narrower."""
    cells = {cell for cell, total in expected.items() if total}
    cross = {cell for cell in cells if cell[0] != cell[1]}
    nodes = sorted({name for cell in cells for name in cell})
    candidates: List[Tuple[str, Set[Cell]]] = [("all between nodes", cross), ("all within nodes", cells - cross)]
    candidates += [(f"all to and from {node}", {c for c in cross if node in c}) for node in nodes if len(nodes) > 2]
    candidates += [(f"all towards {node} from other nodes", {c for c in cross if c[1] == node}) for node in nodes]
    candidates += [(f"all from {node} to other nodes", {c for c in cross if c[0] == node}) for node in nodes]
    candidates += [(f"all within {node}", {c for c in cells - cross if c[0] == node}) for node in nodes]
    candidates += [(f"all between {a} and {b}", {(a, b), (b, a)} & cross) for a, b in sorted(cross) if a < b]
    candidates += [(f"all from {a} to {b}", {(a, b)}) for a, b in sorted(cross)]
    names = {frozenset(cells): what for what, cells in candidates}
    return [(what, set(cells)) for cells, what in names.items()]


def _pods(failures: Sequence[Sequence[str]], covered: Set[Cell], ends: Sequence[Endpoint]) -> List[str]:
    """Pods that most of the remaining failures have at one end."""
    node_of = {end.pod: end.node for end in ends}
    remaining = [
        failure
        for failure in failures
        if (node_of.get(failure[0], failure[0]), node_of.get(failure[1], "")) not in covered
    ]
    sentences: List[str] = []
    while len(remaining) > 1:
        towards = Counter(failure[1] for failure in remaining)
        away = Counter(failure[0] for failure in remaining)
        both = Counter({pod: towards[pod] + away[pod] for pod in towards if pod in away})
        choices = [(both, "to and from"), (towards, "towards"), (away, "from")]
        counts, words = max(
            ((counts, words) for counts, words in choices if counts),
            key=lambda choice: choice[0].most_common(1)[0][1],
        )
        (pod, count), *others = counts.most_common(2)
        if count < 2 or (others and others[0][1] == count and count < len(remaining)):
            break
        if others and others[0][1] == count:  # both pods occur equally often
            sentences.append(f"between {' and '.join(sorted((pod, others[0][0])))}: {count}")
            break
        sentences.append(f"{words} {pod}: {count}")
        remaining = [failure for failure in remaining if pod not in _ends(failure, words)]
    return sentences


def _ends(failure: Sequence[str], words: str) -> Sequence[str]:
    return {"to and from": failure[:2], "towards": failure[1:2], "from": failure[:1]}[words]
