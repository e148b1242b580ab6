"""The node's bridge and its ports, one a pod."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, FrozenSet, Iterator, List, Mapping

from ...model.command import command
from ..cause import Cause
from ..evidence import NodeView, PodView, World
from ..titles import cause

Link = Mapping[str, Any]


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
    everything = world.far(node.name) | world.near(node.name) | world.local(node.name)
    reach = world.far(node.name) | world.local(node.name)
    if not bridge["up"]:
        keys = {f"{node.name} bridge down", f"{node.name} bridge address"}
        keys |= {f"{node.name} pod {pod} port state" for pod in node.pods}
        # The route to the block goes with the bridge, and comes back with it.
        yield cause(
            "bridge_down", f"link {name}", node.name, name, keys=frozenset(keys), pairs=everything,
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
    has = {address["address"]: address for address in node.namespace["addresses"] if address["device"] == name}
    for block in world.blocks(node.name):
        gateway = str(block[1])
        others = [
            each for ip, each in has.items()
            if ip != gateway and ip_address(ip).version == block.version and not ip_address(ip).is_link_local
        ]  # fmt: skip
        claimed = [(each, peer) for each in others for peer in [world.block_of(each["address"])] if peer is not None]
        for each, peer in claimed:
            if peer.name == node.name:
                continue
            theirs = next(b for b in peer.pod_cidrs if ip_address(each["address"]) in b)
            rows = [row for row in node.planned("Route") if row["key"] == str(theirs)] + node.planned("File")
            fix = [command("ip addr del {}/{} dev {}", each["address"], each["prefix"], name), *node.steps(rows)]
            yield cause(
                "duplicate_pod_cidr", f"address {each['address']}/{each['prefix']} dev {name}", node.name, name,
                keys=frozenset({*map(node.key, rows), f"{node.name} bridge extra {each['address']}"}),
                pairs=world.between(node.name, peer.name),
                evidence=[f"expected: {theirs} is the block of {peer.name}",
                          f"found: {name} has {each['address']}/{each['prefix']}",
                          f"lease file: FLANNEL_SUBNET={node.snapshot['subnet_env'].get('FLANNEL_SUBNET', '')}"],
                fix=fix, verb="./run site",
            )  # fmt: skip
        if gateway in has:
            continue
        strange = [each for each in others if all(each is not it for it, _ in claimed)]
        keys = {f"{node.name} bridge address", *(f"{node.name} bridge extra {each['address']}" for each in strange)}
        steps = [command("ip addr del {}/{} dev {}", each["address"], each["prefix"], name) for each in strange]
        steps.append(command("ip addr replace {}/{} dev {}", gateway, block.prefixlen, name))
        found = ", ".join(f"{each['address']}/{each['prefix']}" for each in strange)
        yield cause(
            "bridge_address_stale" if strange else "bridge_address_lost",
            f"address {gateway}/{block.prefixlen} dev {name}", node.name, name, keys=frozenset(keys), pairs=reach,
            evidence=[f"expected: {gateway}/{block.prefixlen} on {name}", f"found: {found or 'no address'}"],
            fix=steps,
        )  # fmt: skip


def _isolated(world: World, node: NodeView, pods: List[PodView]) -> Cause:
    ports = [pod.port["name"] for pod in sorted(pods) if pod.port]
    return cause(
        "ports_isolated", f"link {ports[0]}", node.name, ports[0],
        keys=frozenset(f"{node.name} pod {pod.name} isolated" for pod in pods), pairs=world.near(node.name),
        evidence=["expected: no port isolated", f"found: isolated on {', '.join(ports)}"],
        fix=[command("bridge link set dev {} isolated off", port) for port in ports],
    )  # fmt: skip


def _port_down(node: NodeView, pod: PodView, port: Link, pairs: FrozenSet[Any]) -> Cause:
    keys = frozenset({f"{node.name} pod {pod.name} port down", f"{node.name} pod {pod.name} port state"})
    return cause(
        "port_down", f"link {port['name']}", node.name, port["name"], keys=keys, pairs=pairs,
        evidence=["expected: up", f"found: down, and {pod.name} has no carrier"],
        fix=[command("ip link set dev {} up", port["name"])],
    )  # fmt: skip


def _port(world: World, node: NodeView, pod: PodView, port: Link) -> Iterator[Cause]:
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
            evidence=[f"expected: a port of {bridge}", f"found: {port.get('master') or 'of no bridge'}"],
            fix=steps,
        )  # fmt: skip
        return
    flags = port.get("port", {})
    if flags.get("state", "forwarding") != "forwarding":
        yield cause(
            "port_disabled", f"bridge port {name} state", node.name, name, keys=frozenset({f"{key} port state"}),
            pairs=pairs, evidence=["expected: state forwarding", f"found: {flags['state']}"],
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
    mac = (pod.device or {}).get("mac")
    for entry in node.namespace["fdb"]:
        elsewhere = entry.get("master") == bridge and entry["device"] not in (name, bridge)
        if entry["mac"] == mac and elsewhere and (entry.get("sticky") or entry.get("permanent")):
            yield cause(
                "fdb_pinned_to_wrong_port", f"fdb {mac} dev {entry['device']}", node.name, entry["device"],
                keys=frozenset({f"{key} fdb"}), pairs=pairs,
                evidence=[f"expected: {mac} on {name}", f"found: sticky on {entry['device']}"],
                fix=[command("bridge fdb del {} dev {} master", mac, entry["device"])],
            )  # fmt: skip
