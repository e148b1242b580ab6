"""Explain: root causes of what fails, from every node's evidence. Changes nothing.

collect (each node) ─> evidence (one world) ─> hypotheses (candidates) ─> inference (fewest that explain it)
                             ↑                                                        │
                             └───────── closer (few nodes, few pairs) <── asking ─────┘
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from ..intent.cluster import Cluster
from .cause import Cause, Explanation, Pair, to_json
from .evidence import World
from .hypotheses import candidates
from .inference import infer
from .inferred import plans
from .probe_selection import asks
from .trace_evidence import about

__all__ = ["Cause", "Explanation", "ask", "explain", "to_json"]


def ask(
    cluster: Cluster,
    addresses: Mapping[str, Sequence[str]],
    told: Mapping[str, Any],
    ends: Tuple[str, str] = ("", ""),
) -> Dict[str, List[Dict[str, Any]]]:
    """Node -> what it should look at more closely (``closer.look``) before an explanation; nothing where nothing fails.
    ``ends``: only pairs from a source to a target, "" for any. Pure."""
    world, found, possible = _inferred(cluster, addresses, told, {})
    return asks(world, possible, found[0], [pair for pair in world.failing if not _covered(found[0], pair)], ends)


def explain(
    cluster: Cluster,
    addresses: Mapping[str, Sequence[str]],
    told: Mapping[str, Any],
    inferred: Sequence[str] = (),
    looks: Mapping[str, Any] = MappingProxyType({}),
) -> Explanation:
    """Hold what every node told (``collect``, and ``closer.look`` where it was asked) against intent and against each
    other. Pure."""
    if cluster.discovered:
        inferred = (*inferred, "what nodes should have of each other from what most of them have")
    world, (causes, ruled_out), _ = _inferred(cluster, addresses, told, looks)
    if cluster.discovered:  # nothing of podwire's knows what these nodes should be
        causes = [cause._replace(verb="") for cause in causes]
    return Explanation(
        tuple(cause._replace(evidence=(*cause.evidence, *about(cause, world.looks))) for cause in causes),
        world.failing,
        tuple(pair for pair in world.failing if not _covered(causes, pair)),
        tuple(ruled_out),
        tuple(inferred),
        tuple(node.name for node in cluster.nodes if node.name not in told),
        tuple(world.looks),
        tuple(f"{node}: {why}" for kind in (told, looks) for node in sorted(kind) for why in kind[node]["cannot"]),
    )


def _covered(causes: Sequence[Cause], pair: Pair) -> bool:
    return any(pair in cause.pairs for cause in causes)


def _inferred(
    cluster: Cluster, addresses: Mapping[str, Sequence[str]], told: Mapping[str, Any], looks: Mapping[str, Any]
) -> Tuple[World, Tuple[List[Cause], List[str]], List[Cause]]:
    if cluster.discovered:
        rows = plans(cluster, told)
        told = {name: {**each, "plan": rows[name]} for name, each in told.items()}
    world = World(cluster, addresses, told, looks)
    possible = list(candidates(world))
    return world, infer(possible, set(world.failing)), possible
