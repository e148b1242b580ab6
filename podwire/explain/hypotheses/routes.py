"""The three tables of the path to a peer: routes, neighbours, FDB entries."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address, ip_network
from typing import FrozenSet, Iterator, List, NamedTuple, Optional, Sequence

from ...intent.cluster import Node
from ...model.command import command
from ...model.objects import FdbEntry, IPNetwork, Link, Neighbour, Object, Route, Sysctl
from ...observe.records import RouteRow
from ...plan import REMOVE
from ..cause import Cause, Pair
from ..commands import sysctl
from ..evidence import World
from ..operations import Change, device_of, fix, subject
from ..titles import cause
from ..views import NodeView

_SITE = "./run site"
_RP_FILTER = "net/ipv4/conf/{}/rp_filter"


class _Path(NamedTuple):
    """A node's path to a pod CIDR of a peer, and what of it is to be added or changed."""

    node: NodeView
    peer: Node
    block: IPNetwork
    pairs: FrozenSet[Pair]
    routes: List[Change[Route]]
    neighbours: List[Change[Neighbour]]
    fdb: List[Change[FdbEntry]]


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes."""
    for node in world.nodes.values():
        for peer in world.peers(node.name):
            for block in peer.pod_cidrs:
                yield from _to_peer(world, _path(world, node, peer, block))


def _path(world: World, node: NodeView, peer: Node, block: IPNetwork) -> _Path:
    routes = [it for it in node.changes(Route) if it.action != REMOVE and it.object.destination == block]
    neighbours = [it for it in node.changes(Neighbour) if it.action != REMOVE and it.object.address in block]
    fdb = [it for it in node.changes(FdbEntry) if it.action != REMOVE and it.object.destination in peer.public_ips]
    return _Path(node, peer, block, world.between(node.name, peer.name), routes, neighbours, fdb)


def _to_peer(world: World, path: _Path) -> Iterator[Cause]:
    if path.routes:
        yield from _route(world, path, path.routes[0])
    # In the order of a plan: what a route needs comes before it.
    lacking: List[Change[Object]] = [*path.neighbours, *path.fdb, *path.routes]
    devices = {change.object.name for change in path.node.changes(Link)}
    is_whole = path.routes and path.neighbours and path.fdb and all(change.previous is None for change in lacking)
    if is_whole and not devices & {device_of(change.object) for change in lacking}:
        evidence = [f"missing: {change.object}" for change in lacking]
        yield _made("peer_missed", path, path.routes[0], lacking, evidence)
    for neighbour in path.neighbours:
        yield _neighbour(world, path, neighbour)
    for entry in path.fdb:
        yield _fdb(world, path, entry)


def _neighbour(world: World, path: _Path, change: Change[Neighbour]) -> Cause:
    previous, node = change.previous, path.node
    evidence = [f"expected: {change.object}", f"found: {previous or 'nothing'}"]
    evidence += _lookup(world, path, change.object.address.version)
    if previous is None:
        return _made("vxlan_neighbour_missing", path, change, [change], evidence)
    # The FDB has the old MAC address too, so its own entry seems to be missing.
    surplus = [it for it in node.changes(Neighbour, device=change.object.device) if it.action == REMOVE]
    old = [it for it in node.changes(FdbEntry, device=change.object.device) if it.action == REMOVE]
    changes: List[Change[Object]] = [change, *path.fdb]
    changes += [it for it in surplus if it.object.mac == previous.mac]
    changes += [it for it in old if it.object.mac == previous.mac]
    evidence.append(f"no device of {path.peer.name} has {previous.mac}")
    return _made("vtep_mac_stale", path, change, changes, evidence)


def _fdb(world: World, path: _Path, change: Change[FdbEntry]) -> Cause:
    previous, target = change.previous, change.object.destination
    evidence = [f"expected: {change.object}", f"found: {previous or 'nothing'}", *_lookup(world, path, target.version)]
    if previous is None:
        return _made("vxlan_fdb_missing", path, change, [change], evidence)
    owner = world.owner(str(previous.destination)) or "no node"
    evidence.append(f"{previous.destination} is {owner}'s, {path.peer.name} has {target}")
    return _made("vxlan_fdb_wrong_vtep", path, change, [change], evidence)


def _lookup(world: World, path: _Path, version: int) -> List[str]:
    """The kernel's lookup for a packet to one of the peer's pods."""
    blocks = [block for block in world.blocks(path.peer.name) if block.version == version]
    lookups = path.node.evidence["oracle"].items()
    known = ((ip, text) for ip, text in lookups if any(ip_address(ip) in block for block in blocks))
    return [f"kernel lookup for a packet from a pod to {ip}: {text}" for ip, text in known][:1]


def _made(
    id: str, path: _Path, change: Change[Object], changes: Sequence[Change[Object]], evidence: List[str]
) -> Cause:
    node, target = path.node, change.object
    return cause(
        id, subject(target), node.name, device_of(target), keys=frozenset(map(node.key, changes)), pairs=path.pairs,
        evidence=evidence, fix=fix(changes), verb=_SITE,
    )  # fmt: skip


def _route(world: World, path: _Path, change: Change[Route]) -> Iterator[Cause]:
    """What stands in the place of the route that there should be."""
    current = next((route for network, route in path.node.view.routes if network == path.block), None)
    evidence = [f"expected: {change.object}", f"found: {route_text(current)}"]
    evidence += _lookup(world, path, path.block.version)
    if current is None:
        yield _made("route_missing", path, change, [change], evidence)
    elif current["kind"] != "unicast":
        yield _made("route_blackhole", path, change, [change], evidence)
    elif current.get("scope") != "link":  # else an address of the node's own makes it: duplicate_pod_cidr
        yield _elsewhere(world, path, change, current, evidence)


def _elsewhere(world: World, path: _Path, change: Change[Route], current: RouteRow, evidence: List[str]) -> Cause:
    """A route with another gateway or device."""
    node, gateway, device = path.node, current.get("gateway", ""), current.get("device", "")
    owner = world.owner(gateway)
    strict = [name for name in ("all", *node.view.links) if node.sysctl(_RP_FILTER.format(name)) == "1"]
    if owner == path.peer.name and "all" in strict:
        return _rp_filter(world, path, change, strict, evidence)
    if owner == path.peer.name:
        return _made("route_other_way", path, change, [change], evidence)
    on_link = bool(gateway) and any(
        ip_address(gateway) in ip_network((row["address"], row["prefix"]), strict=False)
        for row in node.namespace["addresses"] if row["device"] == device
    )  # fmt: skip
    evidence.append(f"{gateway} is an address of {owner or 'no node'}")
    if not on_link:
        evidence.append(f"{gateway} is in no network of {device or None}")
    made = _made("next_hop_dead" if on_link else "next_hop_not_adjacent", path, change, [change], evidence)
    # IPv6 refuses an onlink gateway to which another device has the route (ip6_route_check_nh_onlink).
    first = [command("ip -6 route del {}", path.block)] if path.block.version == 6 else []
    return made._replace(fix=(*first, *made.fix))


def _rp_filter(
    world: World, path: _Path, change: Change[Route], strict: Sequence[str], evidence: Sequence[str]
) -> Cause:
    node = path.node
    sysctls = node.changes(Sysctl)
    both: List[Change[Object]] = [change, *sysctls]
    steps = fix(sysctls) or [
        sysctl(_RP_FILTER.format(name), _of_others(world, node, _RP_FILTER.format(name)))
        for name in strict if "vxlan" in node.view.links.get(name, {})
    ]  # fmt: skip
    return cause(
        "rp_filter_strict", "sysctl net/ipv4/conf/all/rp_filter", node.name,
        keys=frozenset(map(node.key, both)), pairs=path.pairs,
        evidence=[*evidence,
                  f"rp_filter is strict (1) on {', '.join(strict)}, and answers come back by another device"],
        fix=[sysctl("net/ipv4/conf/all/rp_filter", "0"), *steps, *fix([change])], verb=_SITE,
    )  # fmt: skip


def _of_others(world: World, node: NodeView, key: str) -> str:
    """What a filter is on most other nodes; loose where that is strict, too."""
    values = Counter(other.sysctl(key) for other in world.nodes.values() if other is not node)
    most = values.most_common(1)[0][0] if values else ""
    return most if most in ("0", "2") else "2"


def route_text(route: Optional[RouteRow]) -> str:
    """A route as ``ip route`` prints it."""
    if route is None:
        return "no route"
    words = [] if route["kind"] == "unicast" else [route["kind"]]
    words.append(route["destination"])
    for word, value in (("via", route.get("gateway")), ("dev", route.get("device"))):
        words += [word, value] if value else []
    return " ".join([*words, f"proto {route['protocol']}"])
