"""The underlay: addresses, neighbours, MTU and rates between nodes."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import FrozenSet, Iterator

from ...intent import underlay
from ...model.command import command
from ...model.objects import Link
from ...observe.records import AddressRow
from ..cause import Cause, Pair
from ..evidence import World
from ..titles import cause
from ..views import NodeView

_SHAPED = {"tbf": "link_slow", "htb": "link_slow", "netem loss": "link_lossy", "netem delay": "link_delayed"}


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes."""
    for node in world.nodes.values():
        for address in node.namespace["addresses"]:
            if address["device"] == node.node.interface and not ip_address(address["address"]).is_link_local:
                yield from _duplicate(world, node, address)
                yield from _overlap(world, node, address)
        yield from _neighbours(world, node)
        yield from _rates(world, node)
    yield from _narrow(world)


def _text(address: AddressRow) -> str:
    return f"{address['address']}/{address['prefix']}"


def _duplicate(world: World, node: NodeView, address: AddressRow) -> Iterator[Cause]:
    interface, text = node.node.interface, _text(address)
    for peer in world.peers(node.name):
        if any(str(ip.ip) == address["address"] for ip in peer.addresses):
            view = world.nodes.get(peer.name)
            link = view.view.links.get(interface) if view else None
            theirs = (link["mac"] if link else "") if view else "an unknown place"
            yield cause(
                "duplicate_node_ip", f"address {text} dev {interface}", node.name, interface,
                keys=frozenset({f"{node.name} address {text}"}), pairs=world.between(node.name, peer.name),
                evidence=[f"expected: {address['address']} is {peer.name}'s, at {theirs}",
                          f"found: {node.name} has it, too, at {node.view.links[interface]['mac']}"],
                fix=[command("ip addr del {} dev {}", text, interface)],
            )  # fmt: skip


def _overlap(world: World, node: NodeView, address: AddressRow) -> Iterator[Cause]:
    interface, text = node.node.interface, _text(address)
    network = ip_network((address["address"], address["prefix"]), strict=False)
    for other in world.cluster.nodes:
        if any(network.version == block.version and network.overlaps(block) for block in other.pod_cidrs):
            is_peer = other.name != node.name
            yield cause(
                "cidr_overlap", f"address {text} dev {interface}", node.name, interface,
                keys=frozenset({f"{node.name} address {text}"}),
                pairs=world.between(node.name, other.name) if is_peer else world.far(node.name),
                evidence=[f"expected: the nodes' network is apart from {other.pod_cidrs[0]}, pods of {other.name}",
                          f"found: {network} on {interface}"],
                fix=[command("ip addr del {} dev {}", text, interface)],
            )  # fmt: skip


def _neighbours(world: World, node: NodeView) -> Iterator[Cause]:
    interface = node.node.interface
    for peer in world.peers(node.name):
        view = world.nodes.get(peer.name)
        link = view.view.links.get(peer.interface) if view else None
        for ip in (address.ip for address in peer.addresses if link):
            entry = node.view.neighbours.get((interface, str(ip)))
            if link and entry and entry["state"] == "permanent" and link["mac"] and entry.get("mac") != link["mac"]:
                yield cause(
                    "underlay_neighbour_wrong", f"neighbour {ip} dev {interface}", node.name, interface,
                    keys=frozenset({f"{node.name} neighbour {ip}"}), pairs=world.between(node.name, peer.name),
                    evidence=[f"expected: {link['mac']}, which {peer.name} has",
                              f"found: {entry.get('mac')} permanent"],
                    fix=[command("ip neigh del {} dev {}", ip, interface)],
                )  # fmt: skip


def _rates(world: World, node: NodeView) -> Iterator[Cause]:
    devices = {node.node.interface, *(link["name"] for link in node.view.vteps()), world.cluster.cni.bridge}
    for device, kind in node.evidence["qdiscs"].items():
        if device in devices and kind in _SHAPED:
            yield cause(
                _SHAPED[kind], f"qdisc of {device}", node.name, device,
                keys=frozenset({f"{node.name} qdisc {device}"}), pairs=world.far(node.name),
                evidence=["expected: the device's default", f"found: {kind} as root"],
                fix=[command("tc qdisc del dev {} root", device)], quiet=True,
            )  # fmt: skip


def _narrow(world: World) -> Iterator[Cause]:
    """Large packets are lost on the path to and from one node, and no device of any node explains it."""
    unreachable = world.failures["pairs"].keys()
    lost = world.failures["path_mtu"].keys() - unreachable
    for node in world.nodes.values():
        pairs = frozenset(pair for pair in world.far(node.name) - unreachable if not set(pair) & world.host_pods)
        has_wrong_mtu = any(change.object.mtu is not None for change in node.changes(Link))
        if not pairs or not pairs <= lost or has_wrong_mtu or _is_filtered(world, node, pairs):
            continue
        is_lab = node.node.kind == "netns"
        veth = next((it for it in underlay.pairs(world.cluster) if it.name == node.name), None) if is_lab else None
        reason = next(why for pair, why in world.failures["path_mtu"].items() if pair in pairs)
        yield cause(
            "underlay_mtu_low", f"link {veth.port}" if veth else f"underlay of {node.name}", node.name,
            node.node.interface, "underlay" if veth else "node",
            frozenset({f"underlay mtu of {sorted(pairs)}"}), pairs,
            [f"expected: packets of {world.cluster.mtu} bytes pass", f"found: {reason}",
             "both ends' own devices have the declared MTU, and small packets pass"],
            [command("ip link set dev {} mtu {}", veth.port, node.node.mtu)] if veth else [],
        )  # fmt: skip


def _is_filtered(world: World, node: NodeView, pairs: FrozenSet[Pair]) -> bool:
    """Whether a rule was traced to drop the packets."""
    return any(
        look["source"] in world.pods_of(node.name)
        and (look["source"], look["target"]) in pairs
        and any(is_drop for *_, is_drop in look["verdicts"])
        for _, look in world.looks
    )
