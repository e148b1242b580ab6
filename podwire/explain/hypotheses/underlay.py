"""The network below: addresses, ARP, MTU and rates between nodes."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Iterator

from ...intent import underlay
from ...model.command import command
from ..cause import Cause
from ..evidence import NodeView, World
from ..titles import cause

_SHAPED = {"tbf": "link_slow", "htb": "link_slow", "netem loss": "link_lossy", "netem delay": "link_delayed"}


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes."""
    for node in world.nodes.values():
        yield from _addresses(world, node)
        yield from _neighbours(world, node)
        yield from _rates(world, node)
    yield from _narrow(world)


def _addresses(world: World, node: NodeView) -> Iterator[Cause]:
    interface = node.node.interface
    for address in node.namespace["addresses"]:
        if address["device"] != interface or ip_address(address["address"]).is_link_local:
            continue
        text = f"{address['address']}/{address['prefix']}"
        for peer in world.peers(node.name):
            pairs = world.between(node.name, peer.name)
            if any(str(ip.ip) == address["address"] for ip in peer.addresses):
                view = world.nodes.get(peer.name)
                theirs = view.view.links.get(interface, {}).get("mac", "") if view else "an unknown place"
                mine = node.view.links[interface]["mac"]
                fix = [command("ip addr del {} dev {}", text, interface)]
                yield cause(
                    "duplicate_node_ip", f"address {text} dev {interface}", node.name, interface,
                    keys=frozenset({f"{node.name} address {text}"}), pairs=pairs,
                    evidence=[f"expected: {address['address']} is {peer.name}'s, at {theirs}",
                              f"found: {node.name} has it, too, at {mine}"], fix=fix,
                )  # fmt: skip
        network = ip_network((address["address"], address["prefix"]), strict=False)
        for other in world.cluster.nodes:
            if any(network.version == b.version and network.overlaps(b) for b in other.pod_cidrs):
                yield cause(
                    "cidr_overlap", f"address {text} dev {interface}", node.name, interface,
                    keys=frozenset({f"{node.name} address {text}"}),
                    pairs=world.between(node.name, other.name) if other.name != node.name else world.far(node.name),
                    evidence=[f"expected: the nodes' network is apart from {other.pod_cidrs[0]}, pods of {other.name}",
                              f"found: {network} on {interface}"],
                    fix=[command("ip addr del {} dev {}", text, interface)],
                )  # fmt: skip


def _neighbours(world: World, node: NodeView) -> Iterator[Cause]:
    for peer in world.peers(node.name):
        view = world.nodes.get(peer.name)
        for ip in peer.addresses if view else ():
            entry = node.view.neighbours.get((node.node.interface, str(ip.ip)))
            theirs = view.view.links.get(peer.interface, {}).get("mac") if view else ""
            if entry and entry["state"] == "permanent" and theirs and entry.get("mac") != theirs:
                yield cause(
                    "underlay_neighbour_wrong", f"neighbour {ip.ip} dev {node.node.interface}", node.name,
                    node.node.interface, keys=frozenset({f"{node.name} neighbour {ip.ip}"}),
                    pairs=world.between(node.name, peer.name),
                    evidence=[f"expected: {theirs}, which {peer.name} has", f"found: {entry.get('mac')} permanent"],
                    fix=[command("ip neigh del {} dev {}", ip.ip, node.node.interface)],
                )  # fmt: skip


def _rates(world: World, node: NodeView) -> Iterator[Cause]:
    own = {node.node.interface, *(link["name"] for link in node.view.vteps()), world.cluster.cni.bridge}
    for device, kind in node.told["qdiscs"].items():
        if device in own and kind in _SHAPED:
            yield cause(
                _SHAPED[kind], f"qdisc of {device}", node.name, device,
                keys=frozenset({f"{node.name} qdisc {device}"}), pairs=world.far(node.name),
                evidence=["expected: the device's default", f"found: {kind} as root"],
                fix=[command("tc qdisc del dev {} root", device)], quiet=True,
            )  # fmt: skip


def _narrow(world: World) -> Iterator[Cause]:
    """Large packets are lost on the way to and from one node, and no device of any node says why."""
    silent = world.failures["pairs"].keys()
    lost = world.failures["path_mtu"].keys() - silent
    for node in world.nodes.values():
        far = {pair for pair in world.far(node.name) - silent if not set(pair) & world.host_pods}
        if not far or not far <= lost or any(row for row in node.planned("Link") if " mtu " in row["object"]):
            continue
        if any(look["source"] in world.pods_of(node.name) and (look["source"], look["target"]) in far
               and any(ends for *_, ends in look["verdicts"]) for _, look in world.looks):  # fmt: skip
            continue  # the kernel says that a rule drops them
        lab = node.node.kind == "netns"
        pair = next((p for p in underlay.pairs(world.cluster) if p.name == node.name), None) if lab else None
        port = pair.port if pair else ""
        reason = next(why for (a, b), why in world.failures["path_mtu"].items() if (a, b) in far)
        yield cause(
            "underlay_mtu_low", f"link {port}" if port else f"underlay of {node.name}", node.name, node.node.interface,
            "underlay" if port else "node", frozenset({f"underlay mtu of {sorted(far)}"}), frozenset(far),
            [f"expected: packets of {world.cluster.mtu} bytes pass", f"found: {reason}",
             "both ends' own devices have the declared MTU, and small packets pass"],
            [command("ip link set dev {} mtu {}", port, node.node.mtu)] if port else [],
        )  # fmt: skip
