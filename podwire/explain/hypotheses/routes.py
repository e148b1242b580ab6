"""The three tables of the way to a peer: routes, neighbours, FDB entries."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address, ip_network
from typing import Any, Iterator, List, Mapping, Tuple

from ...model.command import command, within
from ...model.objects import IPNetwork
from ..cause import Cause, Pair
from ..commands import sysctl
from ..evidence import NodeView, World
from ..titles import cause

_SITE = "./run site"
Row = Mapping[str, Any]


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes."""
    for node in world.nodes.values():
        yield from _to_peers(world, node)
        yield from _extra_routes(world, node)
        yield from _stolen(world, node)


def _to_peers(world: World, node: NodeView) -> Iterator[Cause]:
    lost = [row for row in node.planned("Route", "Neighbour", "FdbEntry") if row["action"] != "remove"]
    devices = {row["device"] for row in node.planned("Link")}
    for peer in world.peers(node.name):
        pairs = world.between(node.name, peer.name)
        for block in peer.pod_cidrs:
            mine = [row for row in lost if _is_of(row, peer.public_ips, block, node)]
            by = {kind: [row for row in mine if row["kind"] == kind] for kind in ("Route", "Neighbour", "FdbEntry")}
            if by["Route"]:
                yield from _route(world, node, peer.name, block, by["Route"][0], pairs, mine)
            if by["Route"] and by["Neighbour"] and by["FdbEntry"] and not devices & {r["device"] for r in mine}:
                evidence = [f"missing: {row['object']}" for row in mine if not row["was"]]
                if len(evidence) == len(mine):
                    yield _made(world, "peer_missed", node, by["Route"][0], mine, pairs, evidence)
            for kind, absent, stale in (
                ("Neighbour", "vxlan_neighbour_missing", "vtep_mac_stale"),
                ("FdbEntry", "vxlan_fdb_missing", "vxlan_fdb_wrong_vtep"),
            ):
                for row in by[kind]:
                    surplus = [r for r in node.planned(kind, device=row["device"]) if r["action"] == "remove"]
                    yield from _entry(world, node, peer.name, row, surplus, (absent, stale), pairs, mine)


def _entry(
    world: World,
    node: NodeView,
    peer: str,
    row: Row,
    surplus: List[Row],
    ids: Tuple[str, str],
    pairs: frozenset[Pair],
    mine: List[Row],
) -> Iterator[Cause]:
    evidence = [f"expected: {row['object']}", f"found: {row['was'] or 'nothing'}", *_word(world, node, peer, row)]
    if not row["was"]:
        yield _made(world, ids[0], node, row, [row], pairs, evidence)
        return
    if row["kind"] == "FdbEntry":
        to = row["was"].partition(" dst ")[2].split()[0]
        evidence.append(f"{to} is {world.owner(to) or 'no node'}'s, {peer} has {row['object'].split()[3]}")
        yield _made(world, ids[1], node, row, [row], pairs, evidence)
        return
    # A neighbour with another MAC: the FDB has the old one too, so its own entry seems to be missing.
    mac = row["was"].split()[3]
    fdb = [each for each in mine if each["kind"] == "FdbEntry"] + [r for r in surplus if mac in r["object"]]
    fdb += [r for r in node.planned("FdbEntry", device=row["device"]) if r["action"] == "remove" and mac in r["object"]]
    evidence.append(f"no device of {peer} has {mac}")
    yield _made(world, ids[1], node, row, [row, *fdb], pairs, evidence)


def _word(world: World, node: NodeView, peer: str, row: Row) -> List[str]:
    """What the kernel says of a packet to one of the peer's pods."""
    words = node.told["oracle"].items()
    version = 6 if ":" in (row["key"] if row["kind"] != "FdbEntry" else row["object"].partition(" dst ")[2]) else 4
    blocks = [block for block in world.blocks(peer) if block.version == version]
    known = ((ip, word) for ip, word in words if any(ip_address(ip) in block for block in blocks))
    return [f"kernel lookup for a packet from a pod to {ip}: {word}" for ip, word in known][:1]


def _is_of(row: Row, public: Any, block: IPNetwork, node: NodeView) -> bool:
    if row["kind"] == "Route":
        return bool(row["key"] == str(block))
    if row["kind"] == "Neighbour":
        return ip_address(row["key"]) in block
    return row["key"] in map(str, public)


def _made(
    world: World, id: str, node: NodeView, row: Row, rows: List[Row], pairs: frozenset[Pair], evidence: List[str]
) -> Cause:
    object = " ".join(row["object"].split()[:2])
    if row["kind"] in ("Neighbour", "FdbEntry"):
        object += f" dev {row['device']}"
    return cause(
        id, object, node.name, row["device"], keys=frozenset(map(node.key, rows)), pairs=pairs, evidence=evidence,
        fix=node.steps(rows), verb=_SITE,
    )  # fmt: skip


def _route(
    world: World, node: NodeView, peer: str, block: IPNetwork, row: Row, pairs: frozenset[Pair], mine: List[Row]
) -> Iterator[Cause]:
    """What stands in the place of the route that there should be."""
    found = [each for network, each in node.view.routes if network == block]
    evidence = [f"expected: {row['object']}", f"found: {_told(found[0]) if found else 'no route'}"]
    evidence += _word(world, node, peer, row)
    if not found:
        yield _made(world, "route_missing", node, row, [row], pairs, evidence)
        return
    hop = found[0]
    if hop["kind"] != "unicast":
        yield _made(world, "route_blackhole", node, row, [row], pairs, evidence)
        return
    if found[0].get("scope") == "link":
        return  # an address of the node's own makes it: duplicate_pod_cidr
    gateway = hop.get("gateway", "")
    owner = world.owner(gateway)
    strict = [key for key in ("all", *node.view.links) if node.sysctl(f"net/ipv4/conf/{key}/rp_filter") == "1"]
    if owner == peer and "all" in strict:
        keys = [row, *node.planned("Sysctl")]
        evidence.append(f"rp_filter is strict (1) on {', '.join(strict)}, and answers come back by another device")
        steps = node.steps(node.planned("Sysctl")) or [
            sysctl(f"net/ipv4/conf/{name}/rp_filter", _of_others(world, node, f"net/ipv4/conf/{name}/rp_filter"))
            for name in strict if "vxlan" in node.view.links.get(name, {})
        ]  # fmt: skip
        fix = [sysctl("net/ipv4/conf/all/rp_filter", "0"), *steps, *node.steps([row])]
        yield cause(
            "rp_filter_strict", "sysctl net/ipv4/conf/all/rp_filter", node.name, keys=frozenset(map(node.key, keys)),
            pairs=pairs, evidence=evidence, fix=fix, verb=_SITE,
        )  # fmt: skip
        return
    if owner == peer:
        yield _made(world, "route_other_way", node, row, [row], pairs, evidence)
        return
    on_link = any(
        ip_address(gateway) in ip_network((address["address"], address["prefix"]), strict=False)
        for address in node.namespace["addresses"]
        if address["device"] == hop.get("device") and gateway
    )
    evidence.append(f"{gateway} is an address of {owner or 'no node'}")
    id = "next_hop_dead" if on_link else "next_hop_not_adjacent"
    if not on_link:
        evidence.append(f"{gateway} is in no network of {hop.get('device')}")
    made = _made(world, id, node, row, [row], pairs, evidence)
    # IPv6 refuses an onlink gateway to which another device has the way (ip6_route_check_nh_onlink).
    first = [command("ip -6 route del {}", block)] if block.version == 6 else []
    yield made._replace(fix=(*first, *made.fix))


def _of_others(world: World, node: NodeView, key: str) -> str:
    """What a filter is on most other nodes; loose where that is strict, too."""
    values = Counter(each.sysctl(key) for each in world.nodes.values() if each is not node)
    most = values.most_common(1)[0][0] if values else ""
    return most if most in ("0", "2") else "2"


def _told(route: Row) -> str:
    words = [] if route["kind"] == "unicast" else [route["kind"]]
    words += [route["destination"]]
    words += [f"{word} {route[key]}" for word, key in (("via", "gateway"), ("dev", "device")) if key in route]
    return " ".join([*words, f"proto {route['protocol']}"])


def _extra_routes(world: World, node: NodeView) -> Iterator[Cause]:
    """More specific routes into a peer's block."""
    for network, route in node.view.routes:
        peer = world.block_of(route["destination"])
        if peer is None or peer.name == node.name or route["protocol"] == 2:
            continue
        if any(network != block and _is_within(network, block) for block in peer.pod_cidrs):
            pods = [pod for pod in world.pods_of(peer.name) if any(ip_address(ip) in network for ip in world.ips[pod])]
            pairs = frozenset(p for p in world.between(node.name, peer.name) if p[0] in pods or p[1] in pods)
            words = [route["kind"]] if route["kind"] != "unicast" else []
            words += [route["destination"], *(["dev", route["device"]] if "device" in route else [])]
            # Where it leads back by the device that packets come from, pods were told so (RFC 4861 §8), and believe it.
            redirected = node.pods.values() if network.version == 6 else ()
            forget = [within(pod.netns, command("ip -6 route flush cache")) for pod in redirected]
            yield cause(
                "route_overlapped", f"route {route['destination']}", node.name, route.get("device", ""),
                keys=frozenset({f"{node.name} extra route {route['destination']}"}), pairs=pairs,
                evidence=[f"expected: one route to {peer.pod_cidrs[0]}, the block of {peer.name}",
                          f"found: {_told(route)}, which is more specific"],
                fix=[command("ip -{} route del", network.version, more=words), *forget],
            )  # fmt: skip


def _stolen(world: World, node: NodeView) -> Iterator[Cause]:
    """Routes to the node's own pods that do not lead to them, and the one to each that a node without a bridge has."""
    for name in world.pods_of(node.name):
        pod = node.pods.get(name)
        if pod is None or pod.port is None:
            continue
        ports = {world.cluster.cni.bridge, pod.port["name"]}
        for ip in world.ips.get(name, []):
            ways = [(network, each) for network, each in node.view.routes if ip_address(ip) in network]
            network, route = max(ways, key=lambda way: (way[0].prefixlen, -way[1].get("metric", 0)), default=(None, {}))
            blocks = world.blocks(node.name)
            if network is not None and network not in blocks and any(_is_within(network, block) for block in blocks):
                if route.get("device") in ports:
                    continue
                words = [route["kind"]] if route["kind"] != "unicast" else []
                words += [
                    route["destination"],
                    *(["dev", route["device"]] if "device" in route and not words else []),
                ]
                yield cause(
                    "route_overlapped", f"route {route['destination']}", node.name, route.get("device", ""),
                    keys=frozenset({f"{node.name} extra route {route['destination']}"}), pairs=world.of(name),
                    evidence=[f"expected: {' or '.join(sorted(ports))} leads to {ip}, which is {name}",
                              f"found: {_told(route)}"],
                    fix=[command("ip -{} route del", network.version, more=words)],
                )  # fmt: skip
            elif world.cluster.cni.type == "ptp":
                yield cause(
                    "pod_route_missing", f"route {ip} dev {pod.port['name']}", node.name, pod.port["name"],
                    keys=frozenset({f"{node.name} route to {ip}"}), pairs=world.of(name),
                    evidence=[f"expected: {pod.port['name']} leads to {ip}, which is {name}",
                              f"found: {_told(route) if route else 'no route'}"],
                    fix=[command("ip -{} route replace {} dev {}", ip_address(ip).version, ip, pod.port["name"])],
                )  # fmt: skip


def _is_within(network: IPNetwork, block: IPNetwork) -> bool:
    return network.version == block.version and network.subnet_of(block)  # type: ignore[arg-type]
