"""Firewalls: nftables' rules (and iptables', which are nftables' own since iptables-nft) of nodes and pods."""

from __future__ import annotations

from typing import FrozenSet, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ...model.command import Command, command, within
from ...model.objects import Link
from ..cause import Cause, Pair
from ..evidence import World
from ..iptables import FAMILIES
from ..nftables import ENDS, OURS, Rule, accepts, rules, table
from ..operations import fix
from ..records import ChainRow, RuleId, Ruleset
from ..titles import cause
from ..views import NodeView
from .rule_matching import (
    BRIDGED,
    forwarded,
    is_between_pods,
    is_idle,
    is_vague,
    may_meet,
    pods_of,
    translated,
)

_OTHER_HOOKS = ("input", "output", "prerouting", "postrouting", "ingress", "egress")


class _Suspect(NamedTuple):
    """What a rule of a node does to pods. ``is_deviation``: whether it needs an explanation by itself; ``rules``: those
    that go together with it."""

    id: str
    pairs: FrozenSet[Pair]
    is_deviation: bool = True
    object: str = ""
    evidence: Tuple[str, ...] = ()
    rules: Tuple[Rule, ...] = ()


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes and pods."""
    for node in world.nodes.values():
        for place, ruleset in node.evidence["nft"].items():
            listed = list(rules(node.hits, place, ruleset))
            yield from _policies(world, node, place, ruleset)
            yield from _inside(world, node, place, listed) if place else _node(world, node, listed)


def _policies(world: World, node: NodeView, place: str, ruleset: Ruleset) -> Iterator[Cause]:
    """Base chains that drop what no rule accepts, of a pod or of the node."""
    for chain in (item["chain"] for item in ruleset if "chain" in item):
        if chain.get("policy") != "drop" or chain.get("hook") not in ("forward", "input", "output"):
            continue
        if chain["table"] in OURS:
            continue
        policy = RuleId(place, f"{chain['family']} {chain['table']} {chain['name']}", 0)
        pairs = world.of(place) if place else _by_policy(world, node, chain)
        hits = {rule: count for rule, count in node.hits.items() if count and rule[:2] == policy[:2]}
        if policy not in hits and world.spares(node.name, chain["family"], policy, pairs):
            continue
        # Who wrote rules that accept has thought of what passes: believed only if nothing else explains it.
        is_deliberate = accepts(ruleset, chain) and policy not in hits
        accept = _accepting(chain)
        keys = set() if is_deliberate else {f"{node.name} {place} chain {policy.chain}"}
        yield cause(
            "pod_firewall" if place else "forward_dropped" if chain["hook"] == "forward" else "packets_dropped",
            table(chain["family"], chain["table"]), node.name, place=f"pod:{place}" if place else "node",
            keys=frozenset(keys), pairs=pairs,
            evidence=["expected: pods' packets are accepted", f"found: chain {policy.chain} has policy drop",
                      *([f"packets that its rules counted while probes ran: {sum(hits.values())}"] if hits else [])],
            fix=[within(node.pods[place].netns, accept) if place else accept],
        )  # fmt: skip


def _by_policy(world: World, node: NodeView, chain: ChainRow) -> FrozenSet[Pair]:
    pairs = world.forwarded(node.name)
    if node.sysctl(BRIDGED) == "1":
        pairs |= world.near(node.name)  # bridged frames go through the chain as well, once br_netfilter has hooks
    return pairs if chain["hook"] == "forward" else pairs | world.local(node.name)


def _accepting(chain: ChainRow) -> Command:
    words = chain["family"], chain["table"], chain["name"]
    if chain["family"] in FAMILIES.values():
        return command("{} -t {} -P {} ACCEPT", *words)
    return command("nft chain {} {} {}", *words, more=["{ policy accept; }"])


def _node(world: World, node: NodeView, listed: Sequence[Rule]) -> Iterator[Cause]:
    for rule in listed:
        if rule.verdict not in ENDS:
            suspect = _rewrites(world, node, rule, listed)
        elif rule.chain.get("hook") == "output" and rule.matches.get("icmp type") == "destination-unreachable":
            yield from _icmp(world, node, rule)
            continue
        else:
            suspect = _drops(world, node, rule)
        if suspect is None or is_idle(world, node, rule, suspect.pairs):
            continue
        # Every firewall drops something: no deviation, as long as something else explains all.
        is_deviation = suspect.is_deviation and (rule.verdict not in ENDS or bool(rule.hits))
        together = suspect.rules or (rule,)
        yield cause(
            suspect.id, suspect.object or rule.object, node.name,
            keys=frozenset(_key(node, other) for other in (rule, *together) if is_deviation), pairs=suspect.pairs,
            evidence=[*rule.evidence(), *suspect.evidence], fix=[other.fix for other in together],
        )  # fmt: skip


def _rewrites(world: World, node: NodeView, rule: Rule, listed: Sequence[Rule]) -> Optional[_Suspect]:
    """A rule that changes packets."""
    port = world.cluster.backend.port
    if rule.verdict == "snat" and rule.matches.get("udp dport") == port:
        others = (other for other in listed if other.table == rule.table and other.matches.get("udp dport") == port)
        return _Suspect("node_behind_nat", world.far(node.name), rules=tuple(others))
    is_source = rule.verdict in ("masquerade", "snat") and rule.chain.get("hook") == "postrouting"
    if is_source and is_between_pods(world, node, rule):
        return _Suspect("pod_snat", translated(world, node), is_deviation=not is_vague(rule))
    if rule.verdict == "mangle" and rule.matches.get("udp dport") == port:
        return _Suspect("outer_checksum_bad", world.far(node.name))
    return None


def _drops(world: World, node: NodeView, rule: Rule) -> Optional[_Suspect]:
    """A rule that drops or rejects."""
    port, bridge, hook = world.cluster.backend.port, world.cluster.cni.bridge, rule.chain.get("hook", "")
    if rule.matches.get("udp dport") == port and world.cluster.backend_driver.udp_port == port:
        return _Suspect("vxlan_port_blocked", world.far(node.name))
    if hook == "output" and rule.matches.get("oifname") == bridge:
        return _Suspect("agent_blocked", world.local(node.name))
    if hook == "forward" and rule.matches.get("iifname") == bridge == rule.matches.get("oifname"):
        if node.sysctl(BRIDGED) != "1":
            return None
        evidence = f"{BRIDGED} is 1: bridged frames go through this chain"
        return _Suspect(
            "bridge_netfilter_drop", world.near(node.name), object=f"sysctl {BRIDGED}", evidence=(evidence,)
        )
    if not may_meet(world, node, rule):
        return None
    if hook == "forward":
        return _forward(world, node, rule)
    if hook in _OTHER_HOOKS:
        return _Suspect("packets_dropped", forwarded(world, node, rule) | world.local(node.name))
    return None


def _forward(world: World, node: NodeView, rule: Rule) -> _Suspect:
    pods = pods_of(world, rule)
    # A policy's rules are about a pod at a time, others' about networks.
    is_policy = len(pods) == 1 and world.home[pods[0]] == node.name
    pairs = world.of(pods[0]) if is_policy else forwarded(world, node, rule)
    pairs = frozenset(pair for pair in pairs if set(pair) & set(pods)) if pods else pairs
    comment = (f"its comment: {rule.comment}",) if rule.comment else ()
    return _Suspect("policy_stale" if is_policy else "packets_dropped", pairs, evidence=comment)


def _key(node: NodeView, rule: Rule) -> str:
    return f"{node.name} rule {rule.where} {rule.handle}"


def _icmp(world: World, node: NodeView, rule: Rule) -> Iterator[Cause]:
    """ICMP errors that are dropped. They matter where a device is narrower than the pods."""
    changes = [change for change in node.changes(Link) if change.object.mtu is not None and change.previous is not None]
    yield cause(
        "pmtu_icmp_filtered", rule.object, node.name, keys=frozenset({_key(node, rule), *map(node.key, changes)}),
        pairs=world.far(node.name),
        evidence=[*rule.evidence(), *(f"expected: {it.object}; found: {it.previous}" for it in changes)],
        fix=[rule.fix, *fix(changes)],
    )  # fmt: skip


def _inside(world: World, node: NodeView, pod: str, listed: List[Rule]) -> Iterator[Cause]:
    """Rules of a pod's own namespace."""
    netns, pairs = node.snapshot["sandboxes"][pod]["netns"], world.of(pod)
    for rule in listed:
        if rule.verdict in ENDS and not is_idle(world, node, rule, pairs):
            keys = {f"{node.name} pod {pod} rule {rule.where} {rule.handle}"} if rule.hits else set()
            yield cause(
                "pod_firewall", rule.object, node.name, "", f"pod:{pod}", frozenset(keys), pairs, rule.evidence(),
                [within(netns, rule.fix)],
            )  # fmt: skip
