"""Firewalls: nftables' rules (and iptables', which are nftables' own since iptables-nft) of nodes and pods."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any, FrozenSet, Iterator, List, Optional

from ..cause import Cause, Pair
from ..commands import joined, within
from ..evidence import NodeView, World
from ..iptables import FAMILIES
from ..nftables import ENDS, OURS, Rule, rules, table
from ..titles import cause

_OTHER_HOOKS = ("input", "output", "prerouting", "postrouting", "ingress", "egress")


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes and pods."""
    for node in world.nodes.values():
        for place, ruleset in node.told["nft"].items():
            found = list(rules(node, place, ruleset))
            if place:
                yield from _inside(world, node, place, found)
                continue
            yield from _policies(world, node, ruleset)
            yield from _node(world, node, found)
    for node in world.nodes.values():
        yield from _unenforced(world, node)


def _policies(world: World, node: NodeView, ruleset: List[Any]) -> Iterator[Cause]:
    """Base chains that drop what no rule accepts."""
    for chain in (each["chain"] for each in ruleset if "chain" in each):
        if chain.get("policy") != "drop" or chain.get("hook") not in ("forward", "input", "output"):
            continue
        if chain["table"] in OURS:
            continue
        far = world.far(node.name)
        if node.sysctl("net/bridge/bridge-nf-call-iptables") == "1":
            far |= world.near(node.name)  # bridged frames go through the chain as well, once br_netfilter has hooks
        where = f"{chain['family']} {chain['table']} {chain['name']}"
        pairs = far if chain["hook"] == "forward" else far | world.local(node.name)
        hits = sum(n for name, n in node.told["hits"].items() if name.startswith(f"/{where} "))
        # Who wrote rules that accept has thought of what passes: believed only if nothing else explains it.
        accepts = any("accept" in part for rule in ruleset if "rule" in rule and _is_in(rule["rule"], chain)
                      for part in rule["rule"]["expr"])  # fmt: skip
        yield cause(
            "forward_dropped" if chain["hook"] == "forward" else "packets_dropped",
            table(chain["family"], chain["table"]), node.name,
            keys=frozenset() if accepts else frozenset({f"{node.name} chain {where}"}), pairs=pairs,
            evidence=["expected: pods' packets are accepted", f"found: chain {where} has policy drop",
                      *([f"packets that its rules counted while probes ran: {hits}"] if hits else [])],
            fix=_accepting(chain),
        )  # fmt: skip


def _accepting(chain: Any) -> str:
    if chain["family"] in FAMILIES.values():
        return f"{chain['family']} -t {chain['table']} -P {chain['name']} ACCEPT"
    return f"nft chain {chain['family']} {chain['table']} {chain['name']} '{{ policy accept; }}'"


def _is_in(rule: Any, chain: Any) -> bool:
    return all(rule[key] == chain[key] for key in ("family", "table")) and rule["chain"] == chain["name"]


def _node(world: World, node: NodeView, found: List[Rule]) -> Iterator[Cause]:
    port, bridge = world.cluster.backend.port, world.cluster.cni.bridge
    translated = [r for r in found if r.verdict == "snat" and r.matches.get("udp dport") == port]
    for rule in found:
        id, pairs, object, fix, more, keys = "", frozenset(), rule.object, rule.fix, [], {_key(node, rule)}  # type: ignore[var-annotated]
        hook = rule.chain.get("hook", "")
        if rule.verdict == "snat" and rule in translated:
            id, pairs = "node_behind_nat", world.far(node.name)
            others = [r for r in found if r.table == rule.table and r.matches.get("udp dport") == port]
            keys |= {_key(node, r) for r in others}
            fix = joined([r.fix for r in others])
        elif rule.verdict in ("masquerade", "snat") and hook == "postrouting" and _between_pods(world, node, rule):
            id, pairs = "pod_snat", _translated(world, node)
        elif rule.verdict == "mangle" and rule.matches.get("udp dport") == port:
            id, pairs = "outer_checksum_bad", world.far(node.name)
        elif rule.verdict in ENDS:
            if rule.matches.get("udp dport") == port and world.cluster.backend.type == "vxlan":
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
                id, pairs = "packets_dropped", world.far(node.name) | world.local(node.name)
        if id:
            # NAT's chains meet a connection's first packet only, which was long before.
            told = rule.hits is None and rule.verdict in ENDS
            if told and world.spares(node.name, "", f"{rule.where} {rule.handle}", pairs):
                continue
            if id == "packets_dropped" and not rule.hits:
                keys = set()  # every firewall drops something: no deviation, as long as something else explains all
            yield cause(
                id, object, node.name, keys=frozenset(keys), pairs=pairs, evidence=[*rule.told(), *more], fix=fix,
            )  # fmt: skip


def _forwarded(world: World, node: NodeView, rule: Rule) -> FrozenSet[Pair]:
    """Pairs whose packets may come to a rule of a forward chain: bridged ones as well, once br_netfilter has hooks."""
    bridge = world.cluster.cni.bridge
    bridged = node.sysctl("net/bridge/bridge-nf-call-iptables") == "1"
    bridged = bridged and all(rule.matches.get(key, bridge) == bridge for key in ("iifname", "oifname"))
    return world.far(node.name) | world.near(node.name) if bridged else world.far(node.name)


def _translated(world: World, node: NodeView) -> FrozenSet[Pair]:
    """Who is seen as another: the node's pods by others, and by each other where bridged frames meet rules."""
    own = frozenset(world.pods_of(node.name))
    away = frozenset(pair for pair in world.far(node.name) if pair[0] in own)
    return away | (world.near(node.name) & world.failing.keys())


def _key(node: NodeView, rule: Rule) -> str:
    return f"{node.name} rule {rule.where} {rule.handle}"


def _icmp(world: World, node: NodeView, rule: Rule) -> Iterator[Cause]:
    """Only where something has to be said: a device on the way that is narrower than the pods."""
    rows = [row for row in node.planned("Link") if " mtu " in row["object"] and row["was"]]
    yield cause(
        "pmtu_icmp_filtered", rule.object, node.name, keys=frozenset({_key(node, rule), *map(node.key, rows)}),
        pairs=world.far(node.name),
        evidence=[*rule.told(), *(f"expected: {r['object']}; found: {r['was']}" for r in rows)],
        fix=joined([rule.fix, node.steps(rows)] if rows else [rule.fix]),
    )  # fmt: skip


def _between_pods(world: World, node: NodeView, rule: Rule) -> bool:
    """Whether it meets packets from pods to other pods."""
    source, to = rule.matches.get("ip saddr"), rule.matches.get("ip daddr !=")
    if to is not None and isinstance(to, str):
        wide = ip_network(to, strict=False)
        if any(wide.version == c.version and c.subnet_of(wide) for c in world.cluster.cluster_cidrs):  # type: ignore[arg-type]
            return False
    if not isinstance(source, str):
        return source is None
    network = ip_network(source, strict=False)
    return any(network.version == block.version and network.overlaps(block) for block in world.blocks(node.name))


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
        value = rule.matches.get(key)
        network = ip_network(value, strict=False) if isinstance(value, str) and value[:1] != "@" else None
        for pod in world.home if network else ():
            ips = map(ip_address, world.ips.get(pod, []))
            if network and pod not in world.host_pods and any(ip in network for ip in ips):
                found.append(pod)
    return found


def _inside(world: World, node: NodeView, pod: str, found: List[Rule]) -> Iterator[Cause]:
    netns = node.snapshot["sandboxes"][pod]["netns"]
    for rule in found:
        if rule.verdict in ENDS:
            yield cause(
                "pod_firewall", rule.object, node.name, "", f"pod:{pod}",
                frozenset({f"{node.name} pod {pod} rule {rule.where} {rule.handle}"}), world.of(pod), rule.told(),
                within(netns, rule.fix),
            )  # fmt: skip


# --- what nobody enforces ------------------------------------------------------------------------


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
                      f"found: {reaching} of {len(others)} do, and no rule speaks of the policy"],
            fix=f"rm {path}    # or install what enforces policies", quiet=True,
        )  # fmt: skip


def _denied(world: World, policy: Any) -> Optional[str]:
    """The pod whose ingress a NetworkPolicy denies altogether."""
    spec = policy.get("spec", {})
    name = spec.get("podSelector", {}).get("matchLabels", {}).get("name", "")
    # Runtimes tell Kubernetes' names for pods, the namespace among them.
    names = (name, f"{policy['metadata'].get('namespace', 'default')}.{name}")
    denies = "Ingress" in spec.get("policyTypes", []) and not spec.get("ingress")
    return next((pod for pod in world.home if denies and pod.rpartition("/")[2] in names), None)
