"""Where a pod's own routes lead."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Iterator

from ...model.command import Command, command, within
from ..cause import Cause
from ..evidence import NodeView, PodView, World
from ..titles import cause


def default_elsewhere(world: World, node: NodeView, pod: PodView, name: str) -> Iterator[Cause]:
    """A default route by an address of the block that is no gateway: others' gateways may be anywhere else."""
    for network, route in pod.inside.routes:
        block = next((b for b in world.blocks(node.name) if b.version == network.version), None)
        gateway = route.get("gateway", "")
        if network.prefixlen or block is None or not gateway or ip_address(gateway) not in block:
            continue
        if gateway == str(block[1]) or gateway in node.view.devices:
            continue
        metric = ["metric", route["metric"]] if route.get("metric") else []
        words = network.version, gateway, route.get("device", name)
        wrong = within(pod.netns, command("ip -{} route del default via {} dev {}", *words, more=metric))
        yield cause(
            "pod_route_wrong", f"route {network} via {gateway}", node.name, name, f"pod:{pod.name}",
            frozenset({f"{node.name} pod {pod.name} default {gateway}"}), world.of(pod.name) - world.near(node.name),
            [f"expected: a default route via {block[1]}", f"found: one via {gateway}, which is no address of the node"],
            [wrong, default(pod, block, name)],
        )  # fmt: skip


def routes(world: World, node: NodeView, pod: PodView) -> Iterator[Cause]:
    """Routes inside that the network did not make, to where other nodes' pods are."""
    for network, route in pod.inside.routes:
        ends = {
            other for other in world.home if world.home[other] != node.name
            for ip in world.ips.get(other, []) if network.prefixlen and ip_address(ip) in network
        }  # fmt: skip
        gateways = {str(block[1]) for block in world.blocks(node.name)}
        if not ends or route.get("gateway") in gateways or "destination" not in route:
            continue
        words = ([route["kind"]] if route["kind"] != "unicast" else []) + [str(network)]
        words += ["dev", route["device"]] if "device" in route and route["kind"] == "unicast" else []
        yield cause(
            "pod_route_wrong", f"route {network}", node.name, route.get("device", ""), f"pod:{pod.name}",
            pairs=frozenset(p for end in ends for p in ((pod.name, end), (end, pod.name))),
            evidence=["expected: the default route leads there", f"found: {' '.join(words)}"],
            fix=[within(pod.netns, command("ip -{} route del", network.version, more=words))],
        )  # fmt: skip


def connected(pod: PodView, block: Any, name: str) -> Command:
    """The command for the route to the block itself, which the kernel makes with an address."""
    own = next(
        (address["address"] for address in pod.namespace["addresses"] if ip_address(address["address"]) in block), ""
    )
    source = ["src", own] if own else []
    return within(
        pod.netns,
        command("ip -{} route replace {} dev {} proto kernel scope link", block.version, block, name, more=source),
    )


def default(pod: PodView, block: Any, name: str) -> Command:
    """The command for the default route."""
    return within(pod.netns, command("ip -{} route replace default via {} dev {}", block.version, block[1], name))
