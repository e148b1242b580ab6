"""Explain: root causes of what fails, from every node's evidence. Changes nothing.

collect (each node) ─> evidence (one world) ─> hypotheses (candidates) ─> inference (fewest that explain it)
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ..cluster import Cluster
from .cause import Cause, Explanation, to_json
from .evidence import World
from .hypotheses import candidates
from .inference import infer
from .inferred import plans

__all__ = ["Cause", "Explanation", "explain", "to_json"]


def explain(
    cluster: Cluster, addresses: Mapping[str, Sequence[str]], told: Mapping[str, Any], inferred: Sequence[str] = ()
) -> Explanation:
    """Hold what every node told (``collect``) against intent and against each other. Pure."""
    if cluster.discovered:
        rows = plans(cluster, told)
        told = {name: {**each, "plan": rows[name]} for name, each in told.items()}
        inferred = (*inferred, "what nodes should have of each other from what most of them have")
    world = World(cluster, addresses, told)
    causes, ruled_out = infer(candidates(world), set(world.failing))
    if cluster.discovered:  # nothing of podwire's knows what these nodes should be
        causes = [each._replace(verb="") for each in causes]
    covered = {pair for each in causes for pair in each.pairs}
    return Explanation(
        tuple(causes),
        world.failing,
        tuple(pair for pair in world.failing if pair not in covered),
        tuple(ruled_out),
        tuple(inferred),
        tuple(node.name for node in cluster.nodes if node.name not in told),
    )
