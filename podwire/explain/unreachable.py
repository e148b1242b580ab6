"""Nodes that should have told something and did not: what fails towards them is theirs, unless another cause has it."""

from __future__ import annotations

from typing import Iterable

from ..intent.cluster import Cluster
from .cause import Cause, Explanation
from .titles import TITLES

ID = "node_silent"


def blamed(found: Explanation, cluster: Cluster, lost: Iterable[str]) -> Explanation:
    """With a cause for each of ``lost`` that unexplained pairs have at an end. Pure."""
    silent, left = [], set(found.unexplained)
    for name in lost:
        own = {name, *(pod.name for pod in cluster.pods_of(name))}
        pairs = frozenset(pair for pair in left if own & set(pair))
        if not pairs:
            continue
        left -= pairs
        machine = cluster.node(name).kind == "ssh"
        silent.append(
            Cause(
                ID,
                TITLES[ID],
                f"node {name}",
                name,
                pairs=pairs,
                evidence=("expected: an answer from the node", "found: none; the run's error for it says why"),
                verb="./run preflight" if machine else "./run site",
                confidence=0.8,
            )
        )
    felt = [cause for cause in found.causes if cause.pairs & found.failing.keys()]
    quiet = [cause for cause in found.causes if cause not in felt]
    return found._replace(
        causes=(*felt, *silent, *quiet), unexplained=tuple(pair for pair in found.unexplained if pair in left)
    )
