"""The node's bridge and its ports, one a pod."""

from __future__ import annotations

from ipaddress import ip_address
from typing import FrozenSet, Iterator, List

from ...model.command import Command, command
from ...model.objects import File, IPNetwork, Object, Route
from ...observe.records import AddressRow, LinkRow
from ..cause import Cause, Pair
from ..evidence import World
from ..operations import Change, fix
from ..titles import cause
from ..views import NodeView, PodView


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes."""
    for node in world.nodes.values():
        if world.cluster.cni.type == "bridge":
            yield from _bridge(world, node)
        pods = [node.pods[name] for name in world.pods_of(node.name) if name in node.pods]
        for pod in pods:
            if pod.port is not None and pod.device is not None:
                yield from _port(world, node, pod, pod.port)
        isolated = [pod for pod in pods if pod.port and pod.port.get("port", {}).get("isolated")]
        if isolated:
            yield _isolated(world, node, isolated)


def _bridge(world: World, node: NodeView) -> Iterator[Cause]:
    name = world.cluster.cni.bridge
    bridge = node.view.links.get(name)
    if bridge is None or not world.pods_of(node.name):
        return
    if not bridge["up"]:
        keys = {f"{node.name} bridge down", f"{node.name} bridge address"}
        keys |= {f"{node.name} pod {pod} port state" for pod in node.pods}
        # The route to the pod CIDR goes with the bridge, and comes back with it.
        yield cause(
            "bridge_down", f"link {name}", node.name, name, keys=frozenset(keys),
            pairs=world.far(node.name) | world.near(node.name) | world.local(node.name),
            evidence=[f"expected: {name} up", "found: down"], fix=[command("ip link set dev {} up", name)],
        )  # fmt: skip
    if bridge["mtu"] < world.cluster.mtu and not any(
        pod.port is not None and pod.port["mtu"] == bridge["mtu"] for pod in node.pods.values()
    ):  # else it follows the least of its ports
        yield cause(
            "bridge_mtu_wrong", f"link {name}", node.name, name, keys=frozenset({f"{node.name} bridge mtu"}),
            pairs=world.far(node.name),
            evidence=[f"expected: MTU {world.cluster.mtu}", f"found: {bridge['mtu']}, and its ports take more"],
            fix=[command("ip link set dev {} mtu {}", name, world.cluster.mtu)],
        )  # fmt: skip
    for block in world.blocks(node.name):
        yield from _addresses(world, node, name, block)


def _addresses(world: World, node: NodeView, bridge: str, block: IPNetwork) -> Iterator[Cause]:
    """The gateway of a pod CIDR, and other addresses of its family."""
    rows = [address for address in node.namespace["addresses"] if address["device"] == bridge]
    gateway = str(block[1])
    claimed: List[AddressRow] = []
    unexpected: List[AddressRow] = []
    for address in rows:
        ip = ip_address(address["address"])
        if str(ip) == gateway or ip.version != block.version or ip.is_link_local:
            continue
        peer = world.block_of(ip)
        (unexpected if peer is None else claimed).append(address)
        if peer is not None and peer.name != node.name:
            theirs = next(pod_cidr for pod_cidr in peer.pod_cidrs if ip in pod_cidr)
            yield _duplicate(world, node, peer.name, theirs, address)
    if any(address["address"] == gateway for address in rows):
        return
    keys = {f"{node.name} bridge extra {address['address']}" for address in unexpected}
    steps = [_removed(address) for address in unexpected]
    steps.append(command("ip addr replace {}/{} dev {}", gateway, block.prefixlen, bridge))
    texts = ", ".join(f"{address['address']}/{address['prefix']}" for address in unexpected)
    yield cause(
        "bridge_address_stale" if unexpected else "bridge_address_lost",
        f"address {gateway}/{block.prefixlen} dev {bridge}", node.name, bridge,
        keys=frozenset({f"{node.name} bridge address", *keys}), pairs=world.far(node.name) | world.local(node.name),
        evidence=[f"expected: {gateway}/{block.prefixlen} on {bridge}", f"found: {texts or 'no address'}"], fix=steps,
    )  # fmt: skip


def _removed(address: AddressRow) -> Command:
    return command("ip addr del {}/{} dev {}", address["address"], address["prefix"], address["device"])


def _duplicate(world: World, node: NodeView, peer: str, theirs: IPNetwork, address: AddressRow) -> Cause:
    """An address of a peer's pod CIDR."""
    name, text = address["device"], f"{address['address']}/{address['prefix']}"
    changes: List[Change[Object]] = [it for it in node.changes(Route) if it.object.destination == theirs]
    changes += node.changes(File)
    return cause(
        "duplicate_pod_cidr", f"address {text} dev {name}", node.name, name,
        keys=frozenset({*map(node.key, changes), f"{node.name} bridge extra {address['address']}"}),
        pairs=world.between(node.name, peer),
        evidence=[f"expected: {theirs} is the pod CIDR of {peer}", f"found: {name} has {text}",
                  f"lease file: FLANNEL_SUBNET={node.snapshot['subnet_env'].get('FLANNEL_SUBNET', '')}"],
        fix=[_removed(address), *fix(changes)], verb="./run site",
    )  # fmt: skip


def _isolated(world: World, node: NodeView, pods: List[PodView]) -> Cause:
    ports = [pod.port["name"] for pod in sorted(pods, key=lambda pod: pod.name) if pod.port]
    return cause(
        "ports_isolated", f"link {ports[0]}", node.name, ports[0],
        keys=frozenset(f"{node.name} pod {pod.name} isolated" for pod in pods), pairs=world.near(node.name),
        evidence=["expected: no port isolated", f"found: isolated on {', '.join(ports)}"],
        fix=[command("bridge link set dev {} isolated off", port) for port in ports],
    )  # fmt: skip


def _port_down(node: NodeView, pod: PodView, port: LinkRow, pairs: FrozenSet[Pair]) -> Cause:
    keys = frozenset({f"{node.name} pod {pod.name} port down", f"{node.name} pod {pod.name} port state"})
    return cause(
        "port_down", f"link {port['name']}", node.name, port["name"], keys=keys, pairs=pairs,
        evidence=["expected: up", f"found: down, and {pod.name} has no carrier"],
        fix=[command("ip link set dev {} up", port["name"])],
    )  # fmt: skip


def _port(world: World, node: NodeView, pod: PodView, port: LinkRow) -> Iterator[Cause]:
    name, bridge, pairs = port["name"], world.cluster.cni.bridge, world.of(pod.name)
    key = f"{node.name} pod {pod.name}"
    if not port["up"]:
        yield _port_down(node, pod, port, pairs)
    if world.cluster.cni.type != "bridge":
        return
    if port.get("master") != bridge:
        steps = [command("ip link set dev {} master {}", name, bridge)]
        steps += [command("bridge link set dev {} hairpin on", name)] if world.cluster.cni.hairpin else []
        yield cause(
            "port_without_master", f"link {name}", node.name, name, keys=frozenset({f"{key} master"}), pairs=pairs,
            evidence=[f"expected: a port of {bridge}", f"found: {port.get('master') or 'of no bridge'}"], fix=steps,
        )  # fmt: skip
        return
    flags = port.get("port", {})
    state = flags.get("state", "forwarding")
    if state != "forwarding":
        yield cause(
            "port_disabled", f"bridge port {name} state", node.name, name, keys=frozenset({f"{key} port state"}),
            pairs=pairs, evidence=["expected: state forwarding", f"found: {state}"],
            fix=[command("bridge link set dev {} state 3", name)],
        )  # fmt: skip
    if flags.get("learning") is False:
        yield cause(
            "port_without_learning", f"bridge port {name} learning", node.name, name,
            keys=frozenset({f"{key} learning"}), pairs=pairs,
            evidence=["expected: learning on, flood on",
                      f"found: learning off, flood {'on' if flags.get('flood', True) else 'off'}"],
            fix=[command("bridge link set dev {} learning on flood on", name)],
        )  # fmt: skip
    yield from _pinned(world, node, pod, name)


def _pinned(world: World, node: NodeView, pod: PodView, port: str) -> Iterator[Cause]:
    """Bridge entries that keep a pod's MAC address on another port."""
    mac, bridge = pod.device["mac"] if pod.device else "", world.cluster.cni.bridge
    for entry in node.namespace["fdb"]:
        device = entry["device"]
        is_elsewhere = entry.get("master") == bridge and device not in (port, bridge)
        if entry["mac"] == mac and is_elsewhere and (entry.get("sticky") or entry.get("permanent")):
            yield cause(
                "fdb_pinned_to_wrong_port", f"fdb {mac} dev {device}", node.name, device,
                keys=frozenset({f"{node.name} pod {pod.name} fdb"}), pairs=world.of(pod.name),
                evidence=[f"expected: {mac} on {port}", f"found: sticky on {device}"],
                fix=[command("bridge fdb del {} dev {} master", mac, device)],
            )  # fmt: skip
