"""Network policies that nobody enforces."""

from __future__ import annotations

from typing import Any, Iterator, Optional

from ...model.command import command
from ..cause import Cause
from ..evidence import NodeView, World
from ..titles import cause


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes."""
    for node in world.nodes.values():
        yield from _unenforced(world, node)


def _unenforced(world: World, node: NodeView) -> Iterator[Cause]:
    for path, policy in node.told["policies"].items():
        pod = _denied(world, policy)
        if pod is None or node.name != world.home[pod]:
            continue
        rules = [each["rule"] for each in node.told["nft"].get("", []) if "rule" in each]
        if any(policy["metadata"]["name"] in rule.get("comment", "") for rule in rules):
            continue
        others = [other for other in world.home if other != pod]
        reaching = sum((other, pod) not in world.failures["pairs"] for other in others)
        if not reaching:
            continue  # something keeps them out
        yield cause(
            "policy_not_enforced", f"file {path}", node.name, "", "node", frozenset({f"{node.name} policy {path}"}),
            evidence=[f"expected: nobody reaches {pod}",
                      f"found: {reaching} of {len(others)} pods do, and no rule implements the policy"],
            fix=[command("rm {}", path)._replace(comment="or install what enforces policies")], quiet=True,
        )  # fmt: skip


def _denied(world: World, policy: Any) -> Optional[str]:
    """The pod whose ingress a NetworkPolicy denies altogether."""
    spec = policy.get("spec", {})
    name = spec.get("podSelector", {}).get("matchLabels", {}).get("name", "")
    # Runtimes tell Kubernetes' names for pods, the namespace among them.
    names = (name, f"{policy['metadata'].get('namespace', 'default')}.{name}")
    denies = "Ingress" in spec.get("policyTypes", []) and not spec.get("ingress")
    return next((pod for pod in world.home if denies and pod.rpartition("/")[2] in names), None)
