"""MAC addresses of pods: their own, and what pods and their node have in neighbour entries."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Iterator, List, Optional, Tuple

from ...model.command import Command, command, within
from ...model.objects import MacAddress
from ...observe.records import LinkRow, NeighbourRow
from ..cause import Cause
from ..evidence import World
from ..titles import cause
from ..views import NodeView, PodView


def neighbours(world: World, node: NodeView, pod: PodView, device: LinkRow) -> Iterator[Cause]:
    """Candidates of one pod."""
    yield from _gateways(world, node, pod, device)
    yield from _of_node(world, node, pod, device)
    yield from _of_pods(world, node, pod, device)
    yield from _duplicate_mac(world, node, pod, device)


def _gateways(world: World, node: NodeView, pod: PodView, device: LinkRow) -> Iterator[Cause]:
    name = device["name"]
    owner = node.view.links.get(world.cluster.cni.bridge) or pod.port
    for block in world.blocks(node.name):
        entry = pod.inside.neighbours.get((name, str(block[1])))
        if owner and entry and _is_wrong(entry, owner["mac"]):
            yield cause(
                "gateway_mac_wrong", f"neighbour {block[1]} dev {name}", node.name, name, f"pod:{pod.name}",
                frozenset({f"{node.name} pod {pod.name} gateway"}), world.of(pod.name),
                [f"expected: {owner['mac']}, which is {owner['name']}'s", f"found: {entry.get('mac')} permanent"],
                [within(pod.netns, command("ip neigh del {} dev {}", block[1], name))],
            )  # fmt: skip


def _of_node(world: World, node: NodeView, pod: PodView, device: LinkRow) -> Iterator[Cause]:
    bridge = world.cluster.cni.bridge
    for ip in world.ips.get(pod.name, []):
        entry = node.view.neighbours.get((bridge, ip))
        if entry and _is_wrong(entry, device["mac"]):
            yield cause(
                "node_neighbour_wrong", f"neighbour {ip} dev {bridge}", node.name, bridge,
                keys=frozenset({f"{node.name} pod {pod.name} neighbour of the node {ip}"}),
                pairs=world.of(pod.name) - world.near(node.name),
                evidence=[f"expected: {device['mac']}, which {pod.name} has", f"found: {entry.get('mac')} permanent"],
                fix=[command("ip neigh del {} dev {}", ip, bridge)],
            )  # fmt: skip


def _of_pods(world: World, node: NodeView, pod: PodView, device: LinkRow) -> Iterator[Cause]:
    name = device["name"]
    for other in node.pods.values():
        theirs = other.device["mac"] if other.device else ""
        for ip in world.ips.get(other.name, []) if other.name != pod.name else ():
            entry = pod.inside.neighbours.get((name, ip))
            if theirs and entry and _is_wrong(entry, theirs):
                yield cause(
                    "pod_neighbour_wrong", f"neighbour {ip} dev {name}", node.name, name, f"pod:{pod.name}",
                    frozenset({f"{node.name} pod {pod.name} neighbour {ip}"}),
                    frozenset({(pod.name, other.name), (other.name, pod.name)}),
                    [f"expected: {theirs}, which {other.name} has", f"found: {entry.get('mac')} permanent"],
                    [within(pod.netns, command("ip neigh del {} dev {}", ip, name))],
                )  # fmt: skip


def _is_wrong(entry: NeighbourRow, mac: str) -> bool:
    return entry["state"] == "permanent" and entry.get("mac") != mac


def _duplicate_mac(world: World, node: NodeView, pod: PodView, device: LinkRow) -> Iterator[Cause]:
    name, mac = device["name"], device["mac"]
    others = (it for it in node.pods.values() if it.name != pod.name and it.device and it.device["mac"] == mac)
    other = next(others, None)
    original, source = _original_mac(node, pod, device)
    if other is None or not original or original == mac:
        return
    steps = [within(pod.netns, command("ip link set dev {} address {}", name, original))]
    for ip in world.ips.get(pod.name, []):
        steps += flushed(node, ip, mac)
    yield cause(
        "duplicate_mac", f"link {name}", node.name, name, f"pod:{pod.name}",
        frozenset({f"{node.name} pod {pod.name} mac"}), world.of(pod.name) | world.of(other.name),
        [f"expected: {original}: {source}", f"found: {mac}, which is {other.name}'s"], steps,
    )  # fmt: skip


def flushed(node: NodeView, ip: str, mac: str) -> List[Command]:
    """Commands that make the node, and those of its pods that have an address at a MAC, resolve it again."""
    flush = command("ip neigh flush to {}", ip)
    pods = (
        pod
        for pod in node.pods.values()
        if any(row["address"] == ip and row.get("mac") == mac for row in pod.namespace["neighbours"])
    )
    return [flush, *(within(pod.netns, flush) for pod in pods)]


def _original_mac(node: NodeView, pod: PodView, device: LinkRow) -> Tuple[str, str]:
    """The MAC address that the device was made with, and how that is known: from the plugin's result in the runtime's
    cache, else from its link-local address, which is derived from the MAC address that it came up with (RFC 4291
    appendix A) and stays when that changes."""
    for attachment in node.snapshot["attachments"]:
        if attachment["netns"] == pod.netns:
            inside = (interface["mac"] for interface in attachment["interfaces"] if interface["sandbox"])
            return next(inside, ""), "the plugin's own result"
    for row in pod.namespace["addresses"]:
        mac = _mac_of(row["address"]) if row["device"] == device["name"] else None
        if mac is not None:
            return str(mac), f"{row['address']} is derived from it"
    return "", ""


def _mac_of(address: str) -> Optional[MacAddress]:
    ip = ip_address(address)
    if not ip.is_link_local or ip.packed[11:13] != b"\xff\xfe":
        return None
    return MacAddress([ip.packed[8] ^ 2, *ip.packed[9:11], *ip.packed[13:]])
