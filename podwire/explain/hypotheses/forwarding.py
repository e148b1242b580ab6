"""What a node forwards: sysctls and policy rules, those of pods among them."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any, FrozenSet, Iterator, List, Mapping

from ...model.command import command, within
from ..cause import Cause, Pair
from ..commands import sysctl
from ..evidence import NodeView, World
from ..titles import cause

_SITE = "./run site"
_DEAF = "net/ipv4/icmp_echo_ignore_all"
_OWN_TABLES = (253, 254, 255)  # default, main, local (include/uapi/linux/rtnetlink.h)
Row = Mapping[str, Any]


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes."""
    for node in world.nodes.values():
        yield from _forwarding(world, node)
        yield from _deaf(world, node)
        own = world.far(node.name) | world.near(node.name) | world.local(node.name)
        yield from _rules(world, node, node.namespace["rules"], own)
        for name in world.pods_of(node.name):
            if name in node.pods:
                yield from _rules(world, node, node.pods[name].namespace["rules"], world.of(name), name)


def _deaf(world: World, node: NodeView) -> Iterator[Cause]:
    """Who answers no ping, though all else may pass."""
    spaces = {node.name: (node.namespace, ""), **{pod.name: (pod.namespace, pod.netns) for pod in node.pods.values()}}
    for name, (namespace, netns) in spaces.items():
        if namespace["sysctls"].get(_DEAF) == "1":
            asking = world.of(name) if netns else world.local(node.name)
            yield cause(
                "echo_ignored", f"sysctl {_DEAF}", node.name, "", f"pod:{name}" if netns else "node",
                frozenset({f"{node.name} deaf {name}"}), frozenset(pair for pair in asking if pair[1] == name),
                [f"expected: {_DEAF} = 0", "found: 1"],
                [within(netns, sysctl(_DEAF, "0")) if netns else sysctl(_DEAF, "0")],
            )  # fmt: skip


def _forwarding(world: World, node: NodeView) -> Iterator[Cause]:
    bridge = world.cluster.cni.bridge
    for version in world.cluster.versions:
        words = (word for ip, word in node.told["oracle"].items() if (":" in ip) == (version == 6))
        said = [f"kernel lookup for a packet from a pod: {word}" for word in words][:1]
        switch = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}[version]
        off = node.sysctl(switch) == "0"
        devices = (bridge, *(link["name"] for link in node.view.vteps()))
        if off:
            rows = [row for row in node.planned("Sysctl") if f"/ipv{version}/" in row["object"]]
            keys = {f"{node.name} forwarding {version} {device}" for device in devices}
            yield cause(
                "ip_forward_off", f"sysctl {switch}", node.name, keys=frozenset({*map(node.key, rows), *keys}),
                pairs=world.forwarded(node.name), evidence=[f"expected: {switch} = 1", "found: 0", *said],
                fix=[sysctl(switch, "1")], verb=_SITE,
            )  # fmt: skip
        # The kernel forwards IPv6 by the switch of the device that a packet comes by as well (ip6_forward).
        for device in () if off else devices:
            key = f"net/ipv{version}/conf/{device}/forwarding"
            if node.sysctl(key) == "0":
                yield cause(
                    "device_forwarding_off", f"sysctl {key}", node.name, device,
                    keys=frozenset({f"{node.name} forwarding {version} {device}"}), pairs=world.far(node.name),
                    evidence=[f"expected: {key} = 1", "found: 0", *said], fix=[sysctl(key, "1")],
                )  # fmt: skip
    for device in ("all", bridge):
        key = f"net/ipv4/conf/{device}/arp_ignore"
        if node.sysctl(key) not in ("", "0"):
            yield cause(
                "arp_ignored", f"sysctl {key}", node.name, device,
                keys=frozenset({f"{node.name} arp_ignore {device}"}),
                pairs=world.far(node.name) | world.local(node.name),
                evidence=[f"expected: {key} = 0", f"found: {node.sysctl(key)}"], fix=[sysctl(key, "0")],
            )  # fmt: skip


def _rules(world: World, node: NodeView, rules: List[Row], own: FrozenSet[Pair], pod: str = "") -> Iterator[Cause]:
    """Policy rules that take packets of ``own`` pairs off the main table, of a pod or of the node."""
    for rule in rules:
        elsewhere = rule["action"] == "lookup"
        if rule["priority"] in (0, 32766, 32767) or (elsewhere and (rule["table"] in _OWN_TABLES or "mark" in rule)):
            continue
        words = []
        for key in ("from", "to"):
            if key in rule:
                host = 32 if rule["family"] == 4 else 128
                words.append(f"{key} {rule[key]}".removesuffix(f"/{host}"))
        words += [f"{key} {rule[key]}" for key in ("iif", "oif") if key in rule]
        told = " ".join([*words, rule["action"], *([str(rule["table"])] if elsewhere else [])])
        fix = command("ip -{} rule del pref {}", rule["family"], rule["priority"])
        yield cause(
            "policy_rule", f"rule {rule['priority']}: {told}", node.name, place=f"pod:{pod}" if pod else "node",
            # Another table may well have the way: believed for what nothing else explains.
            keys=frozenset() if elsewhere else frozenset({f"{node.name} {pod} rule {rule['priority']}"}),
            pairs=_taken(world, rule, own),
            evidence=["expected: the rules 0, 32766 and 32767", f"found: {rule['priority']}: {told}"],
            fix=[within(node.pods[pod].netns, fix) if pod else fix],
        )  # fmt: skip


def _taken(world: World, rule: Row, own: FrozenSet[Pair]) -> FrozenSet[Pair]:
    """Pairs whose packets a rule meets, or the answers to them."""

    def meets(key: str, end: str) -> bool:
        if key not in rule:
            return True
        network = ip_network(rule[key], strict=False)
        home = world.nodes.get(world.home.get(end, end))
        # A node sends from any of its addresses, a VXLAN device's among them.
        own = home.view.devices if home is not None and (end == home.name or end in world.host_pods) else ()
        ips = map(ip_address, [*own, *world.ips.get(end, [])])
        return any(ip.version == network.version and ip in network for ip in ips)

    return frozenset(pair for pair in own if any(meets("from", a) and meets("to", b) for a, b in (pair, pair[::-1])))
