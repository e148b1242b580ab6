"""Pods' devices and what their node has of them; addresses, routes and neighbours are in files of their own."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Iterator, List, Optional

from ...model.command import Command, command, within
from ...observe.records import Interface, LinkRow
from ..cause import Cause
from ..evidence import World
from ..titles import cause
from ..views import NodeView, PodView
from .pod_addresses import addresses
from .pod_neighbours import neighbours
from .pod_routes import default, default_elsewhere, routes


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all pods."""
    for node in world.nodes.values():
        for name in world.pods_of(node.name):
            if name in node.pods:
                yield from _pod(world, node, node.pods[name])
        yield from _on_node(world, node)


def _pod(world: World, node: NodeView, pod: PodView) -> Iterator[Cause]:
    device = pod.device
    if device is None:
        yield _deleted(world, node, pod)
        return
    if not device["up"]:
        yield cause(
            "pod_device_down", f"link {device['name']}", node.name, device["name"], f"pod:{pod.name}",
            frozenset({f"{node.name} pod {pod.name} device"}), world.of(pod.name), ["expected: up", "found: down"],
            [within(pod.netns, command("ip link set dev {} up", device["name"]))],
        )  # fmt: skip
    yield from _mtu(world, node, pod, device)
    yield from addresses(world, node, pod, device)
    yield from routes(world, node, pod)
    yield from default_elsewhere(world, node, pod, device["name"])
    yield from neighbours(world, node, pod, device)


def _mtu(world: World, node: NodeView, pod: PodView, device: LinkRow) -> Iterator[Cause]:
    mtu, name, port = world.cluster.mtu, device["name"], pod.port
    outside = [command("ip link set dev {} mtu {}", port["name"], mtu)] if port is not None else []
    inside = within(pod.netns, command("ip link set dev {} mtu {}", name, mtu))
    if port is not None and port["mtu"] != device["mtu"]:
        steps = outside if port["mtu"] != mtu else []
        yield _unequal(world, node, pod, port, device, [*steps, *([inside] if device["mtu"] != mtu else [])])
    elif device["mtu"] != mtu:
        yield cause(
            "pod_mtu_wrong", f"link {name}", node.name, name, f"pod:{pod.name}",
            frozenset({f"{node.name} pod {pod.name} mtu"}), world.of(pod.name),
            [f"expected: MTU {mtu}", f"found: {device['mtu']}"], [*outside, inside],
        )  # fmt: skip


def _unequal(world: World, node: NodeView, pod: PodView, port: LinkRow, device: LinkRow, steps: List[Command]) -> Cause:
    mtu, pairs = world.cluster.mtu, world.of(pod.name)
    wrong = port["name"] if port["mtu"] != mtu else device["name"]
    evidence = [f"expected: MTU {mtu} on both ends",
                f"found: {port['mtu']} on {port['name']}, {device['mtu']} on {device['name']} inside"]  # fmt: skip
    bridge = node.view.links.get(port.get("master", ""))
    if bridge is not None and bridge["mtu"] == port["mtu"] < mtu:
        evidence.append(f"{bridge['name']} has {bridge['mtu']}, too: the least of its ports', as none was set for it")
        pairs |= {pair for pair in world.far(node.name) if world.home.get(pair[1]) == node.name}
    return cause(
        "veth_mtu_mismatch", f"link {wrong}", node.name, wrong,
        keys=frozenset({f"{node.name} pod {pod.name} mtu"}), pairs=pairs, evidence=evidence, fix=steps,
    )  # fmt: skip


def _on_node(world: World, node: NodeView) -> Iterator[Cause]:
    """Pods' addresses that a node has itself: what it sends there comes back to it."""
    for row in node.namespace["addresses"]:
        address, pod = row["address"], world.pod_with(row["address"])
        if pod and pod not in world.host_pods:
            where = f"{address}/{row['prefix']} dev {row['device']}"
            pairs = frozenset(pair for pair in world.far(node.name) | world.local(node.name) if pod in pair)
            yield cause(
                "duplicate_ip", f"address {where}", node.name, row["device"],
                keys=frozenset({f"{node.name} extra {address}"}), pairs=pairs or world.of(pod),
                evidence=[f"expected: {address} is {pod}'s", f"found: {node.name} has it, too"],
                fix=[command("ip addr del {}/{} dev {}", address, row["prefix"], row["device"])],
            )  # fmt: skip


def _deleted(world: World, node: NodeView, pod: PodView) -> Cause:
    return cause(
        "veth_deleted", "link eth0", node.name, "eth0", f"pod:{pod.name}",
        frozenset({f"{node.name} pod {pod.name} device"}), world.of(pod.name),
        ["expected: a veth pair into the pod", "found: no device but loopback"],
        _new_pair(world, node, pod), "./run site",
    )  # fmt: skip


def _new_pair(world: World, node: NodeView, pod: PodView) -> List[Command]:
    """The pair as it was made, as far as the runtime's cache has it, with the addresses that the pod was given."""
    bridge, mtu = world.cluster.cni.bridge, world.cluster.mtu
    made = [
        interface for attachment in node.snapshot["attachments"] if attachment["netns"] == pod.netns
        for interface in attachment["interfaces"]
    ]  # fmt: skip
    inside = next((it for it in made if it["sandbox"]), None)
    outside = next((it for it in made if not it["sandbox"] and it["name"] != bridge), None)
    pids = node.snapshot["sandboxes"][pod.name]["pids"]
    pid = pids[0] if pids else 0
    port, eth0 = outside["name"] if outside else f"veth{pid}", inside["name"] if inside else "eth0"
    peer = command("type veth peer name {} netns {} mtu {}", eth0, pid, mtu, more=_mac(inside)).words
    steps = [command("ip link add {} mtu {}", port, mtu, more=(*_mac(outside), *peer))]
    steps += [command("ip link set dev {} master {} up", port, bridge)]
    steps += [command("bridge link set dev {} hairpin on", port)] if world.cluster.cni.hairpin else []
    blocks = {block.version: block for block in world.blocks(node.name)}
    for ip in world.ips.get(pod.name, []):
        length = blocks[ip_address(ip).version].prefixlen
        steps += [within(pod.netns, command("ip addr add {}/{} dev {}", ip, length, eth0))]
    steps += [within(pod.netns, command("ip link set dev {} up", eth0))]
    return [*steps, *(default(pod, block, eth0) for block in blocks.values())]


def _mac(interface: Optional[Interface]) -> List[str]:
    return ["address", interface["mac"]] if interface and interface["mac"] else []
