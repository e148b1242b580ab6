"""What a node forwards: sysctls and policy rules."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any, Iterator, List, Mapping

from ..cause import Cause
from ..commands import sysctl
from ..evidence import NodeView, World
from ..titles import cause

_SITE = "./run site"
_OWN_TABLES = (253, 254, 255)  # default, main, local (include/uapi/linux/rtnetlink.h)
Row = Mapping[str, Any]


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes."""
    for node in world.nodes.values():
        yield from _forwarding(world, node)
        yield from _rules(world, node)


def _forwarding(world: World, node: NodeView) -> Iterator[Cause]:
    bridge = world.cluster.cni.bridge
    for version in world.cluster.versions:
        words = (word for ip, word in node.told["oracle"].items() if (":" in ip) == (version == 6))
        said = [f"the kernel's word on a packet from a pod: {word}" for word in words][:1]
        switch = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}[version]
        off = node.sysctl(switch) == "0"
        devices = (bridge, *(link["name"] for link in node.view.vteps()))
        if off:
            rows = [row for row in node.planned("Sysctl") if f"/ipv{version}/" in row["object"]]
            keys = {f"{node.name} forwarding {version} {device}" for device in devices}
            yield cause(
                "ip_forward_off", f"sysctl {switch}", node.name, keys=frozenset({*map(node.key, rows), *keys}),
                pairs=world.far(node.name), evidence=[f"expected: {switch} = 1", "found: 0", *said],
                fix=sysctl(switch, "1"), verb=_SITE,
            )  # fmt: skip
        # The kernel forwards IPv6 by the switch of the device that a packet comes by as well (ip6_forward).
        for device in () if off else devices:
            key = f"net/ipv{version}/conf/{device}/forwarding"
            if node.sysctl(key) == "0":
                yield cause(
                    "device_forwarding_off", f"sysctl {key}", node.name, device,
                    keys=frozenset({f"{node.name} forwarding {version} {device}"}), pairs=world.far(node.name),
                    evidence=[f"expected: {key} = 1", "found: 0", *said], fix=sysctl(key, "1"),
                )  # fmt: skip
    for device in ("all", bridge):
        key = f"net/ipv4/conf/{device}/arp_ignore"
        if node.sysctl(key) not in ("", "0"):
            yield cause(
                "arp_ignored", f"sysctl {key}", node.name, device,
                keys=frozenset({f"{node.name} arp_ignore {device}"}),
                pairs=world.far(node.name) | world.local(node.name),
                evidence=[f"expected: {key} = 0", f"found: {node.sysctl(key)}"], fix=sysctl(key, "0"),
            )  # fmt: skip


def _rules(world: World, node: NodeView) -> Iterator[Cause]:
    """Policy rules that take pods' packets off the main table."""
    for rule in node.namespace["rules"]:
        elsewhere = rule["action"] == "lookup"
        if rule["priority"] in (0, 32766, 32767) or (elsewhere and (rule["table"] in _OWN_TABLES or "mark" in rule)):
            continue
        pods = [pod for pod in world.pods_of(node.name) if _meets(rule, world.ips.get(pod, []))]
        words = []
        for key in ("from", "to"):
            if key in rule:
                host = 32 if rule["family"] == 4 else 128
                words.append(f"{key} {rule[key]}".removesuffix(f"/{host}"))
        words += [f"{key} {rule[key]}" for key in ("iif", "oif") if key in rule]
        told = " ".join([*words, rule["action"], *([str(rule["table"])] if elsewhere else [])])
        yield cause(
            "policy_rule", f"rule {rule['priority']}: {told}", node.name,
            # Another table may well have the way: believed for what nothing else explains.
            keys=frozenset() if elsewhere else frozenset({f"{node.name} rule {rule['priority']}"}),
            pairs=frozenset(p for pod in pods for p in world.of(pod)),
            evidence=["expected: the rules 0, 32766 and 32767", f"found: {rule['priority']}: {told}"],
            fix=f"ip {'-6 ' if rule['family'] == 6 else ''}rule del pref {rule['priority']}",
        )  # fmt: skip


def _meets(rule: Row, ips: List[str]) -> bool:
    for key in ("from", "to"):
        if key in rule:
            network = ip_network(rule[key], strict=False)
            if any(ip_address(ip).version == network.version and ip_address(ip) in network for ip in ips):
                return True
    return "from" not in rule and "to" not in rule
