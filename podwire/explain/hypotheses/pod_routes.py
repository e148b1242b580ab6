"""Where a pod's own routes lead."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Iterator, List

from ...model.command import Command, command, within
from ...model.objects import IPNetwork
from ..cause import Cause
from ..evidence import World
from ..titles import cause
from ..views import NodeView, PodView


def default_elsewhere(world: World, node: NodeView, pod: PodView, name: str) -> Iterator[Cause]:
    """A default route by an address of the pod CIDR that is no gateway: others' gateways may be anywhere else."""
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
    gateways = {str(block[1]) for block in world.blocks(node.name)}
    for network, route in pod.inside.routes:
        if not network.prefixlen or route.get("gateway") in gateways:
            continue
        ends = {
            other for other in world.home if world.home[other] != node.name
            for ip in world.pod_addresses(other) if ip in network
        }  # fmt: skip
        if not ends:
            continue
        is_unicast, device = route["kind"] == "unicast", route.get("device", "")
        words: List[object] = [network] if is_unicast else [route["kind"], network]
        words += ["dev", device] if device and is_unicast else []
        yield cause(
            "pod_route_wrong", f"route {network}", node.name, device, f"pod:{pod.name}",
            pairs=frozenset(pair for end in ends for pair in ((pod.name, end), (end, pod.name))),
            evidence=["expected: the default route leads there", f"found: {' '.join(map(str, words))}"],
            fix=[within(pod.netns, command("ip -{} route del", network.version, more=words))],
        )  # fmt: skip


def connected(pod: PodView, block: IPNetwork, name: str) -> Command:
    """The command for the route to the pod CIDR itself, which the kernel makes with an address."""
    addresses = (row["address"] for row in pod.namespace["addresses"] if ip_address(row["address"]) in block)
    address = next(addresses, "")
    source = ["src", address] if address else []
    words = block.version, block, name
    return within(pod.netns, command("ip -{} route replace {} dev {} proto kernel scope link", *words, more=source))


def default(pod: PodView, block: IPNetwork, name: str) -> Command:
    """The command for the default route."""
    return within(pod.netns, command("ip -{} route replace default via {} dev {}", block.version, block[1], name))
