"""All nodes' evidence as one world that hypotheses ask: who fails, what each node and pod has, what it should have.

Deviations are facts that want an explanation, each by a key such as ``node-1 route 10.244.1.0/24``; a cause tells
which of them it accounts for.
"""

from __future__ import annotations

from ipaddress import ip_address
from types import MappingProxyType
from typing import Any, Dict, FrozenSet, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..intent.cluster import Cluster, Node
from ..model.command import Command
from ..model.objects import IPNetwork
from ..prove.consistency import View
from .cause import Pair
from .commands import FLOOD

_KINDS = ("pairs", "agents", "nodes", "path_mtu", "bulk")


class PodView(NamedTuple):
    """A sandbox: its tables, the node's end of its veth pair, and the path of its namespace."""

    name: str
    node: str
    netns: str
    inside: View
    namespace: Mapping[str, Any]
    port: Optional[Mapping[str, Any]]

    @property
    def device(self) -> Optional[Mapping[str, Any]]:
        """Its eth0, or whatever leads to the node."""
        for link in self.inside.links.values():
            if link["kind"] != "loopback":
                return link
        return None


class NodeView(NamedTuple):
    """A node: intent, what was collected, its tables and its pods."""

    node: Node
    told: Mapping[str, Any]
    snapshot: Mapping[str, Any]
    namespace: Mapping[str, Any]
    view: View
    pods: Dict[str, PodView]

    @property
    def name(self) -> str:
        return self.node.name

    def sysctl(self, key: str) -> str:
        """A sysctl's value, "" where the kernel has none."""
        return str(self.namespace["sysctls"].get(key, ""))

    def planned(self, *kinds: str, device: str = "") -> List[Mapping[str, Any]]:
        """Rows of the plan."""
        return [row for row in self.told["plan"] if row["kind"] in kinds and (not device or row["device"] == device)]

    def key(self, row: Mapping[str, Any]) -> str:
        """The deviation that a row of the plan is."""
        words = row["object"].split()
        words[1] += f" {row['key']}" if row["kind"] == "FdbEntry" and words[1] == FLOOD else ""
        what = {"Route": row["key"], "Neighbour": row["key"], "FdbEntry": words[1], "Link": row["device"]}
        told = what.get(row["kind"]) or (words[1] if len(words) > 1 else "")
        return f"{self.name} {row['kind']} {row['device']} {told}"

    def steps(self, rows: Sequence[Mapping[str, Any]]) -> List[Command]:
        """The rows' commands."""
        return [Command(tuple(words), output) for row in rows for words, output in row["commands"]]


class World:
    """``told``: what ``collect`` gave, by node; ``looks``: what ``closer.look`` gave."""

    def __init__(
        self,
        cluster: Cluster,
        addresses: Mapping[str, Sequence[str]],
        told: Mapping[str, Any],
        looks: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.cluster = cluster
        #: Closer looks, each with the node that made it.
        self.looks = [(node, look) for node in sorted(looks) for look in looks[node]["looks"]]
        told = {node: _counted(each, looks.get(node)) for node, each in told.items()}
        self.ips = {pod: [text.partition("/")[0] for text in texts] for pod, texts in addresses.items()}
        self.lengths = {text.partition("/")[0]: text for texts in addresses.values() for text in texts}
        self.home = {pod.name: pod.node for pod in cluster.pods}
        self.host_pods = frozenset(pod.name for pod in cluster.pods if pod.host_network)
        self.nodes = {node.name: _node(node, told[node.name]) for node in cluster.nodes if node.name in told}
        #: Failing pairs by what fails, and every pair that was asked for.
        self.failures: Dict[str, Dict[Pair, str]] = {kind: {} for kind in _KINDS}
        #: The address that was asked for, of failing pairs.
        self.targets: Dict[Pair, str] = {}
        for each in told.values():
            for kind in _KINDS:
                for source, target, address, cause, reason in each["observations"][kind]["failures"]:
                    self.targets.setdefault((source, target), address)
                    self.failures[kind].setdefault((source, target), f"{cause}: {reason}")
        self.failing: Dict[Pair, str] = {}
        for kind in _KINDS:
            for pair, why in self.failures[kind].items():
                self.failing.setdefault(pair, why)

    # --- who suffers from what -------------------------------------------------------------------

    def pods_of(self, node: str) -> List[str]:
        """A node's pods on the pod network."""
        return [pod for pod, home in self.home.items() if home == node and pod not in self.host_pods]

    def between(self, one: str, other: str) -> FrozenSet[Pair]:
        """Both directions between two nodes' pods: an echo needs both."""
        return frozenset(
            pair
            for a in self._all(one)
            for b in self._all(other)
            if a not in self.host_pods or b not in self.host_pods
            for pair in ((a, b), (b, a))
        )

    def far(self, node: str) -> FrozenSet[Pair]:
        """Everything between a node's pods and those of other nodes."""
        others = [each.name for each in self.cluster.nodes if each.name != node]
        return frozenset().union(*(self.between(node, other) for other in others))

    def near(self, node: str) -> FrozenSet[Pair]:
        """Between pods of one node."""
        return frozenset((a, b) for a in self.pods_of(node) for b in self.pods_of(node) if a != b)

    def of(self, pod: str) -> FrozenSet[Pair]:
        """Everything from and to a pod, its node included; nothing of a sandbox that is none of the cluster's pods."""
        if pod not in self.home:
            return frozenset()
        ends = [*(other for other in self.home if other != pod), self.home[pod]]
        return frozenset(pair for end in ends for pair in ((pod, end), (end, pod)))

    def forwarded(self, node: str) -> FrozenSet[Pair]:
        """What a node forwards: pods of one node reach each other by its bridge, or by itself where they have none."""
        return self.far(node) if self.cluster.cni.type == "bridge" else self.far(node) | self.near(node)

    def local(self, node: str) -> FrozenSet[Pair]:
        """Between a node and its own pods."""
        own = [node, *(pod for pod in self.host_pods if self.home[pod] == node)]
        return frozenset(pair for end in own for pod in self.pods_of(node) for pair in ((end, pod), (pod, end)))

    def _all(self, node: str) -> List[str]:
        return [pod for pod, home in self.home.items() if home == node]

    def spares(self, node: str, place: str, rule: str, pairs: FrozenSet[Pair]) -> bool:
        """Whether closer looks at ``pairs`` that fail, from a node, met other rules of a namespace and never ``rule``
        (``ip house forward 4``): then it is not what breaks them. Other families come before what is traced."""
        if rule.split()[0] not in ("inet", "ip", "ip6"):
            return False
        looks = [look for home, look in self.looks if home == node and place in look["rules"] and not look["answered"]]
        looks = [look for look in looks if (look["source"], look["target"]) in pairs]
        met = {(where, handle) for look in looks for at, where, handle, _ in look["verdicts"] if at == place}
        where, _, handle = rule.rpartition(" ")
        return bool(looks) and bool(met) and (where, int(handle)) not in met

    # --- whose is what ---------------------------------------------------------------------------

    def peers(self, node: str) -> Iterator[Node]:
        """The other nodes."""
        return (each for each in self.cluster.nodes if each.name != node)

    def blocks(self, node: str) -> Tuple[IPNetwork, ...]:
        """A node's blocks."""
        return self.cluster.node(node).pod_cidrs

    def block_of(self, text: str) -> Optional[Node]:
        """The node whose block holds an address or a network's base."""
        base = ip_address(text.partition("/")[0])
        return next((node for node in self.cluster.nodes for block in node.pod_cidrs if base in block), None)

    def owner(self, ip: str) -> str:
        """The node that has an address on a device, or was declared with it and did not tell; "" for none."""
        for name, node in self.nodes.items():
            if ip in node.view.devices:
                return name
        silent = (node for node in self.cluster.nodes if node.name not in self.nodes)
        return next((node.name for node in silent if ip in {str(address.ip) for address in node.addresses}), "")

    def pod_with(self, ip: str) -> str:
        """The pod that an address was given to."""
        return next((pod for pod, ips in self.ips.items() if ip in ips), "")

    @property
    def pods(self) -> Iterator[Tuple[NodeView, PodView]]:
        """Every sandbox of every node."""
        for node in self.nodes.values():
            for pod in node.pods.values():
                yield node, pod


def _counted(told: Mapping[str, Any], looks: Optional[Mapping[str, Any]]) -> Mapping[str, Any]:
    """With what rules dropped during closer looks, which the kernel tells also of those that have no counter."""
    hits = dict(told["hits"])
    for look in looks["looks"] if looks else ():
        for place, where, handle, ends in look["verdicts"]:
            if ends:
                hits[f"{place}/{where} {handle}"] = (hits.get(f"{place}/{where} {handle}") or 0) + 1
    return {**told, "hits": hits}


def _node(node: Node, told: Mapping[str, Any]) -> NodeView:
    snapshot = told["observations"]["snapshot"]
    ends = {
        (link["link_netnsid"], link["link"]): link
        for link in snapshot["namespace"]["links"]
        if "link_netnsid" in link and "link" in link
    }
    pods = {}
    for name, each in snapshot["sandboxes"].items():
        inside = View(each["namespace"])
        outside = [ends.get((each["nsid"], link["ifindex"])) for link in inside.links.values()]
        port = next((link for link in outside if link is not None), None)
        pods[name] = PodView(name, node.name, each["netns"], inside, each["namespace"], port)
    return NodeView(node, told, snapshot, snapshot["namespace"], View(snapshot["namespace"]), pods)
