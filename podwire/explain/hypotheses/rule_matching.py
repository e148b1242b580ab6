"""Which packets of pods a firewall's rule can meet."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_network
from typing import FrozenSet, List, Optional

from ...model.objects import IPNetwork
from ..cause import Pair
from ..evidence import World
from ..nftables import ENDS, Rule
from ..views import NodeView

BRIDGED = "net/bridge/bridge-nf-call-iptables"


def is_idle(world: World, node: NodeView, rule: Rule, pairs: FrozenSet[Pair]) -> bool:
    """Whether a rule that drops has dropped nothing of late: it counted none, or probes that were lost never met it.
    NAT's chains meet a connection's first packet only, which was long before."""
    if rule.verdict not in ENDS:
        return False
    spared = rule.hits is None and world.spares(node.name, rule.family, rule.id, pairs)
    return rule.hits == 0 or spared


def may_meet(world: World, node: NodeView, rule: Rule) -> bool:
    """Whether packets of pods can come to a rule: what counted none, is of other devices or ports drops others."""
    ports = {pod.port for pod in world.cluster.pods}
    devices = [rule.matches.get(key) for key in ("iifname", "oifname")]
    port = rule.matches.get("tcp dport")
    return not (
        rule.hits == 0
        or (rule.matches.get("ct state") == "invalid" and not rule.hits)
        or any(isinstance(name, str) and "*" not in name and name not in node.view.links for name in devices)
        or (isinstance(port, int) and port not in ports)
    )


def forwarded(world: World, node: NodeView, rule: Rule) -> FrozenSet[Pair]:
    """Pairs whose packets may come to a rule of a forward chain: bridged ones as well, once br_netfilter has hooks."""
    bridge = world.cluster.cni.bridge
    is_bridged = node.sysctl(BRIDGED) == "1"
    is_bridged = is_bridged and all(rule.matches.get(key, bridge) == bridge for key in ("iifname", "oifname"))
    return world.forwarded(node.name) | (world.near(node.name) if is_bridged else frozenset())


def translated(world: World, node: NodeView) -> FrozenSet[Pair]:
    """Pairs of which one appears as another: the node's pods to others, others to them as the node, and to each other
    where bridged frames meet rules. What fails otherwise says nothing: hosts masquerade what leaves for elsewhere, by
    rules that spare pods before or by device."""
    pods = frozenset(world.pods_of(node.name))
    outgoing = frozenset(pair for pair in world.far(node.name) if pair[0] in pods)
    addresses = node.view.devices.keys()
    incoming = {pair for pair, why in world.failing.items() if pair[1] in pods and addresses & why.text.split()}
    pairs = outgoing | (world.near(node.name) & world.failing.keys()) | (world.far(node.name) & incoming)
    return frozenset(pair for pair in pairs if pair not in world.failing or world.failing[pair].cause == "nat")


def is_between_pods(world: World, node: NodeView, rule: Rule) -> bool:
    """Whether it meets packets from pods to other pods."""
    source, excluded = (network_of(rule, key) for key in ("ip saddr", "ip daddr !="))
    cidrs = [cidr for cidr in world.cluster.cluster_cidrs if excluded is not None and cidr.version == excluded.version]
    if any(cidr.subnet_of(excluded) for cidr in cidrs):  # type: ignore[arg-type]
        return False
    if source is None:  # of all, or of a set
        return True
    return any(source.version == block.version and source.overlaps(block) for block in world.blocks(node.name))


def is_vague(rule: Rule) -> bool:
    """Whether a rule's sources are in a set, a range or a concatenation: believed if no other rule explains it."""
    return "concat" in rule.matches or ("ip saddr" in rule.matches and network_of(rule, "ip saddr") is None)


def pods_of(world: World, rule: Rule) -> List[str]:
    """Pods that a rule names by address."""
    networks = [network_of(rule, key) for key in ("ip saddr", "ip daddr", "ip6 saddr", "ip6 daddr")]
    return [
        pod for network in networks if network is not None
        for pod in world.home if pod not in world.host_pods and any(ip in network for ip in world.pod_addresses(pod))
    ]  # fmt: skip


def network_of(rule: Rule, key: str) -> Optional[IPNetwork]:
    """Of a match; None for sets, ranges and names, and where there is none."""
    value = rule.matches.get(key)
    with suppress(ValueError):
        return ip_network(value, strict=False) if isinstance(value, str) else None
    return None
