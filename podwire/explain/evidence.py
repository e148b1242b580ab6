"""The evidence of all nodes as one world that hypotheses query: what fails, what each node and pod has and should have.

Deviations are facts that need an explanation, each with a key such as ``node-1 Route flannel.1 10.244.1.0/24``; a cause
says for which of them it accounts.
"""

from __future__ import annotations

from ipaddress import ip_address
from types import MappingProxyType
from typing import Dict, FrozenSet, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..intent.cluster import Cluster, Node
from ..model.objects import IPAddress, IPNetwork
from ..prove.observations import Observations, Summary
from .cause import Pair
from .records import Evidence, Look, Looks, RuleId
from .views import node_view


class Reason(NamedTuple):
    """Why a pair fails. ``cause`` is a word to group by."""

    cause: str
    text: str

    def __str__(self) -> str:
        return f"{self.cause}: {self.text}"


class World:
    """``evidence``: what ``collect`` gave, by node; ``looks``: what ``trace_probe.look`` gave."""

    def __init__(
        self,
        cluster: Cluster,
        addresses: Mapping[str, Sequence[str]],
        evidence: Mapping[str, Evidence],
        looks: Mapping[str, Looks] = MappingProxyType({}),
    ) -> None:
        self.cluster = cluster
        #: Traced probes, each with the node that sent it.
        self.looks: List[Tuple[str, Look]] = [(node, look) for node in sorted(looks) for look in looks[node]["looks"]]
        self.ips = {pod: [text.partition("/")[0] for text in texts] for pod, texts in addresses.items()}
        self.lengths = {text.partition("/")[0]: text for texts in addresses.values() for text in texts}
        self.home = {pod.name: pod.node for pod in cluster.pods}
        self.host_pods = frozenset(pod.name for pod in cluster.pods if pod.host_network)
        self.nodes = {
            node.name: node_view(node, evidence[node.name], looks.get(node.name))
            for node in cluster.nodes
            if node.name in evidence
        }
        #: Failing pairs by what fails.
        self.failures: Dict[str, Dict[Pair, Reason]] = {}
        #: The address that was probed, of failing pairs.
        self.targets: Dict[Pair, str] = {}
        for node_evidence in evidence.values():
            for kind, summary in _summaries(node_evidence["observations"]).items():
                self._add_failures(kind, summary)
        self.failing: Dict[Pair, Reason] = {}
        for failures in self.failures.values():
            for pair, reason in failures.items():
                self.failing.setdefault(pair, reason)

    def _add_failures(self, kind: str, summary: Summary) -> None:
        failures = self.failures.setdefault(kind, {})
        for source, target, address, cause, text in summary["failures"]:
            self.targets.setdefault((source, target), address)
            failures.setdefault((source, target), Reason(cause, text))

    # --- which pairs something affects -----------------------------------------------------------

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
        return frozenset().union(*(self.between(node, peer.name) for peer in self.peers(node)))

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
        ends = [node, *(pod for pod in self.host_pods if self.home[pod] == node)]
        return frozenset(pair for end in ends for pod in self.pods_of(node) for pair in ((end, pod), (pod, end)))

    def _all(self, node: str) -> List[str]:
        return [pod for pod, home in self.home.items() if home == node]

    def spares(self, node: str, family: str, rule: RuleId, pairs: FrozenSet[Pair]) -> bool:
        """Whether traced probes of ``pairs`` that fail, from a node, met other rules of a namespace and never ``rule``:
        then it is not what breaks them. Other families come before what is traced."""
        if family not in ("inet", "ip", "ip6"):
            return False
        looks = [
            look for home, look in self.looks
            if home == node and rule.place in look["rules"] and not look["answered"]
            and (look["source"], look["target"]) in pairs
        ]  # fmt: skip
        met = {RuleId(place, chain, handle) for look in looks for place, chain, handle, _ in look["verdicts"]}
        return any(other.place == rule.place for other in met) and rule not in met

    # --- what belongs to whom --------------------------------------------------------------------

    def peers(self, node: str) -> Iterator[Node]:
        """The other nodes."""
        return (other for other in self.cluster.nodes if other.name != node)

    def blocks(self, node: str) -> Tuple[IPNetwork, ...]:
        """A node's pod CIDRs."""
        return self.cluster.node(node).pod_cidrs

    def block_of(self, address: IPAddress) -> Optional[Node]:
        """The node whose pod CIDR holds an address."""
        return next((node for node in self.cluster.nodes for block in node.pod_cidrs if address in block), None)

    def owner(self, ip: str) -> str:
        """The node that has an address on a device, or was declared with it and did not answer; "" for none."""
        for name, node in self.nodes.items():
            if ip in node.view.devices:
                return name
        unreachable = (node for node in self.cluster.nodes if node.name not in self.nodes)
        return next((node.name for node in unreachable if ip in {str(address.ip) for address in node.addresses}), "")

    def pod_with(self, ip: str) -> str:
        """The pod that an address was given to."""
        return next((pod for pod, ips in self.ips.items() if ip in ips), "")

    def pod_addresses(self, pod: str) -> List[IPAddress]:
        """The addresses that a pod was given."""
        return list(map(ip_address, self.ips.get(pod, ())))


def _summaries(observations: Observations) -> Dict[str, Summary]:
    return {
        "pairs": observations["pairs"],
        "agents": observations["agents"],
        "nodes": observations["nodes"],
        "path_mtu": observations["path_mtu"],
        "bulk": observations["bulk"],
    }
