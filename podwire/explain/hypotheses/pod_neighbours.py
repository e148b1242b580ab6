"""Who a pod and its node take each other for: MAC addresses, their own and those of neighbours."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Iterator, List, Mapping, Optional, Tuple

from ...model.command import Command, command, within
from ..cause import Cause
from ..evidence import NodeView, PodView, World
from ..titles import cause

Link = Mapping[str, Any]


def neighbours(world: World, node: NodeView, pod: PodView, device: Link, bridge: str) -> Iterator[Cause]:
    """Candidates of one pod."""
    key, name, place = f"{node.name} pod {pod.name}", device["name"], f"pod:{pod.name}"
    owner = node.view.links.get(bridge) or pod.port
    for block in world.blocks(node.name):
        entry = pod.inside.neighbours.get((name, str(block[1])))
        if entry and owner and entry["state"] == "permanent" and entry.get("mac") != owner["mac"]:
            yield cause(
                "gateway_mac_wrong", f"neighbour {block[1]} dev {name}", node.name, name, place,
                frozenset({f"{key} gateway"}), world.of(pod.name),
                [f"expected: {owner['mac']}, which is {owner['name']}'s", f"found: {entry.get('mac')} permanent"],
                [within(pod.netns, command("ip neigh del {} dev {}", block[1], name))],
            )  # fmt: skip
    for ip in world.ips.get(pod.name, []):
        entry = node.view.neighbours.get((bridge, ip))
        if entry and entry["state"] == "permanent" and entry.get("mac") != device["mac"]:
            yield cause(
                "node_neighbour_wrong", f"neighbour {ip} dev {bridge}", node.name, bridge,
                keys=frozenset({f"{key} neighbour of the node {ip}"}),
                pairs=world.of(pod.name) - world.near(node.name),
                evidence=[f"expected: {device['mac']}, which {pod.name} has", f"found: {entry.get('mac')} permanent"],
                fix=[command("ip neigh del {} dev {}", ip, bridge)],
            )  # fmt: skip
    for other in node.pods.values():
        theirs = (other.device or {}).get("mac")
        for ip in world.ips.get(other.name, []) if other.name != pod.name else ():
            entry = pod.inside.neighbours.get((name, ip))
            if entry and theirs and entry["state"] == "permanent" and entry.get("mac") != theirs:
                yield cause(
                    "pod_neighbour_wrong", f"neighbour {ip} dev {name}", node.name, name, place,
                    frozenset({f"{key} neighbour {ip}"}),
                    frozenset({(pod.name, other.name), (other.name, pod.name)}),
                    [f"expected: {theirs}, which {other.name} has", f"found: {entry.get('mac')} permanent"],
                    [within(pod.netns, command("ip neigh del {} dev {}", ip, name))],
                )  # fmt: skip
    twin = _twin(node, pod, device)
    right, source = _own_mac(node, pod, device)
    if twin is not None and right and right != device["mac"]:
        steps = [within(pod.netns, command("ip link set dev {} address {}", name, right))]
        for ip in world.ips.get(pod.name, []):
            steps += forgotten(node, ip, device["mac"])
        yield cause(
            "duplicate_mac", f"link {name}", node.name, name, place, frozenset({f"{key} mac"}),
            world.of(pod.name) | world.of(twin.name),
            [f"expected: {right}: {source}", f"found: {device['mac']}, which is {twin.name}'s"], steps,
        )  # fmt: skip


def forgotten(node: NodeView, ip: str, mac: str) -> List[Command]:
    """Those of the node who have learnt an address at a MAC have to forget it."""
    steps = []
    for pod in node.pods.values():
        if any(neighbour["address"] == ip and neighbour.get("mac") == mac for neighbour in pod.namespace["neighbours"]):
            steps.append(within(pod.netns, command("ip neigh flush to {}", ip)))
    return [command("ip neigh flush to {}", ip), *steps]


def _twin(node: NodeView, pod: PodView, device: Link) -> Optional[PodView]:
    for other in node.pods.values():
        if other.name != pod.name and (other.device or {}).get("mac") == device["mac"]:
            return other
    return None


def _own_mac(node: NodeView, pod: PodView, device: Link) -> Tuple[str, str]:
    """What the device was made with, and who says so: the plugin, by the runtime's cache; else its link-local address,
    which comes of the MAC address that it came up with (RFC 4291 appendix A) and stays when that changes."""
    for attachment in node.snapshot["attachments"]:
        if attachment["netns"] == pod.netns:
            return next(
                (str(it["mac"]) for it in attachment["interfaces"] if it["sandbox"]), ""
            ), "the plugin's own answer"
    for ip in (address["address"] for address in pod.namespace["addresses"] if address["device"] == device["name"]):
        packed = ip_address(ip).packed
        if ip_address(ip).is_link_local and packed[11:13] == b"\xff\xfe":
            mac = bytes([packed[8] ^ 2, *packed[9:11], *packed[13:]])
            return ":".join(f"{byte:02x}" for byte in mac), f"{ip} was made of it"
    return "", ""
