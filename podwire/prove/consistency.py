"""A node's kernel entries for its peers, compared with what the peers really have. Pure, from snapshots.

For each ordered pair of nodes and family: A's route to B's pod CIDR, and behind it either VXLAN (neighbour,
FDB entry, then B's own VTEP with its MAC, VNI, port, MTU and underlay address) or a direct route (an address of
B, on a device of the same MTU). For each pod: both ends of its veth pair, its port, its gateway's MAC.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Callable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..intent.cluster import Cluster
from ..model.objects import IPNetwork
from ..observe.records import LinkRow, RouteRow, VxlanRow
from ..observe.view import View
from .guarantee import Failure, Guarantee, guarantee
from .observations import Observations

TITLE = "nodes hold each other's real addresses and MTU"
Difference = Tuple[str, str]
"""(cause, reason)."""


class _Unknown(Exception):
    """The route leads through a router that is not a node: there is nothing to compare with."""


class Compared(NamedTuple):
    """Counts of comparisons, and those that differ."""

    ran: int
    not_run: int
    failures: List[Failure]
    notes: Tuple[str, ...]


def consistency(cluster: Cluster, reports: Mapping[str, Observations], nodes: Sequence[str]) -> Guarantee:
    """The guarantee for ``nodes``, as far as they and their peers reported."""
    views = {
        name: View(observed["snapshot"]["namespace"]) for name, observed in reports.items() if "snapshot" in observed
    }
    ran = not_run = unknown = 0
    failures: List[Failure] = []
    with_pods = {pod.node for pod in cluster.pods if not pod.host_network}
    for node in nodes:
        for peer in cluster.nodes:
            if peer.name == node or peer.name not in with_pods:
                continue
            for version in cluster.versions:
                block = peer.pod_cidr(version)
                if block is None:
                    continue
                if node not in views or peer.name not in views:
                    not_run += 1
                    continue
                try:
                    difference = between(views[node], views[peer.name], block, cluster, peer.name)
                except _Unknown:
                    unknown += 1
                    continue
                ran += 1
                if difference is not None:
                    failures.append(Failure(node, peer.name, str(block), *difference))
        for pod, different in _pods(reports.get(node), views.get(node)):
            ran += 1
            if different is not None:
                failures.append(Failure(node, pod, "", *different))
    notes = (f"{unknown} routes lead through routers that are not nodes: not compared",) if unknown else ()
    return guarantee("consistency", TITLE, "comparisons", ran, failures, not_run, notes)


def between(node_view: View, peer_view: View, block: IPNetwork, cluster: Cluster, peer: str) -> Optional[Difference]:
    """What is wrong with a node's route to a peer's pod CIDR; None if nothing is."""
    inside = [
        route for network, route in node_view.routes if network.version == block.version and _within(network, block)
    ]
    for route in inside:
        return "overlapping route", f"a route to {route['destination']}, inside {block}: {_hop(route)}"
    covering = [
        (network, route)
        for network, route in node_view.routes
        if network.version == block.version and block.subnet_of(network)  # type: ignore[arg-type]
    ]
    if not covering:
        return "no route", f"no route to {block}"
    network, route = max(covering, key=lambda candidate: (candidate[0].prefixlen, -candidate[1].get("metric", 0)))
    if route["kind"] != "unicast":
        return "no route", f"{route['kind']} route to {network}"
    if network != block and not network.prefixlen:
        if cluster.discovered:
            raise _Unknown
        return "no route", f"no route to {block} but the default route"
    hop = node_view.hop(route)
    device, gateway = hop.get("device", ""), hop.get("gateway", "")
    link = node_view.links.get(device)
    if link is None or not link["up"]:
        return "device down", f"the route to {network} leaves by {device or 'nothing'}, which is down"
    if "vxlan" in link:
        return _by_vxlan(node_view, peer_view, link, gateway)
    return _direct(node_view, peer_view, link, gateway, cluster, peer)


def _within(network: IPNetwork, block: IPNetwork) -> bool:
    return network != block and network.subnet_of(block)  # type: ignore[arg-type]


def _hop(route: RouteRow) -> str:
    via = f"via {route['gateway']} " if "gateway" in route else ""
    return f"{via}dev {route['device']}" if "device" in route else via.strip() or str(route["kind"])


def _by_vxlan(node_view: View, peer_view: View, link: LinkRow, gateway: str) -> Optional[Difference]:
    device, vxlan = link["name"], link["vxlan"]
    neighbour = node_view.neighbours.get((device, gateway))
    if neighbour is None or "mac" not in neighbour:
        return "no neighbour", f"no neighbour entry for {gateway} on {device}"
    mac = neighbour["mac"]
    vtep = _vtep(peer_view, mac, vxlan, gateway)
    if vtep is None:
        return "no VTEP", "it has no VXLAN device"
    peer_vxlan = vtep["vxlan"]
    if not vtep["up"]:
        return "device down", f"its {vtep['name']} is down"
    entries = [entry["destination"] for entry in node_view.fdb.get((device, mac), ()) if "destination" in entry]
    local = _local(peer_view, peer_vxlan)
    for cause, what, one, other in (
        ("stale MAC", f"the neighbour entry for {gateway} on {device} has MAC", mac, vtep["mac"]),
        ("VNI differs", f"{device} has VNI", vxlan["vni"], peer_vxlan["vni"]),
        ("VXLAN port differs", f"{device} has UDP port", vxlan["port"], peer_vxlan["port"]),
        ("MTU differs", f"{device} has MTU", link["mtu"], vtep["mtu"]),
    ):
        if one != other:
            return cause, f"{what} {one}, its {vtep['name']} {other}"
    if gateway not in peer_view.devices:
        return "no owner", f"the route's gateway {gateway} is not one of its addresses"
    if not entries and not vxlan["learning"]:
        return "no FDB entry", f"no FDB entry for {mac} on {device}"
    if local and local not in peer_view.devices:
        return "no owner", f"its {vtep['name']} sends from {local}, which is not one of its addresses"
    if entries and local and local not in entries:
        return "wrong VTEP", f"the FDB sends {mac} to {', '.join(entries)}, and its {vtep['name']} is at {local}"
    return None


def _vtep(peer_view: View, mac: str, vxlan: VxlanRow, gateway: str) -> Optional[LinkRow]:
    """The peer's VXLAN device that corresponds to ours: by the most specific property first."""
    vteps = peer_view.vteps()
    tests: Sequence[Callable[[LinkRow], bool]] = (
        lambda link: link["name"] == peer_view.devices.get(gateway),
        lambda link: link["mac"] == mac,
        lambda link: link["vxlan"]["vni"] == vxlan["vni"],
        lambda link: True,
    )
    for fits in tests:
        matching = [link for link in vteps if fits(link)]
        if matching:
            return matching[0]
    return None


def _local(peer_view: View, vxlan: VxlanRow) -> str:
    """The underlay address that a VTEP sends from; if it has none set, its device's only address."""
    if vxlan["local"] and vxlan["local"] != "0.0.0.0":
        return str(vxlan["local"])
    addresses = [
        address for address, device in peer_view.devices.items() if device == vxlan["device"] and ":" not in address
    ]
    return addresses[0] if len(addresses) == 1 else ""


def _direct(
    node_view: View, peer_view: View, link: LinkRow, gateway: str, cluster: Cluster, peer: str
) -> Optional[Difference]:
    if not gateway:
        if cluster.discovered:
            raise _Unknown
        return "no gateway", f"the route leaves by {link['name']} without a gateway"
    public = {str(ip) for ip in cluster.node(peer).public_ips}
    device = peer_view.links.get(peer_view.devices.get(gateway, ""))
    if device is None:
        if cluster.discovered:
            raise _Unknown
        return None if gateway in public else ("no owner", f"the route's gateway {gateway} is not one of its addresses")
    if not device["up"]:
        return "device down", f"its {device['name']} is down"
    if device["mtu"] != link["mtu"]:
        return "MTU differs", f"{link['name']} has MTU {link['mtu']}, its {device['name']} {device['mtu']}"
    neighbour = node_view.neighbours.get((link["name"], gateway))
    if neighbour is not None and neighbour.get("mac", device["mac"]) != device["mac"]:
        return "stale MAC", f"the neighbour entry for {gateway} has MAC {neighbour['mac']}, it has {device['mac']}"
    return None


def _pods(observed: Optional[Observations], node_view: Optional[View]) -> Iterator[Tuple[str, Optional[Difference]]]:
    """Each pod of a node with a veth pair, and what is wrong there."""
    if observed is None or node_view is None:
        return  # the node's pairs already count as not run
    ends = node_view.veth_ends()
    for name, sandbox in observed["snapshot"]["sandboxes"].items():
        inside = View(sandbox["namespace"])
        for link in inside.links.values():
            outside = ends.get((sandbox["nsid"], link["ifindex"]))
            if outside is not None:
                yield name, _veth(node_view, inside, link, outside)


def _veth(node_view: View, inside: View, link: LinkRow, outside: LinkRow) -> Optional[Difference]:
    name, end = link["name"], outside["name"]
    for label, device_link in ((f"its {name}", link), (end, outside)):
        if not device_link["up"]:
            return "device down", f"{label} is down"
    if link["mtu"] != outside["mtu"]:
        return "MTU differs", f"its {name} has MTU {link['mtu']}, {end} {outside['mtu']}"
    bridge = outside.get("master", "")
    if bridge:
        state = outside.get("port", {}).get("state", "forwarding")
        if state != "forwarding":
            return "port not forwarding", f"{end} is {state} on {bridge}"
        apart = node_view.isolated.get(bridge, ())
        if end in apart and len(apart) > 1:
            return "port isolated", f"{end} is isolated on {bridge}, as are other ports, which it cannot reach"
        for (port, mac), entries in node_view.fdb.items():
            if mac == link["mac"] and port != end and any(entry.get("master") == bridge for entry in entries):
                return "wrong port", f"{bridge} has its MAC {mac} on {port}, but it is attached to {end}"
    owner = node_view.links.get(bridge or end, outside)
    for (device, address), neighbour in inside.neighbours.items():
        ours = device == name and node_view.devices.get(address) == owner["name"]
        if ours and not ip_address(address).is_link_local and neighbour.get("mac", owner["mac"]) != owner["mac"]:
            return "stale MAC", f"it has MAC {neighbour['mac']} for {address}, {owner['name']} has {owner['mac']}"
    return None
