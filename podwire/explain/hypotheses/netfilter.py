"""Firewalls: nftables' rules (and iptables', which are nftables' own since iptables-nft) of nodes and pods."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import Any, FrozenSet, Iterator, List, Optional

from ...model.command import Command, command, within
from ...model.objects import IPNetwork
from ..cause import Cause, Pair
from ..evidence import NodeView, World
from ..iptables import FAMILIES
from ..nftables import ENDS, OURS, Rule, accepts, rules, table
from ..titles import cause

_OTHER_HOOKS = ("input", "output", "prerouting", "postrouting", "ingress", "egress")


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes and pods."""
    for node in world.nodes.values():
        for place, ruleset in node.told["nft"].items():
            found = list(rules(node, place, ruleset))
            yield from _policies(world, node, place, ruleset)
            yield from _inside(world, node, place, found) if place else _node(world, node, found)


def _policies(world: World, node: NodeView, place: str, ruleset: List[Any]) -> Iterator[Cause]:
    """Base chains that drop what no rule accepts, of a pod or of the node."""
    for chain in (each["chain"] for each in ruleset if "chain" in each):
        if chain.get("policy") != "drop" or chain.get("hook") not in ("forward", "input", "output"):
            continue
        if chain["table"] in OURS:
            continue
        far = world.forwarded(node.name)
        if node.sysctl("net/bridge/bridge-nf-call-iptables") == "1":
            far |= world.near(node.name)  # bridged frames go through the chain as well, once br_netfilter has hooks
        where = f"{chain['family']} {chain['table']} {chain['name']}"
        pairs = far if chain["hook"] == "forward" else far | world.local(node.name)
        pairs = world.of(place) if place else pairs
        hits = {name: n for name, n in node.told["hits"].items() if n and name.startswith(f"{place}/{where} ")}
        named = f"{place}/{where} 0" in hits
        if not named and world.spares(node.name, place, f"{where} 0", pairs):
            continue
        # Who wrote rules that accept has thought of what passes: believed only if nothing else explains it.
        thought = accepts(ruleset, chain) and not named
        fix = _accepting(chain)
        yield cause(
            "pod_firewall" if place else "forward_dropped" if chain["hook"] == "forward" else "packets_dropped",
            table(chain["family"], chain["table"]), node.name, place=f"pod:{place}" if place else "node",
            keys=frozenset() if thought else frozenset({f"{node.name} {place} chain {where}"}), pairs=pairs,
            evidence=["expected: pods' packets are accepted", f"found: chain {where} has policy drop",
                      *([f"packets that its rules counted while probes ran: {sum(hits.values())}"] if hits else [])],
            fix=[within(node.pods[place].netns, fix) if place else fix],
        )  # fmt: skip


def _accepting(chain: Any) -> Command:
    if chain["family"] in FAMILIES.values():
        return command("{} -t {} -P {} ACCEPT", chain["family"], chain["table"], chain["name"])
    accept = ["{ policy accept; }"]
    return command("nft chain {} {} {}", chain["family"], chain["table"], chain["name"], more=accept)


def _node(world: World, node: NodeView, found: List[Rule]) -> Iterator[Cause]:
    port, bridge = world.cluster.backend.port, world.cluster.cni.bridge
    translated = [r for r in found if r.verdict == "snat" and r.matches.get("udp dport") == port]
    for rule in found:
        id, pairs, object, fix, more, keys = "", frozenset(), rule.object, [rule.fix], [], {_key(node, rule)}  # type: ignore[var-annotated]
        hook = rule.chain.get("hook", "")
        if rule.verdict == "snat" and rule in translated:
            id, pairs = "node_behind_nat", world.far(node.name)
            others = [r for r in found if r.table == rule.table and r.matches.get("udp dport") == port]
            keys |= {_key(node, r) for r in others}
            fix = [r.fix for r in others]
        elif rule.verdict in ("masquerade", "snat") and hook == "postrouting" and _between_pods(world, node, rule):
            id, pairs = "pod_snat", _translated(world, node)
            keys = set() if _is_vague(rule) else keys
        elif rule.verdict == "mangle" and rule.matches.get("udp dport") == port:
            id, pairs = "outer_checksum_bad", world.far(node.name)
        elif rule.verdict in ENDS:
            if rule.matches.get("udp dport") == port and world.cluster.backend_driver.udp_port == port:
                id, pairs = "vxlan_port_blocked", world.far(node.name)
            elif hook == "output" and rule.matches.get("icmp type") == "destination-unreachable":
                yield from _icmp(world, node, rule)
            elif hook == "output" and rule.matches.get("oifname") == bridge:
                id, pairs = "agent_blocked", world.local(node.name)
            elif hook == "forward":
                if rule.matches.get("iifname") == bridge == rule.matches.get("oifname"):
                    key = "net/bridge/bridge-nf-call-iptables"
                    if node.sysctl(key) != "1":
                        continue
                    id, pairs, object = "bridge_netfilter_drop", world.near(node.name), f"sysctl {key}"
                    more = [f"{key} is 1: bridged frames go through this chain"]
                elif _may_meet(world, node, rule):
                    pods = _pods_of(world, rule)
                    # A policy's rules are about a pod at a time, others' about networks.
                    own = [pod for pod in pods if world.home[pod] == node.name and len(pods) == 1]
                    id = "policy_stale" if own else "packets_dropped"
                    pairs = frozenset(p for pod in own for p in world.of(pod)) if own else _forwarded(world, node, rule)
                    pairs = frozenset(p for p in pairs if set(p) & set(pods)) if pods else pairs
                    more = [f"its comment: {rule.comment}"] if rule.comment else []
            elif hook in _OTHER_HOOKS and _may_meet(world, node, rule):
                id, pairs = "packets_dropped", _forwarded(world, node, rule) | world.local(node.name)
        if id and not _is_idle(world, node, "", rule, pairs):
            if rule.verdict in ENDS and not rule.hits:
                keys = set()  # every firewall drops something: no deviation, as long as something else explains all
            yield cause(
                id, object, node.name, keys=frozenset(keys), pairs=pairs, evidence=[*rule.told(), *more], fix=fix,
            )  # fmt: skip


def _is_idle(world: World, node: NodeView, place: str, rule: Rule, pairs: FrozenSet[Pair]) -> bool:
    """Whether a rule that drops has dropped nothing of late: it counted none, or probes that were lost never met it.
    NAT's chains meet a connection's first packet only, which was long before."""
    if rule.verdict not in ENDS:
        return False
    spared = rule.hits is None and world.spares(node.name, place, f"{rule.where} {rule.handle}", pairs)
    return rule.hits == 0 or spared


def _forwarded(world: World, node: NodeView, rule: Rule) -> FrozenSet[Pair]:
    """Pairs whose packets may come to a rule of a forward chain: bridged ones as well, once br_netfilter has hooks."""
    bridge = world.cluster.cni.bridge
    bridged = node.sysctl("net/bridge/bridge-nf-call-iptables") == "1"
    bridged = bridged and all(rule.matches.get(key, bridge) == bridge for key in ("iifname", "oifname"))
    return world.forwarded(node.name) | (world.near(node.name) if bridged else frozenset())


def _translated(world: World, node: NodeView) -> FrozenSet[Pair]:
    """Who is seen as another: the node's pods by others, others by them as the node, and they by each other where
    bridged frames meet rules. What fails otherwise says nothing: hosts masquerade what leaves for elsewhere, by rules
    that spare pods before or by device."""
    own = frozenset(world.pods_of(node.name))
    away = frozenset(pair for pair in world.far(node.name) if pair[0] in own)
    come = {pair for pair, why in world.failing.items() if pair[1] in own and node.view.devices.keys() & why.split()}
    found = away | (world.near(node.name) & world.failing.keys()) | (world.far(node.name) & come)
    return frozenset(pair for pair in found if world.failing.get(pair, "nat").partition(":")[0] == "nat")


def _key(node: NodeView, rule: Rule) -> str:
    return f"{node.name} rule {rule.where} {rule.handle}"


def _icmp(world: World, node: NodeView, rule: Rule) -> Iterator[Cause]:
    """Only where something has to be said: a device on the way that is narrower than the pods."""
    rows = [row for row in node.planned("Link") if " mtu " in row["object"] and row["was"]]
    yield cause(
        "pmtu_icmp_filtered", rule.object, node.name, keys=frozenset({_key(node, rule), *map(node.key, rows)}),
        pairs=world.far(node.name),
        evidence=[*rule.told(), *(f"expected: {r['object']}; found: {r['was']}" for r in rows)],
        fix=[rule.fix, *node.steps(rows)],
    )  # fmt: skip


def _between_pods(world: World, node: NodeView, rule: Rule) -> bool:
    """Whether it meets packets from pods to other pods."""
    source, wide = (_network(rule.matches.get(key)) for key in ("ip saddr", "ip daddr !="))
    cidrs = world.cluster.cluster_cidrs
    if wide is not None and any(wide.version == c.version and c.subnet_of(wide) for c in cidrs):  # type: ignore[arg-type]
        return False
    if source is None:  # of all, or of a set
        return True
    return any(source.version == block.version and source.overlaps(block) for block in world.blocks(node.name))


def _is_vague(rule: Rule) -> bool:
    """Whether a rule's sources are in a set, a range or a concatenation: believed if no other rule explains it."""
    return "concat" in rule.matches or ("ip saddr" in rule.matches and _network(rule.matches["ip saddr"]) is None)


def _network(value: Any) -> Optional[IPNetwork]:
    """Of a match; None for sets, ranges and names, and where there is none."""
    with suppress(ValueError):
        return ip_network(value, strict=False) if isinstance(value, str) else None
    return None


def _may_meet(world: World, node: NodeView, rule: Rule) -> bool:
    """Whether packets of pods can come to a rule: what counted none, is of other devices or ports drops others."""
    ports = {pod.port for pod in world.cluster.pods}
    devices = [rule.matches.get(key) for key in ("iifname", "oifname")]
    return not (
        rule.hits == 0
        or (rule.matches.get("ct state") == "invalid" and not rule.hits)
        or any(isinstance(it, str) and "*" not in it and it not in node.view.links for it in devices)
        or any(isinstance(it, int) and it not in ports for it in [rule.matches.get("tcp dport")])
    )


def _pods_of(world: World, rule: Rule) -> List[str]:
    """Pods that a rule names by address."""
    found = []
    for key in ("ip saddr", "ip daddr", "ip6 saddr", "ip6 daddr"):
        network = _network(rule.matches.get(key))
        for pod in world.home if network else ():
            ips = map(ip_address, world.ips.get(pod, []))
            if network and pod not in world.host_pods and any(ip in network for ip in ips):
                found.append(pod)
    return found


def _inside(world: World, node: NodeView, pod: str, found: List[Rule]) -> Iterator[Cause]:
    netns, pairs = node.snapshot["sandboxes"][pod]["netns"], world.of(pod)
    for rule in found:
        if rule.verdict in ENDS and not _is_idle(world, node, pod, rule, pairs):
            keys = {f"{node.name} pod {pod} rule {rule.where} {rule.handle}"} if rule.hits else set()
            yield cause(
                "pod_firewall", rule.object, node.name, "", f"pod:{pod}", frozenset(keys), pairs, rule.told(),
                [within(netns, rule.fix)],
            )  # fmt: skip
