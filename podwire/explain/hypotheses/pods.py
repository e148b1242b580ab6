"""What pods have inside: devices and addresses; their routes and neighbours are in files of their own."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Iterator, List, Mapping

from ...model.command import Command, command, within
from ..cause import Cause
from ..commands import sysctl
from ..evidence import NodeView, PodView, World
from ..titles import cause
from .pod_neighbours import forgotten, neighbours
from .pod_routes import connected, default, default_elsewhere, routes

Link = Mapping[str, Any]


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all pods."""
    for node in world.nodes.values():
        for name in world.pods_of(node.name):
            if name in node.pods:
                yield from _pod(world, node, node.pods[name])
        yield from _on_node(world, node)


def _pod(world: World, node: NodeView, pod: PodView) -> Iterator[Cause]:
    device, port, bridge = pod.device, pod.port, world.cluster.cni.bridge
    key, pairs = f"{node.name} pod {pod.name}", world.of(pod.name)
    place = f"pod:{pod.name}"
    if device is None:
        yield _deleted(world, node, pod)
        return
    if not device["up"]:
        yield cause(
            "pod_device_down", f"link {device['name']}", node.name, device["name"], place,
            frozenset({f"{key} device"}), pairs, ["expected: up", "found: down"],
            [within(pod.netns, command("ip link set dev {} up", device["name"]))],
        )  # fmt: skip
    if port is not None and port["mtu"] != device["mtu"]:
        yield _unequal(world, node, pod, port, device)
    elif device["mtu"] != world.cluster.mtu:
        mtu = world.cluster.mtu
        steps = [command("ip link set dev {} mtu {}", port["name"], mtu)] if port is not None else []
        steps.append(within(pod.netns, command("ip link set dev {} mtu {}", device["name"], mtu)))
        yield cause(
            "pod_mtu_wrong", f"link {device['name']}", node.name, device["name"], place, frozenset({f"{key} mtu"}),
            pairs, [f"expected: MTU {world.cluster.mtu}", f"found: {device['mtu']}"], steps,
        )  # fmt: skip
    yield from _addresses(world, node, pod, device)
    yield from routes(world, node, pod)
    yield from default_elsewhere(world, node, pod, device["name"])
    yield from neighbours(world, node, pod, device, bridge)


def _on_node(world: World, node: NodeView) -> Iterator[Cause]:
    """Pods' addresses that a node has itself: what it sends there comes back to it."""
    for address in node.namespace["addresses"]:
        pod = world.pod_with(address["address"])
        where = f"{address['address']}/{address['prefix']} dev {address['device']}"
        fix = command("ip addr del {}/{} dev {}", address["address"], address["prefix"], address["device"])
        if pod and pod not in world.host_pods:
            own = world.far(node.name) | world.local(node.name)
            yield cause(
                "duplicate_ip", f"address {where}", node.name, address["device"],
                keys=frozenset({f"{node.name} extra {address['address']}"}),
                pairs=frozenset(pair for pair in own if pod in pair) or world.of(pod),
                evidence=[f"expected: {address['address']} is {pod}'s", f"found: {node.name} has it, too"],
                fix=[fix],
            )  # fmt: skip


def _unequal(world: World, node: NodeView, pod: PodView, port: Link, device: Link) -> Cause:
    mtu, pairs = world.cluster.mtu, world.of(pod.name)
    steps = [command("ip link set dev {} mtu {}", port["name"], mtu)] if port["mtu"] != mtu else []
    inside = within(pod.netns, command("ip link set dev {} mtu {}", device["name"], mtu))
    steps += [inside] if device["mtu"] != mtu else []
    wrong = port["name"] if port["mtu"] != mtu else device["name"]
    evidence = [f"expected: MTU {mtu} on both ends",
                f"found: {port['mtu']} on {port['name']}, {device['mtu']} on {device['name']} inside"]  # fmt: skip
    bridge = node.view.links.get(port.get("master", ""))
    if bridge is not None and bridge["mtu"] == port["mtu"] < mtu:
        evidence.append(f"{bridge['name']} takes {bridge['mtu']}, too: the least of its ports', as nobody set its own")
        pairs |= {pair for pair in world.far(node.name) if world.home.get(pair[1]) == node.name}
    return cause(
        "veth_mtu_mismatch", f"link {wrong}", node.name, wrong,
        keys=frozenset({f"{node.name} pod {pod.name} mtu"}), pairs=pairs, evidence=evidence, fix=steps,
    )  # fmt: skip


def _deleted(world: World, node: NodeView, pod: PodView) -> Cause:
    return cause(
        "veth_deleted", "link eth0", node.name, "eth0", f"pod:{pod.name}",
        frozenset({f"{node.name} pod {pod.name} device"}), world.of(pod.name),
        ["expected: a veth pair into the pod", "found: no device but loopback"],
        _new_pair(world, node, pod), "./run site",
    )  # fmt: skip


def _new_pair(world: World, node: NodeView, pod: PodView) -> List[Command]:
    """The pair as it was made, as far as the runtime's cache tells, with the addresses that the pod was given."""
    made = [
        it
        for attachment in node.snapshot["attachments"]
        if attachment["netns"] == pod.netns
        for it in attachment["interfaces"]
    ]
    inside = next((each for each in made if each["sandbox"]), {"name": "eth0", "mac": ""})
    outside = next((each for each in made if not each["sandbox"] and each["name"] != world.cluster.cni.bridge), None)
    port, eth0, mtu = outside["name"] if outside else f"veth{_pid(node, pod)}", inside["name"], world.cluster.mtu
    mine, theirs = (["address", each["mac"]] if each and each["mac"] else [] for each in (outside, inside))
    peer = command("type veth peer name {} netns {} mtu {}", eth0, _pid(node, pod), mtu, more=theirs).words
    steps = [command("ip link add {} mtu {}", port, mtu, more=(*mine, *peer))]
    steps += [command("ip link set dev {} master {} up", port, world.cluster.cni.bridge)]
    steps += [command("bridge link set dev {} hairpin on", port)] if world.cluster.cni.hairpin else []
    blocks = {block.version: block for block in world.blocks(node.name)}
    for ip in world.ips.get(pod.name, []):
        length = blocks[ip_address(ip).version].prefixlen
        steps += [within(pod.netns, command("ip addr add {}/{} dev {}", ip, length, eth0))]
    steps += [within(pod.netns, command("ip link set dev {} up", eth0))]
    return [*steps, *(default(pod, block, eth0) for block in blocks.values())]


def _pid(node: NodeView, pod: PodView) -> int:
    pids = node.snapshot["sandboxes"][pod.name]["pids"]
    return int(pids[0]) if pids else 0


def _addresses(world: World, node: NodeView, pod: PodView, device: Link) -> Iterator[Cause]:
    key, name, place = f"{node.name} pod {pod.name}", device["name"], f"pod:{pod.name}"
    has = {
        address["address"]: address for address in pod.namespace["addresses"]
        if not ip_address(address["address"]).is_loopback and not ip_address(address["address"]).is_link_local
    }  # fmt: skip
    given = world.ips.get(pod.name, [])
    blocks = world.blocks(node.name)
    strange = []
    for ip, each in has.items():
        other = world.pod_with(ip)
        if other and other != pod.name:
            on, flush = each["device"], forgotten(node, ip, device["mac"])
            # Of several addresses IPv6 may send from any (RFC 6724): who has one too many suffers as well.
            own = world.of(pod.name) if ":" in ip else frozenset()
            yield cause(
                "duplicate_ip", f"address {ip}/{each['prefix']} dev {on}", node.name, on, place,
                frozenset({f"{key} extra {ip}"}), world.of(other) | own,
                [f"expected: {ip} is {other}'s", f"found: {pod.name} has it, too, at {device['mac']}",
                 *_answered(node, ip)],
                [within(pod.netns, command("ip addr del {}/{} dev {}", ip, each["prefix"], on)), *flush],
            )  # fmt: skip
        elif each["device"] != "lo" and ip not in given and not any(ip_address(ip) in block for block in blocks):
            strange.append(each)
    for ip in given:
        block = next((b for b in blocks if ip_address(ip) in b), None)
        if ip in has or block is None:
            continue
        if block.version == 6 and pod.namespace["sysctls"].get(f"net/ipv6/conf/{name}/disable_ipv6") == "1":
            yield _without_ipv6(world, node, pod, ip, block)
            continue
        steps = [
            within(pod.netns, command("ip addr del {}/{} dev {}", each["address"], each["prefix"], name))
            for each in strange
        ]
        length = world.lengths.get(ip, ip).partition("/")[2] or block.prefixlen
        steps.append(within(pod.netns, command("ip addr replace {}/{} dev {}", ip, length, name)))
        steps.append(default(pod, block, name))
        yield cause(
            "foreign_range", f"address {ip}/{length} dev {name}", node.name, name, place,
            frozenset({f"{key} address", f"{key} route {block.version}"}), world.of(pod.name),
            [f"expected: {ip} of the block {block}",
             f"found: {', '.join(each['address'] for each in strange) or 'no address'}"],
            steps,
        )  # fmt: skip
    for block in blocks:
        leads = [n for n, r in pod.inside.routes if not n.prefixlen and n.version == block.version]
        if not leads and any(ip_address(ip).version == block.version for ip in given):
            anywhere = "0.0.0.0/0" if block.version == 4 else "::/0"
            steps = [connected(pod, block, name)] if world.cluster.cni.type == "bridge" else []
            yield cause(
                "pod_routes_lost", f"route {anywhere} via {block[1]} dev {name}", node.name, name, place,
                frozenset({f"{key} route {block.version}"}), world.of(pod.name),
                [f"expected: a default route via {block[1]}", f"found: {len(pod.inside.routes)} routes, none of them"],
                [*steps, default(pod, block, name)],
            )  # fmt: skip


def _without_ipv6(world: World, node: NodeView, pod: PodView, ip: str, block: Any) -> Cause:
    """The kernel takes a device's addresses and routes away when IPv6 is switched off, and does not bring them back."""
    key, name = f"{node.name} pod {pod.name}", (pod.device or {}).get("name", "eth0")
    switch = f"net/ipv6/conf/{name}/disable_ipv6"
    steps = [within(pod.netns, sysctl(switch, "0"))]
    steps.append(within(pod.netns, command("ip addr replace {}/{} dev {} nodad", ip, block.prefixlen, name)))
    return cause(
        "ipv6_disabled", f"sysctl {switch}", node.name, name, f"pod:{pod.name}",
        frozenset({f"{key} address", f"{key} route 6"}), world.of(pod.name),
        [f"expected: {switch} = 0", f"found: 1, and {ip} went with it"], [*steps, default(pod, block, name)],
    )  # fmt: skip


def _answered(node: NodeView, ip: str) -> List[str]:
    macs = node.told["observations"]["second_owners"].get(ip)
    return [f"who answers ARP for it: {', '.join(macs)}"] if macs else []
