"""Network policies that are not enforced."""

from __future__ import annotations

from typing import Iterator, NamedTuple, Optional

from ...model.command import command
from ..cause import Cause
from ..evidence import World
from ..titles import cause
from ..views import NodeView


class Denial(NamedTuple):
    """A NetworkPolicy that denies all ingress of a pod. ``pod``: the label ``name`` that it selects."""

    name: str
    namespace: str
    pod: str


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes."""
    for node in world.nodes.values():
        yield from _unenforced(world, node)


def _unenforced(world: World, node: NodeView) -> Iterator[Cause]:
    for path, document in node.evidence["policies"].items():
        denial = denial_of(document)
        pod = _pod(world, denial) if denial is not None else None
        if denial is None or pod is None or node.name != world.home[pod]:
            continue
        rules = [item["rule"] for item in node.evidence["nft"].get("", []) if "rule" in item]
        if any(denial.name in rule.get("comment", "") for rule in rules):
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


def denial_of(document: object) -> Optional[Denial]:
    """Read a NetworkPolicy; None for any other document, and for a policy that allows something."""
    spec, metadata = _object(document, "spec"), _object(document, "metadata")
    name = _object(_object(spec, "podSelector"), "matchLabels").get("name")
    types = spec.get("policyTypes")
    if not isinstance(name, str) or not isinstance(types, list) or "Ingress" not in types or spec.get("ingress"):
        return None
    return Denial(str(metadata.get("name", "")), str(metadata.get("namespace", "default")), name)


def _object(document: object, key: str) -> dict[str, object]:
    value = document.get(key) if isinstance(document, dict) else None
    return value if isinstance(value, dict) else {}


def _pod(world: World, denial: Denial) -> Optional[str]:
    """The pod that a policy selects. Runtimes give Kubernetes' names for pods, the namespace among them."""
    names = (denial.pod, f"{denial.namespace}.{denial.pod}")
    return next((pod for pod in world.home if pod.rpartition("/")[2] in names), None)
