"""Nodes that gave no evidence: a cause of what fails towards them and no other cause explains."""

from __future__ import annotations

from typing import Iterable

from ..intent.cluster import Cluster
from .cause import Cause, Explanation
from .titles import TITLES

ID = "node_silent"


def blamed(explanation: Explanation, cluster: Cluster, lost: Iterable[str]) -> Explanation:
    """With a cause for each of ``lost`` that unexplained pairs have at an end. Pure."""
    unreachable, left = [], set(explanation.unexplained)
    for name in lost:
        ends = {name, *(pod.name for pod in cluster.pods_of(name))}
        pairs = frozenset(pair for pair in left if ends & set(pair))
        if not pairs:
            continue
        left -= pairs
        is_machine = cluster.node(name).kind == "ssh"
        unreachable.append(
            Cause(
                ID,
                TITLES[ID],
                f"node {name}",
                name,
                pairs=pairs,
                evidence=("expected: an answer from the node", "found: none; the run's error for it says why"),
                verb="./run preflight" if is_machine else "./run site",
                confidence=0.8,
            )
        )
    affecting = [cause for cause in explanation.causes if cause.pairs & explanation.failing.keys()]
    quiet = [cause for cause in explanation.causes if cause not in affecting]
    return explanation._replace(
        causes=(*affecting, *unreachable, *quiet),
        unexplained=tuple(pair for pair in explanation.unexplained if pair in left),
    )
