"""A node and its pods as hypotheses see them."""

from __future__ import annotations

from typing import Dict, List, Mapping, NamedTuple, Optional, Tuple, Type, TypeVar

from ..intent.cluster import Node
from ..model.objects import Object
from ..observe.records import LinkRow, NamespaceRows, Snapshot
from ..observe.view import View
from ..plan import Operation
from ..prove.observations import Observations
from .operations import Change, changes, device_of, from_row, identity
from .records import Evidence, Looks, RuleId

_T = TypeVar("_T", bound=Object)


class PodView(NamedTuple):
    """A sandbox: its tables, the node's end of its veth pair, and the path of its namespace."""

    name: str
    node: str
    netns: str
    inside: View
    namespace: NamespaceRows
    port: Optional[LinkRow]

    @property
    def device(self) -> Optional[LinkRow]:
        """Its eth0, or whatever leads to the node."""
        for link in self.inside.links.values():
            if link["kind"] != "loopback":
                return link
        return None


class NodeView(NamedTuple):
    """A node: intent, what was collected, its tables and its pods. ``hits``: packets that a rule counted, or was traced
    to have dropped, while probes ran."""

    node: Node
    evidence: Evidence
    snapshot: Snapshot
    namespace: NamespaceRows
    view: View
    pods: Dict[str, PodView]
    plan: Tuple[Operation, ...]
    hits: Mapping[RuleId, int]

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def observations(self) -> Observations:
        """What its prober observed."""
        return self.evidence["observations"]

    def sysctl(self, key: str) -> str:
        """A sysctl's value, "" where the kernel has none."""
        return self.namespace["sysctls"].get(key, "")

    def changes(self, kind: Type[_T], device: str = "") -> List[Change[_T]]:
        """Operations of the plan on objects of a kind."""
        return [change for change in changes(self.plan, kind) if not device or device_of(change.object) == device]

    def key(self, change: Change[Object]) -> str:
        """The deviation that an operation of the plan stands for."""
        target = change.object
        return f"{self.name} {type(target).__name__} {device_of(target)} {identity(target)}"


def _hits(evidence: Evidence, looks: Optional[Looks]) -> Dict[RuleId, int]:
    """Packets of each rule. Traces tell of dropped packets also where a rule has no counter."""
    hits = {RuleId(place, chain, handle): packets for place, chain, handle, packets in evidence["hits"]}
    for look in looks["looks"] if looks else ():
        for place, chain, handle, drops in look["verdicts"]:
            if drops:
                rule = RuleId(place, chain, handle)
                hits[rule] = hits.get(rule, 0) + 1
    return hits


def node_view(node: Node, evidence: Evidence, looks: Optional[Looks]) -> NodeView:
    snapshot = evidence["observations"]["snapshot"]
    view = View(snapshot["namespace"])
    ends = view.veth_ends()
    pods = {}
    for name, sandbox in snapshot["sandboxes"].items():
        inside = View(sandbox["namespace"])
        outside = [ends.get((sandbox["nsid"], link["ifindex"])) for link in inside.links.values()]
        port = next((link for link in outside if link is not None), None)
        pods[name] = PodView(name, node.name, sandbox["netns"], inside, sandbox["namespace"], port)
    plan = tuple(map(from_row, evidence["plan"]))
    return NodeView(node, evidence, snapshot, snapshot["namespace"], view, pods, plan, _hits(evidence, looks))
