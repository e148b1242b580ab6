"""More specific routes that take a part of a node's pod CIDR, and routes to the node's own pods."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Iterator, List

from ...model.command import command, within
from ...model.objects import IPNetwork
from ...observe.records import RouteRow
from ..cause import Cause
from ..evidence import World
from ..titles import cause
from ..views import NodeView, PodView
from .routes import route_text

_RTPROT_KERNEL = 2


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes."""
    for node in world.nodes.values():
        yield from _of_peers(world, node)
        for name in world.pods_of(node.name):
            pod = node.pods.get(name)
            if pod is not None and pod.port is not None:
                yield from _of_pod(world, node, pod, pod.port["name"])


def _of_peers(world: World, node: NodeView) -> Iterator[Cause]:
    """More specific routes into a peer's pod CIDR."""
    for network, route in node.view.routes:
        peer = world.block_of(network.network_address)
        if peer is None or peer.name == node.name or route["protocol"] == _RTPROT_KERNEL:
            continue
        if not any(network != block and _is_within(network, block) for block in peer.pod_cidrs):
            continue
        pods = {pod for pod in world.pods_of(peer.name) if any(ip in network for ip in world.pod_addresses(pod))}
        # Where it leads back by the device that packets come from, pods were redirected (RFC 4861 §8), and keep that.
        redirected = node.pods.values() if network.version == 6 else ()
        flush = [within(pod.netns, command("ip -6 route flush cache")) for pod in redirected]
        yield cause(
            "route_overlapped", f"route {route['destination']}", node.name, route.get("device", ""),
            keys=frozenset({f"{node.name} extra route {route['destination']}"}),
            pairs=frozenset(pair for pair in world.between(node.name, peer.name) if pods & set(pair)),
            evidence=[f"expected: one route to {peer.pod_cidrs[0]}, the pod CIDR of {peer.name}",
                      f"found: {route_text(route)}, which is more specific"],
            fix=[command("ip -{} route del", network.version, more=_words(route)), *flush],
        )  # fmt: skip


def _words(route: RouteRow) -> List[str]:
    words = [route["kind"]] if route["kind"] != "unicast" else []
    device = route.get("device")
    return [*words, route["destination"], *(["dev", device] if device and not words else [])]


def _of_pod(world: World, node: NodeView, pod: PodView, port: str) -> Iterator[Cause]:
    """Routes to a pod that do not lead to it, and the one that a node without a bridge has for each pod."""
    devices = {world.cluster.cni.bridge, port}
    blocks = world.blocks(node.name)
    for ip in world.ips.get(pod.name, []):
        version = ip_address(ip).version
        matching = [(network, route) for network, route in node.view.routes if ip_address(ip) in network]
        network, route = max(
            matching, key=lambda row: (row[0].prefixlen, -row[1].get("metric", 0)), default=(None, None)
        )
        is_part = network is not None and network not in blocks and any(_is_within(network, block) for block in blocks)
        if is_part and route is not None:
            if route.get("device") in devices:
                continue
            yield cause(
                "route_overlapped", f"route {route['destination']}", node.name, route.get("device", ""),
                keys=frozenset({f"{node.name} extra route {route['destination']}"}), pairs=world.of(pod.name),
                evidence=[f"expected: {' or '.join(sorted(devices))} leads to {ip}, which is {pod.name}",
                          f"found: {route_text(route)}"],
                fix=[command("ip -{} route del", version, more=_words(route))],
            )  # fmt: skip
        elif world.cluster.cni.type == "ptp":
            yield cause(
                "pod_route_missing", f"route {ip} dev {port}", node.name, port,
                keys=frozenset({f"{node.name} route to {ip}"}), pairs=world.of(pod.name),
                evidence=[f"expected: {port} leads to {ip}, which is {pod.name}", f"found: {route_text(route)}"],
                fix=[command("ip -{} route replace {} dev {}", version, ip, port)],
            )  # fmt: skip


def _is_within(network: IPNetwork, block: IPNetwork) -> bool:
    return network.version == block.version and network.subnet_of(block)  # type: ignore[arg-type]
