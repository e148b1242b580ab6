"""What a node forwards: sysctls and policy rules, those of pods among them."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import FrozenSet, Iterator, List, Sequence

from ...model.command import command, within
from ...model.objects import Sysctl
from ...observe.records import RuleRow
from ..cause import Cause, Pair
from ..commands import sysctl
from ..evidence import World
from ..titles import cause
from ..views import NodeView

_SITE = "./run site"
_ECHO_IGNORED = "net/ipv4/icmp_echo_ignore_all"
_MAIN_TABLES = (253, 254, 255)  # default, main, local (include/uapi/linux/rtnetlink.h)
_DEFAULT_PRIORITIES = (0, 32766, 32767)


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes."""
    for node in world.nodes.values():
        for version in world.cluster.versions:
            yield from _forwarding(world, node, version)
        yield from _arp(world, node)
        yield from _echo(world, node)
        pairs = world.far(node.name) | world.near(node.name) | world.local(node.name)
        yield from _rules(world, node, node.namespace["rules"], pairs)
        for name in world.pods_of(node.name):
            if name in node.pods:
                yield from _rules(world, node, node.pods[name].namespace["rules"], world.of(name), name)


def _echo(world: World, node: NodeView) -> Iterator[Cause]:
    """Who answers no ping, though all else may pass."""
    if node.sysctl(_ECHO_IGNORED) == "1":
        pairs = frozenset(pair for pair in world.local(node.name) if pair[1] == node.name)
        yield _ignored(node, node.name, pairs)
    for pod in node.pods.values():
        if pod.namespace["sysctls"].get(_ECHO_IGNORED) == "1":
            yield _ignored(node, pod.name, frozenset(pair for pair in world.of(pod.name) if pair[1] == pod.name))


def _ignored(node: NodeView, name: str, pairs: FrozenSet[Pair]) -> Cause:
    fix, pod = sysctl(_ECHO_IGNORED, "0"), node.pods.get(name)
    return cause(
        "echo_ignored", f"sysctl {_ECHO_IGNORED}", node.name, "", f"pod:{name}" if pod else "node",
        frozenset({f"{node.name} echo ignored {name}"}), pairs, [f"expected: {_ECHO_IGNORED} = 0", "found: 1"],
        [within(pod.netns, fix) if pod else fix],
    )  # fmt: skip


def _forwarding(world: World, node: NodeView, version: int) -> Iterator[Cause]:
    texts = (text for ip, text in node.evidence["oracle"].items() if ip_address(ip).version == version)
    lookup = [f"kernel lookup for a packet from a pod: {text}" for text in texts][:1]
    switch = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}[version]
    devices = (world.cluster.cni.bridge, *(link["name"] for link in node.view.vteps()))
    if node.sysctl(switch) == "0":
        changes = [change for change in node.changes(Sysctl) if f"/ipv{version}/" in change.object.key]
        keys = {f"{node.name} forwarding {version} {device}" for device in devices}
        yield cause(
            "ip_forward_off", f"sysctl {switch}", node.name, keys=frozenset({*map(node.key, changes), *keys}),
            pairs=world.forwarded(node.name), evidence=[f"expected: {switch} = 1", "found: 0", *lookup],
            fix=[sysctl(switch, "1")], verb=_SITE,
        )  # fmt: skip
        return
    # The kernel forwards IPv6 by the switch of the device that a packet comes by as well (ip6_forward).
    for device in devices:
        key = f"net/ipv{version}/conf/{device}/forwarding"
        if node.sysctl(key) == "0":
            yield cause(
                "device_forwarding_off", f"sysctl {key}", node.name, device,
                keys=frozenset({f"{node.name} forwarding {version} {device}"}), pairs=world.far(node.name),
                evidence=[f"expected: {key} = 1", "found: 0", *lookup], fix=[sysctl(key, "1")],
            )  # fmt: skip


def _arp(world: World, node: NodeView) -> Iterator[Cause]:
    for device in ("all", world.cluster.cni.bridge):
        key = f"net/ipv4/conf/{device}/arp_ignore"
        if node.sysctl(key) not in ("", "0"):
            yield cause(
                "arp_ignored", f"sysctl {key}", node.name, device,
                keys=frozenset({f"{node.name} arp_ignore {device}"}),
                pairs=world.far(node.name) | world.local(node.name),
                evidence=[f"expected: {key} = 0", f"found: {node.sysctl(key)}"], fix=[sysctl(key, "0")],
            )  # fmt: skip


def _rules(
    world: World, node: NodeView, rules: Sequence[RuleRow], pairs: FrozenSet[Pair], pod: str = ""
) -> Iterator[Cause]:
    """Policy rules that take packets of ``pairs`` off the main table, of a pod or of the node."""
    for rule in rules:
        priority, is_lookup = rule["priority"], rule["action"] == "lookup"
        if priority in _DEFAULT_PRIORITIES or (is_lookup and (rule["table"] in _MAIN_TABLES or "mark" in rule)):
            continue
        text = f"{priority}: {_text(rule)}"
        fix = command("ip -{} rule del pref {}", rule["family"], priority)
        yield cause(
            "policy_rule", f"rule {text}", node.name, place=f"pod:{pod}" if pod else "node",
            # Another table may well have the route: believed for what nothing else explains.
            keys=frozenset() if is_lookup else frozenset({f"{node.name} {pod} rule {priority}"}),
            pairs=_met(world, rule, pairs),
            evidence=["expected: the rules 0, 32766 and 32767", f"found: {text}"],
            fix=[within(node.pods[pod].netns, fix) if pod else fix],
        )  # fmt: skip


def _text(rule: RuleRow) -> str:
    """As ``ip rule`` prints it."""
    host = 32 if rule["family"] == 4 else 128
    words: List[str] = []
    for word, network in (("from", rule.get("from")), ("to", rule.get("to"))):
        words += [word, network.removesuffix(f"/{host}")] if network else []
    for word, device in (("iif", rule.get("iif")), ("oif", rule.get("oif"))):
        words += [word, device] if device else []
    words += [rule["action"], str(rule["table"])] if rule["action"] == "lookup" else [rule["action"]]
    return " ".join(words)


def _met(world: World, rule: RuleRow, pairs: FrozenSet[Pair]) -> FrozenSet[Pair]:
    """Pairs whose packets a rule meets, or the answers to them."""

    def meets(network: str, end: str) -> bool:
        if not network:
            return True
        wanted = ip_network(network, strict=False)
        home = world.nodes.get(world.home.get(end, end))
        # A node sends from any of its addresses, a VXLAN device's among them.
        is_node = home is not None and (end == home.name or end in world.host_pods)
        ips = [*(map(ip_address, home.view.devices) if home and is_node else ()), *world.pod_addresses(end)]
        return any(ip.version == wanted.version and ip in wanted for ip in ips)

    source, target = rule.get("from", ""), rule.get("to", "")
    return frozenset(
        pair for pair in pairs if any(meets(source, a) and meets(target, b) for a, b in (pair, pair[::-1]))
    )
