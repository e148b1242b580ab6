"""Explain: root causes of what fails, from every node's evidence. Changes nothing.

collect (each node) ─> evidence (one world) ─> hypotheses (candidates) ─> inference (fewest that explain it)
                             ↑                                                        │
                             └── trace_probe (few nodes, few pairs) <── probe_selection
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Dict, List, Mapping, NamedTuple, Sequence, Tuple

from ..intent.cluster import Cluster
from .cause import Cause, Explanation, Pair, to_json
from .evidence import World
from .hypotheses import candidates
from .inference import infer
from .inferred import plans
from .probe_selection import asks
from .records import Ask, Evidence, Looks
from .trace_evidence import about

__all__ = ["Cause", "Explanation", "ask", "explain", "to_json"]


def ask(
    cluster: Cluster,
    addresses: Mapping[str, Sequence[str]],
    evidence: Mapping[str, Evidence],
    ends: Tuple[str, str] = ("", ""),
) -> Dict[str, List[Ask]]:
    """Node -> the probes that it should trace (``trace_probe.look``) before an explanation; nothing where nothing
    fails. ``ends``: only pairs from a source to a target, "" for any. Pure."""
    result = _infer(cluster, addresses, evidence, {})
    unexplained = [pair for pair in result.world.failing if not _is_covered(result.causes, pair)]
    return asks(result.world, result.candidates, result.causes, unexplained, ends)


def explain(
    cluster: Cluster,
    addresses: Mapping[str, Sequence[str]],
    evidence: Mapping[str, Evidence],
    inferred: Sequence[str] = (),
    looks: Mapping[str, Looks] = MappingProxyType({}),
) -> Explanation:
    """Compare the evidence of every node (``collect``, and ``trace_probe.look`` where it was asked) with intent and
    with each other's. Pure."""
    if cluster.discovered:
        inferred = (*inferred, "what nodes should have of each other from what most of them have")
    world, _, causes, ruled_out = _infer(cluster, addresses, evidence, looks)
    if cluster.discovered:  # no command of podwire's knows what these nodes should be
        causes = [cause._replace(verb="") for cause in causes]
    cannot = [(node, why) for node in sorted(evidence) for why in evidence[node]["cannot"]]
    cannot += [(node, why) for node in sorted(looks) for why in looks[node]["cannot"]]
    return Explanation(
        tuple(cause._replace(evidence=(*cause.evidence, *about(cause, world.looks))) for cause in causes),
        {pair: str(reason) for pair, reason in world.failing.items()},
        tuple(pair for pair in world.failing if not _is_covered(causes, pair)),
        tuple(ruled_out),
        tuple(inferred),
        tuple(node.name for node in cluster.nodes if node.name not in evidence),
        tuple(world.looks),
        tuple(f"{node}: {why}" for node, why in cannot),
    )


class _Inference(NamedTuple):
    world: World
    candidates: List[Cause]
    causes: List[Cause]
    ruled_out: List[str]


def _is_covered(causes: Sequence[Cause], pair: Pair) -> bool:
    return any(pair in cause.pairs for cause in causes)


def _infer(
    cluster: Cluster,
    addresses: Mapping[str, Sequence[str]],
    evidence: Mapping[str, Evidence],
    looks: Mapping[str, Looks],
) -> _Inference:
    if cluster.discovered:
        inferred_plans = plans(cluster, evidence)
        evidence = {name: {**node, "plan": inferred_plans[name]} for name, node in evidence.items()}
    world = World(cluster, addresses, evidence, looks)
    possible = list(candidates(world))
    return _Inference(world, possible, *infer(possible, set(world.failing)))
