"""A plan for nodes whose intent nobody declared: what nodes have of each other, against what most of them have. Pure.

Rows are those of ``collect``'s plan. What is expected of a node towards a peer is worked out from that peer's own
VXLAN device, and only in a style that some node of the cluster really has: a mesh that learns needs no FDB entries.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address
from typing import Any, Dict, Iterator, List, Mapping, Optional

from ..backend.common import SUBNET_ENV
from ..cluster import Cluster, Node
from ..model import FdbEntry, File, Link, MacAddress, Neighbour, Route, Sysctl, Vxlan
from ..plan import ADD, CHANGE, Operation
from ..prove.consistency import View
from .commands import commands

Told = Mapping[str, Any]


def row(operation: Operation) -> Dict[str, Any]:
    """An operation as evidence carries it."""
    each, old = operation.object, operation.previous
    key = getattr(each, "destination", None) or getattr(each, "address", None) or ""
    return {
        "action": operation.action,
        "kind": type(each).__name__,
        "object": str(each),
        "was": "" if old is None else str(old),
        "device": getattr(each, "device", None) or getattr(each, "name", "") or "",
        "key": str(key),
        "commands": commands(operation),
    }


def plans(cluster: Cluster, told: Mapping[str, Told]) -> Dict[str, List[Dict[str, Any]]]:
    """The rows of every node."""
    views = {name: View(each["observations"]["snapshot"]["namespace"]) for name, each in told.items()}
    style = _Style(cluster, views)
    found: Dict[str, List[Dict[str, Any]]] = {}
    for name, view in views.items():
        sysctls = told[name]["observations"]["snapshot"]["namespace"]["sysctls"]
        envs = {node: each["observations"]["snapshot"]["subnet_env"] for node, each in told.items()}
        lease = _lease(cluster.node(name), envs[name], [env for node, env in envs.items() if node != name])
        found[name] = [row(each) for each in (*_node(cluster, name, view, style, sysctls), *lease)]
    return found


def recorded(found: Mapping[str, Told]) -> Dict[str, Dict[str, Any]]:
    """What ``foreign.find`` found, with the addresses that runtimes recorded for pods (libcni's cache, host-local's
    reservations) in place of those that they have now."""
    corrected: Dict[str, Dict[str, Any]] = {}
    for node, told in found.items():
        snapshot = told["snapshot"]
        by_netns = {each["netns"]: each["ips"] for each in snapshot["attachments"] if each["netns"] and each["ips"]}
        by_owner: Dict[str, List[str]] = {}
        for held in snapshot["reservations"].values():
            for ip, claim in held.items():
                by_owner.setdefault(claim[0], []).append(ip)
        pods = dict(told["pods"])
        names = {each["netns"]: name for name, each in pods.items()}
        for name, sandbox in snapshot["sandboxes"].items():
            given = by_netns.get(sandbox["netns"]) or by_owner.get(sandbox["container"] or "-")
            if given:
                pod = names.get(sandbox["netns"], f"{node}/{name}")
                pods[pod] = {"port": 0, **pods.get(pod, {}), "netns": sandbox["netns"], "addresses": given}
            elif sandbox["known_by"] == "process" and (by_netns or by_owner):
                pods.pop(names.get(sandbox["netns"], ""), None)  # no runtime of this node knows it: no pod
        corrected[node] = {**told, "pods": pods}
    return corrected


def _lease(node: Node, own: Mapping[str, str], others: List[Mapping[str, str]]) -> Iterator[Operation]:
    """flannel's file, where other nodes have one: theirs with this node's block."""
    models = [each for each in others if each.get("FLANNEL_SUBNET")]
    block = next((each for each in node.pod_cidrs if each.version == 4), None)
    if not models or block is None:
        return
    subnet = f"{block[1]}/{block.prefixlen}"
    if own.get("FLANNEL_SUBNET") != subnet:
        content = "".join(f"{key}={value}\n" for key, value in {**models[0], "FLANNEL_SUBNET": subnet}.items())
        yield Operation(CHANGE if own else ADD, File(SUBNET_ENV, content), File(SUBNET_ENV, "") if own else None)


class _Style:
    """What the nodes have in common: the VXLAN device's settings, and which tables are kept by hand."""

    def __init__(self, cluster: Cluster, views: Mapping[str, View]) -> None:
        self.views = views
        vteps = {name: _vtep(view) for name, view in views.items()}
        self.vteps = {name: link for name, link in vteps.items() if link is not None}
        self.vni = _most(link["vxlan"]["vni"] for link in self.vteps.values())
        self.port = _most(link["vxlan"]["port"] for link in self.vteps.values())
        self.mtu = _most(link["mtu"] for link in self.vteps.values())
        self.device = _most(link["vxlan"]["device"] for link in self.vteps.values())
        entries = [each for view in views.values() for each in view.neighbours.values()]
        names = {link["name"] for link in self.vteps.values()}
        self.neighbours = any(each["device"] in names and each["state"] == "permanent" for each in entries)
        self.fdb = any(device in names for view in views.values() for device, _ in view.fdb)
        routed = [route for view in views.values() for _, route in view.routes]
        self.tunnelled = any(route.get("device") in names and "gateway" in route for route in routed)


def _vtep(view: View) -> Optional[Mapping[str, Any]]:
    return next(iter(view.vteps()), None)


def _most(values: Iterator[Any]) -> Any:
    counted = Counter(values).most_common(1)
    return counted[0][0] if counted else None


def _node(cluster: Cluster, name: str, view: View, style: _Style, sysctls: Mapping[str, str]) -> Iterator[Operation]:
    if sysctls.get("net/ipv4/ip_forward") == "0":
        yield Operation(CHANGE, Sysctl("net/ipv4/ip_forward", "1"), Sysctl("net/ipv4/ip_forward", "0"))
    link = style.vteps.get(name)
    if link is not None:
        yield from _device(cluster.node(name), link, style)
    for peer in cluster.nodes:
        if peer.name != name and peer.name in style.views:
            yield from _towards(cluster.node(name), peer, view, link, style)


def _device(node: Node, link: Mapping[str, Any], style: _Style) -> Iterator[Operation]:
    """The device as most nodes have it; its address to send from is one of the node's own."""
    has = link["vxlan"]
    own = [str(each.ip) for each in node.addresses]
    local = has["local"] if has["local"] in ("", "0.0.0.0", *own) or not own else own[0]
    now = _link(link, has["vni"], has["port"], has["local"], has["device"], link["mtu"], link["up"], has["df"])
    best = _link(link, style.vni, style.port, local, style.device, style.mtu, True, False)
    if best.vxlan != now.vxlan:
        yield Operation("remove", now)
        yield Operation(ADD, best)
    elif best != now:
        yield Operation(CHANGE, best, now)


def _link(link: Mapping[str, Any], vni: int, port: int, local: str, device: str, mtu: int, up: bool, df: bool) -> Link:
    vxlan = Vxlan(vni, port, ip_address(local or "0.0.0.0"), device, link["vxlan"]["learning"], df)
    return Link(link["name"], "vxlan", mtu=mtu, mac=MacAddress.parse(link["mac"]), up=up, vxlan=vxlan)


def _towards(
    node: Node, peer: Node, view: View, link: Optional[Mapping[str, Any]], style: _Style
) -> Iterator[Operation]:
    vtep = style.vteps.get(peer.name)
    there = style.views[peer.name]
    for block in peer.pod_cidrs:
        if not style.tunnelled or link is None or vtep is None:
            gateway = peer.address(block.version)
            if gateway is not None and not style.vteps:
                yield from _route(view, Route(block, gateway.ip, node.interface, protocol=3))
            continue
        name = link["name"]
        gateways = [ip for ip, device in there.devices.items() if device == vtep["name"] and ":" not in ip]
        gateways = gateways if block.version == 4 else []
        if not gateways:
            continue
        gateway_ip, mac = ip_address(gateways[0]), MacAddress.parse(vtep["mac"])
        local = peer.public_ip(block.version)
        if style.neighbours:
            entry = view.neighbours.get((name, gateways[0]))
            right = Neighbour(name, gateway_ip, mac)
            if entry is None or "mac" not in entry:
                yield Operation(ADD, right)
            elif entry["mac"] != vtep["mac"]:
                yield Operation(CHANGE, right, right._replace(mac=MacAddress.parse(entry["mac"])))
        if style.fdb and local is not None:
            to = [each["destination"] for each in view.fdb.get((name, vtep["mac"]), ()) if "destination" in each]
            wanted = FdbEntry(name, mac, local)
            if not to:
                yield Operation(ADD, wanted)
            elif str(local) not in to:
                yield Operation(CHANGE, wanted, wanted._replace(destination=ip_address(to[0])))
        yield from _route(view, Route(block, gateway_ip, name, onlink=True, protocol=_protocol(view)))


def _protocol(view: View) -> int:
    """As the node's other routes to peers have it."""
    found = _most(route["protocol"] for _, route in view.routes if route.get("onlink"))
    return int(found or 3)


def _route(view: View, wanted: Route) -> Iterator[Operation]:
    found = [each for network, each in view.routes if network == wanted.destination]
    if any(each.get("gateway") == str(wanted.gateway) and each.get("device") == wanted.device for each in found):
        return
    if any(network.version == wanted.destination.version and network.prefixlen
           and wanted.destination != network and wanted.destination.subnet_of(network)  # type: ignore[arg-type]
           and each.get("gateway") for network, each in view.routes):  # fmt: skip
        return  # a wider route of somebody's covers it
    yield Operation(ADD, wanted)
