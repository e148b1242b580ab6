"""Firewalls: nftables' rules (and iptables', which are nftables' own since iptables-nft) of nodes and pods."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional

from ..cause import Cause
from ..commands import joined, within
from ..evidence import NodeView, World
from ..titles import cause

#: Tables of podwire's own (backend/common.py, cni/plugins/owned.py).
_OURS = ("podwire", "podwire-cni")
_ENDS = ("drop", "reject")


class _Rule(NamedTuple):
    """A rule with its base chain; ``left`` -> value of its matches, such as ``udp dport`` -> 8472."""

    family: str
    table: str
    chain: Mapping[str, Any]
    handle: int
    comment: str
    matches: Dict[str, Any]
    verdict: str
    hits: int

    @property
    def where(self) -> str:
        return f"{self.family} {self.table} {self.chain['name']}"

    @property
    def object(self) -> str:
        return f"nftables table {self.family} {self.table}"

    @property
    def fix(self) -> str:
        return f"nft delete rule {self.where} handle {self.handle}"

    def told(self) -> List[str]:
        words = " ".join(f"{key} {value}" for key, value in self.matches.items())
        return [
            "expected: no such rule",
            f"found: handle {self.handle} of {self.where}: {words} {self.verdict}".strip(),
            *([f"packets that it counted while probes ran: {self.hits}"] if self.hits else []),
        ]


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes and pods."""
    for node in world.nodes.values():
        for place, ruleset in node.told["nft"].items():
            rules = list(_rules(node, place, ruleset))
            if place:
                yield from _inside(world, node, place, rules)
                continue
            yield from _policies(world, node, ruleset)
            yield from _node(world, node, rules)
    for node in world.nodes.values():
        yield from _unenforced(world, node)


def _rules(node: NodeView, place: str, ruleset: List[Any]) -> Iterator[_Rule]:
    chains = {
        (each["chain"]["family"], each["chain"]["table"], each["chain"]["name"]): each["chain"]
        for each in ruleset if "chain" in each
    }  # fmt: skip
    for rule in (each["rule"] for each in ruleset if "rule" in each):
        chain = chains[rule["family"], rule["table"], rule["chain"]]
        if rule["table"] in _OURS:
            continue
        matches: Dict[str, Any] = {}
        verdict = ""
        for part in rule["expr"]:
            if "match" in part:
                match = part["match"]
                matches[_left(match["left"]) + ("" if match["op"] == "==" else f" {match['op']}")] = _right(
                    match["right"]
                )
            for word in (*_ENDS, "masquerade", "snat", "dnat", "mangle"):
                if word in part:
                    verdict = word
        name = f"{place}/{rule['family']} {rule['table']} {rule['chain']} {rule['handle']}"
        hits = node.told["hits"].get(name, 0)
        yield _Rule(
            rule["family"], rule["table"], chain, rule["handle"], rule.get("comment", ""), matches, verdict, hits
        )


def _left(left: Any) -> str:
    if "payload" in left:
        return f"{left['payload'].get('protocol', '')} {left['payload'].get('field', '')}"
    if "meta" in left:
        return str(left["meta"]["key"])
    return str(next(iter(left), ""))


def _right(right: Any) -> Any:
    if isinstance(right, dict) and "prefix" in right:
        return f"{right['prefix']['addr']}/{right['prefix']['len']}"
    return right


def _policies(world: World, node: NodeView, ruleset: List[Any]) -> Iterator[Cause]:
    """Base chains that drop what no rule accepts."""
    for chain in (each["chain"] for each in ruleset if "chain" in each):
        if chain.get("policy") != "drop" or chain.get("hook") not in ("forward", "input", "output"):
            continue
        if chain["table"] in _OURS:
            continue
        far = world.far(node.name)
        if node.sysctl("net/bridge/bridge-nf-call-iptables") == "1":
            far |= world.near(node.name)  # bridged frames go through the chain as well, once br_netfilter has hooks
        where = f"{chain['family']} {chain['table']} {chain['name']}"
        pairs = far if chain["hook"] == "forward" else far | world.local(node.name)
        hits = sum(n for name, n in node.told["hits"].items() if name.startswith(f"/{where} "))
        yield cause(
            "forward_dropped" if chain["hook"] == "forward" else "packets_dropped",
            f"nftables table {chain['family']} {chain['table']}", node.name,
            keys=frozenset({f"{node.name} chain {where}"}), pairs=pairs,
            evidence=["expected: pods' packets are accepted", f"found: chain {where} has policy drop",
                      *([f"packets that its rules counted while probes ran: {hits}"] if hits else [])],
            fix=f"nft chain {where} '{{ policy accept; }}'",
        )  # fmt: skip


def _node(world: World, node: NodeView, rules: List[_Rule]) -> Iterator[Cause]:
    port, bridge = world.cluster.backend.port, world.cluster.cni.bridge
    translated = [r for r in rules if r.verdict == "snat" and r.matches.get("udp dport") == port]
    for rule in rules:
        id, pairs, object, fix, more, keys = "", frozenset(), rule.object, rule.fix, [], {_key(node, rule)}  # type: ignore[var-annotated]
        hook = rule.chain.get("hook", "")
        if rule.verdict == "snat" and rule in translated:
            id, pairs = "node_behind_nat", world.far(node.name)
            others = [r for r in rules if r.table == rule.table and r.matches.get("udp dport") == port]
            keys |= {_key(node, r) for r in others}
            fix = joined([r.fix for r in others])
        elif rule.verdict in ("masquerade", "snat") and hook == "postrouting" and _between_pods(world, node, rule):
            id, pairs = "pod_snat", world.far(node.name)
        elif rule.verdict == "mangle" and rule.matches.get("udp dport") == port:
            id, pairs = "outer_checksum_bad", world.far(node.name)
        elif rule.verdict in _ENDS:
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
                else:
                    pods = _pods_of(world, node, rule)
                    id = "policy_stale" if pods else "packets_dropped"
                    pairs = frozenset(p for pod in pods for p in world.of(pod)) if pods else world.far(node.name)
                    more = [f"its comment: {rule.comment}"] if rule.comment else []
            elif hook in ("input", "output", "prerouting", "postrouting"):
                id, pairs = "packets_dropped", world.far(node.name) | world.local(node.name)
        if id:
            yield cause(
                id, object, node.name, keys=frozenset(keys), pairs=pairs, evidence=[*rule.told(), *more], fix=fix,
            )  # fmt: skip


def _key(node: NodeView, rule: _Rule) -> str:
    return f"{node.name} rule {rule.where} {rule.handle}"


def _icmp(world: World, node: NodeView, rule: _Rule) -> Iterator[Cause]:
    """Only where something has to be said: a device on the way that is narrower than the pods."""
    rows = [row for row in node.planned("Link") if " mtu " in row["object"] and row["was"]]
    yield cause(
        "pmtu_icmp_filtered", rule.object, node.name, keys=frozenset({_key(node, rule), *map(node.key, rows)}),
        pairs=world.far(node.name),
        evidence=[*rule.told(), *(f"expected: {r['object']}; found: {r['was']}" for r in rows)],
        fix=joined([rule.fix, node.steps(rows)] if rows else [rule.fix]),
    )  # fmt: skip


def _between_pods(world: World, node: NodeView, rule: _Rule) -> bool:
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


def _pods_of(world: World, node: NodeView, rule: _Rule) -> List[str]:
    found = []
    for key in ("ip saddr", "ip daddr", "ip6 saddr", "ip6 daddr"):
        value = rule.matches.get(key)
        if isinstance(value, str):
            network = ip_network(value, strict=False)
            for pod in world.pods_of(node.name):
                if any(
                    ip_address(ip).version == network.version and ip_address(ip) in network
                    for ip in world.ips.get(pod, [])
                ):
                    found.append(pod)
    return found


def _inside(world: World, node: NodeView, pod: str, rules: List[_Rule]) -> Iterator[Cause]:
    netns = node.snapshot["sandboxes"][pod]["netns"]
    for rule in rules:
        if rule.verdict in _ENDS:
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
        if any(target == pod for _, target in world.failures["pairs"]):
            continue  # something keeps them out
        yield cause(
            "policy_not_enforced", f"file {path}", node.name, "", "node", frozenset({f"{node.name} policy {path}"}),
            evidence=[f"expected: nobody reaches {pod}", "found: everybody does, and no rule speaks of the policy"],
            fix=f"rm {path}    # or install what enforces policies", quiet=True,
        )  # fmt: skip


def _denied(world: World, policy: Any) -> Optional[str]:
    """The pod whose ingress a NetworkPolicy denies altogether."""
    spec = policy.get("spec", {})
    name = spec.get("podSelector", {}).get("matchLabels", {}).get("name", "")
    denies = "Ingress" in spec.get("policyTypes", []) and not spec.get("ingress")
    return next((pod for pod in world.home if denies and pod.rpartition("/")[2] == name), None)
