"""The bridge, its ports, and what pods have inside."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, FrozenSet, Iterator, List, Mapping, Optional

from ..cause import Cause
from ..commands import joined, within
from ..evidence import NodeView, PodView, World
from ..titles import cause

Link = Mapping[str, Any]


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes."""
    for node in world.nodes.values():
        if world.cluster.cni.type == "bridge":
            yield from _bridge(world, node)
        isolated = []
        for name in world.pods_of(node.name):
            pod = node.pods.get(name)
            if pod is None:
                continue
            yield from _pod(world, node, pod)
            if pod.port and pod.port.get("port", {}).get("isolated"):
                isolated.append(pod)
        if isolated:
            yield _isolated(world, node, isolated)


# --- the bridge ----------------------------------------------------------------------------------


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
            evidence=[f"expected: {name} up", "found: down"], fix=f"ip link set dev {name} up",
        )  # fmt: skip
    has = {each["address"]: each for each in node.namespace["addresses"] if each["device"] == name}
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
            fix = joined([f"ip addr del {each['address']}/{each['prefix']} dev {name}", node.steps(rows)])
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
        steps = [f"ip addr del {each['address']}/{each['prefix']} dev {name}" for each in strange]
        steps.append(f"ip addr replace {gateway}/{block.prefixlen} dev {name}")
        found = ", ".join(f"{each['address']}/{each['prefix']}" for each in strange)
        yield cause(
            "bridge_address_stale" if strange else "bridge_address_lost",
            f"address {gateway}/{block.prefixlen} dev {name}", node.name, name, keys=frozenset(keys), pairs=reach,
            evidence=[f"expected: {gateway}/{block.prefixlen} on {name}", f"found: {found or 'no address'}"],
            fix=joined(steps),
        )  # fmt: skip


def _isolated(world: World, node: NodeView, pods: List[PodView]) -> Cause:
    ports = [pod.port["name"] for pod in sorted(pods) if pod.port]
    return cause(
        "ports_isolated", f"link {ports[0]}", node.name, ports[0],
        keys=frozenset(f"{node.name} pod {pod.name} isolated" for pod in pods), pairs=world.near(node.name),
        evidence=["expected: no port isolated", f"found: isolated on {', '.join(ports)}"],
        fix=joined([f"bridge link set dev {port} isolated off" for port in ports]),
    )  # fmt: skip


# --- one pod -------------------------------------------------------------------------------------


def _pod(world: World, node: NodeView, pod: PodView) -> Iterator[Cause]:
    device, port, bridge = pod.device, pod.port, world.cluster.cni.bridge
    key, pairs = f"{node.name} pod {pod.name}", world.of(pod.name)
    place = f"pod:{pod.name}"
    if device is None:
        yield _deleted(world, node, pod)
        return
    if port is not None and world.cluster.cni.type == "bridge":
        yield from _port(world, node, pod, port)
    elif port is not None and not port["up"]:
        yield _port_down(node, pod, port, pairs)
    if not device["up"]:
        yield cause(
            "pod_device_down", f"link {device['name']}", node.name, device["name"], place,
            frozenset({f"{key} device"}), pairs, ["expected: up", "found: down"],
            within(pod.netns, f"ip link set dev {device['name']} up"),
        )  # fmt: skip
    if port is not None and port["mtu"] != device["mtu"]:
        mtu = world.cluster.mtu
        steps = [f"ip link set dev {port['name']} mtu {mtu}"] if port["mtu"] != mtu else []
        steps += [within(pod.netns, f"ip link set dev {device['name']} mtu {mtu}")] if device["mtu"] != mtu else []
        wrong = port["name"] if port["mtu"] != mtu else device["name"]
        yield cause(
            "veth_mtu_mismatch", f"link {wrong}", node.name, wrong, keys=frozenset({f"{key} mtu"}), pairs=pairs,
            evidence=[f"expected: MTU {mtu} on both ends",
                      f"found: {port['mtu']} on {port['name']}, {device['mtu']} on {device['name']} inside"],
            fix=joined(steps), quiet=False,
        )  # fmt: skip
    elif device["mtu"] != world.cluster.mtu:
        steps = [f"ip link set dev {port['name']} mtu {world.cluster.mtu}"] if port is not None else []
        steps.append(within(pod.netns, f"ip link set dev {device['name']} mtu {world.cluster.mtu}"))
        yield cause(
            "pod_mtu_wrong", f"link {device['name']}", node.name, device["name"], place, frozenset({f"{key} mtu"}),
            pairs, [f"expected: MTU {world.cluster.mtu}", f"found: {device['mtu']}"], joined(steps),
        )  # fmt: skip
    yield from _addresses(world, node, pod, device)
    yield from _neighbours(world, node, pod, device, bridge)


def _deleted(world: World, node: NodeView, pod: PodView) -> Cause:
    return cause(
        "veth_deleted", "link eth0", node.name, "eth0", f"pod:{pod.name}",
        frozenset({f"{node.name} pod {pod.name} device"}), world.of(pod.name),
        ["expected: a veth pair into the pod", "found: no device but loopback"],
        _new_pair(world, node, pod), "./run site",
    )  # fmt: skip


def _new_pair(world: World, node: NodeView, pod: PodView) -> str:
    """The pair as it was made, as far as the runtime's cache tells, with the addresses that the pod was given."""
    made = [it for each in node.snapshot["attachments"] if each["netns"] == pod.netns for it in each["interfaces"]]
    inside = next((each for each in made if each["sandbox"]), {"name": "eth0", "mac": ""})
    outside = next((each for each in made if not each["sandbox"] and each["name"] != world.cluster.cni.bridge), None)
    port, eth0, mtu = outside["name"] if outside else f"veth{_pid(node, pod)}", inside["name"], world.cluster.mtu
    mine, theirs = (f" address {each['mac']}" if each and each["mac"] else "" for each in (outside, inside))
    steps = [f"ip link add {port} mtu {mtu}{mine} type veth peer name {eth0} netns {_pid(node, pod)} mtu {mtu}{theirs}"]
    steps += [f"ip link set dev {port} master {world.cluster.cni.bridge} up"]
    steps += [f"bridge link set dev {port} hairpin on"] if world.cluster.cni.hairpin else []
    blocks = {block.version: block for block in world.blocks(node.name)}
    for ip in world.ips.get(pod.name, []):
        length = blocks[ip_address(ip).version].prefixlen
        steps += [within(pod.netns, f"ip addr add {ip}/{length} dev {eth0}")]
    steps += [within(pod.netns, f"ip link set dev {eth0} up")]
    return joined([*steps, *(_default(pod, block, eth0) for block in blocks.values())])


def _pid(node: NodeView, pod: PodView) -> int:
    pids = node.snapshot["sandboxes"][pod.name]["pids"]
    return int(pids[0]) if pids else 0


def _port_down(node: NodeView, pod: PodView, port: Link, pairs: FrozenSet[Any]) -> Cause:
    keys = frozenset({f"{node.name} pod {pod.name} port down", f"{node.name} pod {pod.name} port state"})
    return cause(
        "port_down", f"link {port['name']}", node.name, port["name"], keys=keys, pairs=pairs,
        evidence=["expected: up", f"found: down, and {pod.name} has no carrier"],
        fix=f"ip link set dev {port['name']} up",
    )  # fmt: skip


def _port(world: World, node: NodeView, pod: PodView, port: Link) -> Iterator[Cause]:
    name, bridge, pairs = port["name"], world.cluster.cni.bridge, world.of(pod.name)
    key = f"{node.name} pod {pod.name}"
    if not port["up"]:
        yield _port_down(node, pod, port, pairs)
    if port.get("master") != bridge:
        steps = [f"ip link set dev {name} master {bridge}"]
        steps += [f"bridge link set dev {name} hairpin on"] if world.cluster.cni.hairpin else []
        yield cause(
            "port_without_master", f"link {name}", node.name, name, keys=frozenset({f"{key} master"}), pairs=pairs,
            evidence=[f"expected: a port of {bridge}", f"found: {port.get('master') or 'of no bridge'}"],
            fix=joined(steps),
        )  # fmt: skip
        return
    flags = port.get("port", {})
    if flags.get("state", "forwarding") != "forwarding":
        yield cause(
            "port_disabled", f"bridge port {name} state", node.name, name, keys=frozenset({f"{key} port state"}),
            pairs=pairs, evidence=["expected: state forwarding", f"found: {flags['state']}"],
            fix=f"bridge link set dev {name} state 3",
        )  # fmt: skip
    if flags.get("learning") is False:
        yield cause(
            "port_without_learning", f"bridge port {name} learning", node.name, name,
            keys=frozenset({f"{key} learning"}), pairs=pairs,
            evidence=["expected: learning on, flood on",
                      f"found: learning off, flood {'on' if flags.get('flood', True) else 'off'}"],
            fix=f"bridge link set dev {name} learning on flood on",
        )  # fmt: skip
    mac = (pod.device or {}).get("mac")
    for entry in node.namespace["fdb"]:
        elsewhere = entry.get("master") == bridge and entry["device"] not in (name, bridge)
        if entry["mac"] == mac and elsewhere and (entry.get("sticky") or entry.get("permanent")):
            yield cause(
                "fdb_pinned_to_wrong_port", f"fdb {mac} dev {entry['device']}", node.name, entry["device"],
                keys=frozenset({f"{key} fdb"}), pairs=pairs,
                evidence=[f"expected: {mac} on {name}", f"found: sticky on {entry['device']}"],
                fix=f"bridge fdb del {mac} dev {entry['device']} master",
            )  # fmt: skip


def _addresses(world: World, node: NodeView, pod: PodView, device: Link) -> Iterator[Cause]:
    key, name, place = f"{node.name} pod {pod.name}", device["name"], f"pod:{pod.name}"
    has = {
        each["address"]: each for each in pod.namespace["addresses"]
        if each["device"] != "lo" and not ip_address(each["address"]).is_link_local
    }  # fmt: skip
    given = world.ips.get(pod.name, [])
    blocks = world.blocks(node.name)
    strange = []
    for ip, each in has.items():
        other = world.pod_with(ip)
        if other and other != pod.name:
            flush = _forgotten(node, ip, device["mac"])
            yield cause(
                "duplicate_ip", f"address {ip}/{each['prefix']} dev {name}", node.name, name, place,
                frozenset({f"{key} extra {ip}"}), world.of(other),
                [f"expected: {ip} is {other}'s", f"found: {pod.name} has it, too, at {device['mac']}",
                 *_answered(node, ip)],
                joined([within(pod.netns, f"ip addr del {ip}/{each['prefix']} dev {name}"), *flush]),
            )  # fmt: skip
        elif ip not in given and not any(ip_address(ip) in block for block in blocks):
            strange.append(each)
    for ip in given:
        block = next((b for b in blocks if ip_address(ip) in b), None)
        if ip in has or block is None:
            continue
        steps = [within(pod.netns, f"ip addr del {each['address']}/{each['prefix']} dev {name}") for each in strange]
        length = world.lengths.get(ip, ip).partition("/")[2] or block.prefixlen
        steps += [within(pod.netns, f"ip addr replace {ip}/{length} dev {name}"), _default(pod, block, name)]
        yield cause(
            "foreign_range", f"address {ip}/{length} dev {name}", node.name, name, place,
            frozenset({f"{key} address", f"{key} route {block.version}"}), world.of(pod.name),
            [f"expected: {ip} of the block {block}",
             f"found: {', '.join(each['address'] for each in strange) or 'no address'}"],
            joined(steps),
        )  # fmt: skip
    for block in blocks:
        default = [n for n, r in pod.inside.routes if not n.prefixlen and n.version == block.version]
        if not default and any(ip_address(ip).version == block.version for ip in given):
            anywhere = "0.0.0.0/0" if block.version == 4 else "::/0"
            steps = [_connected(pod, block, name)] if world.cluster.cni.type == "bridge" else []
            yield cause(
                "pod_routes_lost", f"route {anywhere} via {block[1]} dev {name}", node.name, name, place,
                frozenset({f"{key} route {block.version}"}), world.of(pod.name),
                [f"expected: a default route via {block[1]}", f"found: {len(pod.inside.routes)} routes, none of them"],
                joined([*steps, _default(pod, block, name)]),
            )  # fmt: skip


def _connected(pod: PodView, block: Any, name: str) -> str:
    own = next((each["address"] for each in pod.namespace["addresses"] if ip_address(each["address"]) in block), "")
    source = f" src {own}" if own else ""
    return within(pod.netns, f"ip route replace {block} dev {name} proto kernel scope link{source}")


def _default(pod: PodView, block: Any, name: str) -> str:
    family = "-6 " if block.version == 6 else ""
    return within(pod.netns, f"ip {family}route replace default via {block[1]} dev {name}")


def _answered(node: NodeView, ip: str) -> List[str]:
    macs = node.told["observations"]["second_owners"].get(ip)
    return [f"who answers ARP for it: {', '.join(macs)}"] if macs else []


def _forgotten(node: NodeView, ip: str, mac: str) -> List[str]:
    """Those of the node who have learnt an address at a MAC have to forget it."""
    steps = []
    for pod in node.pods.values():
        if any(each["address"] == ip and each.get("mac") == mac for each in pod.namespace["neighbours"]):
            steps.append(within(pod.netns, f"ip neigh flush to {ip}"))
    return [f"ip neigh flush to {ip}", *steps]


def _neighbours(world: World, node: NodeView, pod: PodView, device: Link, bridge: str) -> Iterator[Cause]:
    key, name, place = f"{node.name} pod {pod.name}", device["name"], f"pod:{pod.name}"
    owner = node.view.links.get(bridge) or pod.port
    for block in world.blocks(node.name):
        entry = pod.inside.neighbours.get((name, str(block[1])))
        if entry and owner and entry["state"] == "permanent" and entry.get("mac") != owner["mac"]:
            yield cause(
                "gateway_mac_wrong", f"neighbour {block[1]} dev {name}", node.name, name, place,
                frozenset({f"{key} gateway"}), world.of(pod.name),
                [f"expected: {owner['mac']}, which is {owner['name']}'s", f"found: {entry.get('mac')} permanent"],
                within(pod.netns, f"ip neigh del {block[1]} dev {name}"),
            )  # fmt: skip
    twin = _twin(node, pod, device)
    right = _own_mac(world, node, pod)
    if twin is not None and right and right != device["mac"]:
        steps = [within(pod.netns, f"ip link set dev {name} address {right}")]
        for ip in world.ips.get(pod.name, []):
            steps += _forgotten(node, ip, device["mac"])
        yield cause(
            "duplicate_mac", f"link {name}", node.name, name, place, frozenset({f"{key} mac"}),
            world.of(pod.name) | world.of(twin.name),
            [f"expected: {right}", f"found: {device['mac']}, which is {twin.name}'s"], joined(steps),
        )  # fmt: skip


def _twin(node: NodeView, pod: PodView, device: Link) -> Optional[PodView]:
    for other in node.pods.values():
        if other.name != pod.name and (other.device or {}).get("mac") == device["mac"]:
            return other
    return None


def _own_mac(world: World, node: NodeView, pod: PodView) -> str:
    """What the plugin said when it made the device."""
    for each in node.snapshot["attachments"]:
        if each["netns"] == pod.netns:
            return next((str(it["mac"]) for it in each["interfaces"] if it["sandbox"]), "")
    return ""
