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
    """Sentences that cover as many failures as they can, widest first, each with its count.

    ``failures`` are rows that begin with source and target. Nothing for what shares nothing.
    """
    full = {cell for cell, total in expected.items() if total and failing.get(cell, 0) >= total}
    if full == {cell for cell, total in expected.items() if total}:
        return [f"all {sum(failing.values())}"]
    if len(failures) == sum(failing.values()) > 1 and _one_pod(failures, ends):
        return _pods(failures, set(), ends)
    covered: Set[Cell] = set()
    said: List[str] = []

    def say(what: str, cells: Set[Cell]) -> None:
        if sum(failing[cell] for cell in cells - covered) > 1:
            said.append(f"{what}: {sum(failing[cell] for cell in cells)}")
            covered.update(cells)

    for what, cells in _candidates(expected):
        if cells and cells <= full and cells - covered:
            say(what, cells)
    said += _pods(failures, covered, ends)
    return said if len(said) <= MOST else [*said[:MOST], f"and {len(said) - MOST} more groups"]


def _one_pod(failures: Sequence[Sequence[str]], ends: Sequence[Endpoint]) -> bool:
    """Whether every failure has the same one pod at an end, and that pod is not all its node has."""
    common = set.intersection(*({failure[0], failure[1]} for failure in failures))
    pods_of: Dict[str, Set[str]] = {}
    for end in ends:
        pods_of.setdefault(end.node, set()).add(end.pod)
    return len(common) == 1 and any(common < pods for pods in pods_of.values())


def _candidates(expected: Cells) -> List[Tuple[str, Set[Cell]]]:
    """Sets of cells worth a sentence, widest first; of two names for the same cells the narrower."""
    cells = {cell for cell, total in expected.items() if total}
    cross = {cell for cell in cells if cell[0] != cell[1]}
    nodes = sorted({name for cell in cells for name in cell})
    found: List[Tuple[str, Set[Cell]]] = [("all between nodes", cross), ("all within nodes", cells - cross)]
    found += [(f"all to and from {node}", {c for c in cross if node in c}) for node in nodes if len(nodes) > 2]
    found += [(f"all towards {node} from other nodes", {c for c in cross if c[1] == node}) for node in nodes]
    found += [(f"all from {node} to other nodes", {c for c in cross if c[0] == node}) for node in nodes]
    found += [(f"all within {node}", {c for c in cells - cross if c[0] == node}) for node in nodes]
    found += [(f"all between {a} and {b}", {(a, b), (b, a)} & cross) for a, b in sorted(cross) if a < b]
    found += [(f"all from {a} to {b}", {(a, b)}) for a, b in sorted(cross)]
    names = {frozenset(cells): what for what, cells in found}
    return [(what, set(cells)) for cells, what in names.items()]


def _pods(failures: Sequence[Sequence[str]], covered: Set[Cell], ends: Sequence[Endpoint]) -> List[str]:
    """Pods that most of the remaining failures have at one end."""
    node_of = {end.pod: end.node for end in ends}
    rest = [
        failure
        for failure in failures
        if (node_of.get(failure[0], failure[0]), node_of.get(failure[1], "")) not in covered
    ]
    said: List[str] = []
    while len(rest) > 1:
        towards = Counter(each[1] for each in rest)
        away = Counter(each[0] for each in rest)
        both = Counter({pod: towards[pod] + away[pod] for pod in towards if pod in away})
        choices = [(both, "to and from"), (towards, "towards"), (away, "from")]
        counts, words = max(
            ((counts, words) for counts, words in choices if counts), key=lambda each: each[0].most_common(1)[0][1]
        )
        (pod, count), *others = counts.most_common(2)
        if count < 2 or (others and others[0][1] == count and count < len(rest)):
            break
        if others and others[0][1] == count:  # the same two pods: neither has more to do with it
            said.append(f"between {' and '.join(sorted((pod, others[0][0])))}: {count}")
            break
        said.append(f"{words} {pod}: {count}")
        rest = [each for each in rest if pod not in _ends(each, words)]
    return said


def _ends(failure: Sequence[str], words: str) -> Sequence[str]:
    return {"to and from": failure[:2], "towards": failure[1:2], "from": failure[:1]}[words]
