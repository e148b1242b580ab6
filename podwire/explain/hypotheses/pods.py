"""What pods have inside: devices, addresses, routes and neighbours."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Iterator, List, Mapping, Optional, Tuple

from ..cause import Cause
from ..commands import joined, sysctl, within
from ..evidence import NodeView, PodView, World
from ..titles import cause

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
            within(pod.netns, f"ip link set dev {device['name']} up"),
        )  # fmt: skip
    if port is not None and port["mtu"] != device["mtu"]:
        yield _unequal(world, node, pod, port, device)
    elif device["mtu"] != world.cluster.mtu:
        steps = [f"ip link set dev {port['name']} mtu {world.cluster.mtu}"] if port is not None else []
        steps.append(within(pod.netns, f"ip link set dev {device['name']} mtu {world.cluster.mtu}"))
        yield cause(
            "pod_mtu_wrong", f"link {device['name']}", node.name, device["name"], place, frozenset({f"{key} mtu"}),
            pairs, [f"expected: MTU {world.cluster.mtu}", f"found: {device['mtu']}"], joined(steps),
        )  # fmt: skip
    yield from _addresses(world, node, pod, device)
    yield from _routes(world, node, pod)
    yield from _default_elsewhere(world, node, pod, device["name"])
    yield from _neighbours(world, node, pod, device, bridge)


def _on_node(world: World, node: NodeView) -> Iterator[Cause]:
    """Pods' addresses that a node has itself: what it sends there comes back to it."""
    for each in node.namespace["addresses"]:
        pod, where = world.pod_with(each["address"]), f"{each['address']}/{each['prefix']} dev {each['device']}"
        if pod and pod not in world.host_pods:
            own = world.far(node.name) | world.local(node.name)
            yield cause(
                "duplicate_ip", f"address {where}", node.name, each["device"],
                keys=frozenset({f"{node.name} extra {each['address']}"}),
                pairs=frozenset(pair for pair in own if pod in pair) or world.of(pod),
                evidence=[f"expected: {each['address']} is {pod}'s", f"found: {node.name} has it, too"],
                fix=f"ip addr del {where}",
            )  # fmt: skip


def _unequal(world: World, node: NodeView, pod: PodView, port: Link, device: Link) -> Cause:
    mtu, pairs = world.cluster.mtu, world.of(pod.name)
    steps = [f"ip link set dev {port['name']} mtu {mtu}"] if port["mtu"] != mtu else []
    steps += [within(pod.netns, f"ip link set dev {device['name']} mtu {mtu}")] if device["mtu"] != mtu else []
    wrong = port["name"] if port["mtu"] != mtu else device["name"]
    evidence = [f"expected: MTU {mtu} on both ends",
                f"found: {port['mtu']} on {port['name']}, {device['mtu']} on {device['name']} inside"]  # fmt: skip
    bridge = node.view.links.get(port.get("master", ""))
    if bridge is not None and bridge["mtu"] == port["mtu"] < mtu:
        evidence.append(f"{bridge['name']} takes {bridge['mtu']}, too: the least of its ports', as nobody set its own")
        pairs |= {pair for pair in world.far(node.name) if world.home.get(pair[1]) == node.name}
    return cause(
        "veth_mtu_mismatch", f"link {wrong}", node.name, wrong,
        keys=frozenset({f"{node.name} pod {pod.name} mtu"}), pairs=pairs, evidence=evidence, fix=joined(steps),
    )  # fmt: skip


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


def _addresses(world: World, node: NodeView, pod: PodView, device: Link) -> Iterator[Cause]:
    key, name, place = f"{node.name} pod {pod.name}", device["name"], f"pod:{pod.name}"
    has = {
        each["address"]: each for each in pod.namespace["addresses"]
        if not ip_address(each["address"]).is_loopback and not ip_address(each["address"]).is_link_local
    }  # fmt: skip
    given = world.ips.get(pod.name, [])
    blocks = world.blocks(node.name)
    strange = []
    for ip, each in has.items():
        other = world.pod_with(ip)
        if other and other != pod.name:
            on, flush = each["device"], _forgotten(node, ip, device["mac"])
            # Of several addresses IPv6 may send from any (RFC 6724): who has one too many suffers as well.
            own = world.of(pod.name) if ":" in ip else frozenset()
            yield cause(
                "duplicate_ip", f"address {ip}/{each['prefix']} dev {on}", node.name, on, place,
                frozenset({f"{key} extra {ip}"}), world.of(other) | own,
                [f"expected: {ip} is {other}'s", f"found: {pod.name} has it, too, at {device['mac']}",
                 *_answered(node, ip)],
                joined([within(pod.netns, f"ip addr del {ip}/{each['prefix']} dev {on}"), *flush]),
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


def _default_elsewhere(world: World, node: NodeView, pod: PodView, name: str) -> Iterator[Cause]:
    """A default route by an address of the block that is no gateway: others' gateways may be anywhere else."""
    for network, route in pod.inside.routes:
        block = next((b for b in world.blocks(node.name) if b.version == network.version), None)
        gateway = route.get("gateway", "")
        if network.prefixlen or block is None or not gateway or ip_address(gateway) not in block:
            continue
        if gateway == str(block[1]) or gateway in node.view.devices:
            continue
        family = "-6 " if network.version == 6 else ""
        metric = f" metric {route['metric']}" if route.get("metric") else ""
        device = route.get("device", name)
        wrong = within(pod.netns, f"ip {family}route del default via {gateway} dev {device}{metric}")
        yield cause(
            "pod_route_wrong", f"route {network} via {gateway}", node.name, name, f"pod:{pod.name}",
            frozenset({f"{node.name} pod {pod.name} default {gateway}"}), world.of(pod.name) - world.near(node.name),
            [f"expected: a default route via {block[1]}", f"found: one via {gateway}, which is no address of the node"],
            joined([wrong, _default(pod, block, name)]),
        )  # fmt: skip


def _without_ipv6(world: World, node: NodeView, pod: PodView, ip: str, block: Any) -> Cause:
    """The kernel takes a device's addresses and routes away when IPv6 is switched off, and does not bring them back."""
    key, name = f"{node.name} pod {pod.name}", (pod.device or {}).get("name", "eth0")
    switch = f"net/ipv6/conf/{name}/disable_ipv6"
    steps = [within(pod.netns, sysctl(switch, "0"))]
    steps.append(within(pod.netns, f"ip addr replace {ip}/{block.prefixlen} dev {name} nodad"))
    return cause(
        "ipv6_disabled", f"sysctl {switch}", node.name, name, f"pod:{pod.name}",
        frozenset({f"{key} address", f"{key} route 6"}), world.of(pod.name),
        [f"expected: {switch} = 0", f"found: 1, and {ip} went with it"], joined([*steps, _default(pod, block, name)]),
    )  # fmt: skip


def _routes(world: World, node: NodeView, pod: PodView) -> Iterator[Cause]:
    """Routes inside that the network did not make, to where other nodes' pods are."""
    for network, route in pod.inside.routes:
        ends = {
            other for other in world.home if world.home[other] != node.name
            for ip in world.ips.get(other, []) if network.prefixlen and ip_address(ip) in network
        }  # fmt: skip
        gateways = {str(block[1]) for block in world.blocks(node.name)}
        if not ends or route.get("gateway") in gateways or "destination" not in route:
            continue
        words = ([route["kind"]] if route["kind"] != "unicast" else []) + [str(network)]
        words += [f"dev {route['device']}"] if "device" in route and route["kind"] == "unicast" else []
        family = "-6 " if network.version == 6 else ""
        yield cause(
            "pod_route_wrong", f"route {network}", node.name, route.get("device", ""), f"pod:{pod.name}",
            pairs=frozenset(p for end in ends for p in ((pod.name, end), (end, pod.name))),
            evidence=["expected: the default route leads there", f"found: {' '.join(words)}"],
            fix=within(pod.netns, f"ip {family}route del {' '.join(words)}"),
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
    for ip in world.ips.get(pod.name, []):
        entry = node.view.neighbours.get((bridge, ip))
        if entry and entry["state"] == "permanent" and entry.get("mac") != device["mac"]:
            yield cause(
                "node_neighbour_wrong", f"neighbour {ip} dev {bridge}", node.name, bridge,
                keys=frozenset({f"{key} neighbour of the node {ip}"}),
                pairs=world.of(pod.name) - world.near(node.name),
                evidence=[f"expected: {device['mac']}, which {pod.name} has", f"found: {entry.get('mac')} permanent"],
                fix=f"ip neigh del {ip} dev {bridge}",
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
                    within(pod.netns, f"ip neigh del {ip} dev {name}"),
                )  # fmt: skip
    twin = _twin(node, pod, device)
    right, source = _own_mac(node, pod, device)
    if twin is not None and right and right != device["mac"]:
        steps = [within(pod.netns, f"ip link set dev {name} address {right}")]
        for ip in world.ips.get(pod.name, []):
            steps += _forgotten(node, ip, device["mac"])
        yield cause(
            "duplicate_mac", f"link {name}", node.name, name, place, frozenset({f"{key} mac"}),
            world.of(pod.name) | world.of(twin.name),
            [f"expected: {right}: {source}", f"found: {device['mac']}, which is {twin.name}'s"], joined(steps),
        )  # fmt: skip


def _twin(node: NodeView, pod: PodView, device: Link) -> Optional[PodView]:
    for other in node.pods.values():
        if other.name != pod.name and (other.device or {}).get("mac") == device["mac"]:
            return other
    return None


def _own_mac(node: NodeView, pod: PodView, device: Link) -> Tuple[str, str]:
    """What the device was made with, and who says so: the plugin, by the runtime's cache; else its link-local address,
    which comes of the MAC address that it came up with (RFC 4291 appendix A) and stays when that changes."""
    for each in node.snapshot["attachments"]:
        if each["netns"] == pod.netns:
            return next((str(it["mac"]) for it in each["interfaces"] if it["sandbox"]), ""), "the plugin's own answer"
    for ip in (each["address"] for each in pod.namespace["addresses"] if each["device"] == device["name"]):
        packed = ip_address(ip).packed
        if ip_address(ip).is_link_local and packed[11:13] == b"\xff\xfe":
            mac = bytes([packed[8] ^ 2, *packed[9:11], *packed[13:]])
            return ":".join(f"{byte:02x}" for byte in mac), f"{ip} was made of it"
    return "", ""
