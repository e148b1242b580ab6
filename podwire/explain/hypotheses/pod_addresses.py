"""A pod's addresses, and what goes with them."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Iterator, List, Sequence

from ...model.command import command, within
from ...model.objects import IPNetwork
from ...observe.records import AddressRow, LinkRow
from ..cause import Cause
from ..commands import sysctl
from ..evidence import World
from ..titles import cause
from ..views import NodeView, PodView
from .pod_neighbours import flushed
from .pod_routes import connected, default


def addresses(world: World, node: NodeView, pod: PodView, device: LinkRow) -> Iterator[Cause]:
    """Candidates of one pod."""
    current = {
        row["address"]: row for row in pod.namespace["addresses"]
        if not ip_address(row["address"]).is_loopback and not ip_address(row["address"]).is_link_local
    }  # fmt: skip
    blocks = world.blocks(node.name)
    unexpected: List[AddressRow] = []
    for ip, row in current.items():
        other = world.pod_with(ip)
        if other and other != pod.name:
            yield _duplicate(world, node, pod, device, row)
        elif row["device"] != "lo" and not other and not any(ip_address(ip) in block for block in blocks):
            unexpected.append(row)
    for ip in world.ips.get(pod.name, []):
        block = next((block for block in blocks if ip_address(ip) in block), None)
        if ip in current or block is None:
            continue
        switch = f"net/ipv6/conf/{device['name']}/disable_ipv6"
        if block.version == 6 and pod.namespace["sysctls"].get(switch) == "1":
            yield _without_ipv6(world, node, pod, device["name"], ip, block)
        else:
            yield _missing(world, node, pod, device["name"], ip, block, unexpected)
    yield from _without_routes(world, node, pod, device["name"])


def _duplicate(world: World, node: NodeView, pod: PodView, device: LinkRow, row: AddressRow) -> Cause:
    """An address that another pod was given."""
    ip, on = row["address"], row["device"]
    other = world.pod_with(ip)
    macs = node.observations["second_owners"].get(ip)
    # Of several addresses IPv6 may send from any (RFC 6724): who has one too many is affected as well.
    pairs = world.of(other) | (world.of(pod.name) if ":" in ip else frozenset())
    remove = within(pod.netns, command("ip addr del {}/{} dev {}", ip, row["prefix"], on))
    return cause(
        "duplicate_ip", f"address {ip}/{row['prefix']} dev {on}", node.name, on, f"pod:{pod.name}",
        frozenset({f"{node.name} pod {pod.name} extra {ip}"}), pairs,
        [f"expected: {ip} is {other}'s", f"found: {pod.name} has it, too, at {device['mac']}",
         *([f"who answers ARP for it: {', '.join(macs)}"] if macs else [])],
        [remove, *flushed(node, ip, device["mac"])],
    )  # fmt: skip


def _missing(
    world: World,
    node: NodeView,
    pod: PodView,
    name: str,
    ip: str,
    block: IPNetwork,
    unexpected: Sequence[AddressRow],
) -> Cause:
    """An address that the pod was given. ``unexpected``: of no pod and no pod CIDR of the node."""
    key = f"{node.name} pod {pod.name}"
    steps = [
        within(pod.netns, command("ip addr del {}/{} dev {}", row["address"], row["prefix"], name))
        for row in unexpected
    ]
    length = world.lengths.get(ip, ip).partition("/")[2] or block.prefixlen
    steps.append(within(pod.netns, command("ip addr replace {}/{} dev {}", ip, length, name)))
    return cause(
        "foreign_range", f"address {ip}/{length} dev {name}", node.name, name, f"pod:{pod.name}",
        frozenset({f"{key} address", f"{key} route {block.version}"}), world.of(pod.name),
        [f"expected: {ip} of the pod CIDR {block}",
         f"found: {', '.join(row['address'] for row in unexpected) or 'no address'}"],
        [*steps, default(pod, block, name)],
    )  # fmt: skip


def _without_ipv6(world: World, node: NodeView, pod: PodView, name: str, ip: str, block: IPNetwork) -> Cause:
    """The kernel takes a device's addresses and routes away when IPv6 is switched off, and does not bring them back."""
    key, switch = f"{node.name} pod {pod.name}", f"net/ipv6/conf/{name}/disable_ipv6"
    steps = [within(pod.netns, sysctl(switch, "0"))]
    steps.append(within(pod.netns, command("ip addr replace {}/{} dev {} nodad", ip, block.prefixlen, name)))
    return cause(
        "ipv6_disabled", f"sysctl {switch}", node.name, name, f"pod:{pod.name}",
        frozenset({f"{key} address", f"{key} route 6"}), world.of(pod.name),
        [f"expected: {switch} = 0", f"found: 1, and {ip} went with it"], [*steps, default(pod, block, name)],
    )  # fmt: skip


def _without_routes(world: World, node: NodeView, pod: PodView, name: str) -> Iterator[Cause]:
    """Families without a default route."""
    for block in world.blocks(node.name):
        has_default = any(not n.prefixlen and n.version == block.version for n, _ in pod.inside.routes)
        if has_default or not any(ip.version == block.version for ip in world.pod_addresses(pod.name)):
            continue
        anywhere = "0.0.0.0/0" if block.version == 4 else "::/0"
        steps = [connected(pod, block, name)] if world.cluster.cni.type == "bridge" else []
        yield cause(
            "pod_routes_lost", f"route {anywhere} via {block[1]} dev {name}", node.name, name, f"pod:{pod.name}",
            frozenset({f"{node.name} pod {pod.name} route {block.version}"}), world.of(pod.name),
            [f"expected: a default route via {block[1]}", f"found: {len(pod.inside.routes)} routes, none of them"],
            [*steps, default(pod, block, name)],
        )  # fmt: skip
