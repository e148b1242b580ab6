"""The network between nodes, inferred from what most of them have, for where nobody declared it. Pure.

What is expected of a node towards a peer comes from that peer's own VXLAN device, and only in a form that some node
of the cluster really has: a mesh that learns has neither neighbours nor an FDB entry a peer, but entries that flood.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address, ip_interface
from typing import Dict, Iterable, Iterator, List, Mapping, Optional, TypeVar

from ..intent.cluster import Cluster, Node
from ..model.objects import Address, FdbEntry, IPInterface, Link, MacAddress, Neighbour, Route, Sysctl, Vxlan
from ..observe.records import FdbRow, LinkRow
from ..observe.view import View
from ..plan import ADD, CHANGE, REMOVE, Operation
from .commands import FLOOD

_T = TypeVar("_T")
_UNSET = ("", "0.0.0.0")


class Mesh:
    """What the nodes have in common: the VXLAN device's settings, and which tables are permanent."""

    def __init__(self, cluster: Cluster, views: Mapping[str, View]) -> None:
        self.cluster, self.views = cluster, views
        first = {name: next(iter(view.vteps()), None) for name, view in views.items()}
        self.vteps: Dict[str, LinkRow] = {name: link for name, link in first.items() if link is not None}
        self.mtu = most_common(link["mtu"] for link in self.vteps.values())
        names = {link["name"] for link in self.vteps.values()}
        self.has_neighbours = any(
            neighbour["device"] in names and neighbour["state"] == "permanent"
            for view in views.values() for neighbour in view.neighbours.values()
        )  # fmt: skip
        macs = [mac for view in views.values() for (device, mac), rows in view.fdb.items()
                if device in names and any(map(_is_permanent, rows))]  # fmt: skip
        self.floods, self.has_fdb = FLOOD in macs, any(mac != FLOOD for mac in macs)
        routes = [route for view in views.values() for _, route in view.routes
                  if route.get("device") in names and "gateway" in route]  # fmt: skip
        self.has_routes = bool(routes)
        self.onlink = any(route.get("onlink") for route in routes)
        #: (node, peer) without a tunnel, where several nodes have such peers, as with flannel's DirectRouting.
        direct = {(name, peer.name) for name in views for peer in cluster.nodes if self._is_direct(name, peer)}
        self.direct = direct if len({name for name, _ in direct}) > 1 else set()

    def wanted(self, name: str) -> Iterator[Operation]:
        """What a node needs to be as the others are."""
        view, link = self.views[name], self.vteps.get(name)
        device, renewed = link["name"] if link else "", False
        if link is not None or 2 * len(self.vteps) > len(self.views):
            best, now = self._device(name), _link(link) if link else None
            device, renewed = best.name, now is None or best.settings != now.settings
            if renewed:
                yield from [Operation(REMOVE, now)] if now else []
                yield Operation(ADD, best)
                yield from (Operation(ADD, Address(best.name, address)) for address in self._addresses(name))
            elif best != now:
                yield Operation(CHANGE, best, now)
        for peer in self.cluster.nodes:
            if peer.name != name and peer.name in self.views and (name, peer.name) not in self.direct:
                yield from self._towards(view, peer, device, renewed)

    # --- a node's own device ---------------------------------------------------------------------

    def _device(self, name: str) -> Link:
        """As most nodes have it; with the addresses inside and outside that peers send to."""
        view, link = self.views[name], self.vteps.get(name)
        vteps = [vtep["vxlan"] for vtep in self.vteps.values()]
        local = link["vxlan"]["local"] if link else ""
        if not link or local not in (*_UNSET, *view.devices):
            known = most_common(row["destination"] for row in self._fdb_of(name) if row["destination"] in view.devices)
            outer = next((str(address.ip) for address in self.cluster.node(name).addresses), "")
            local = known or outer
        mac = self.mac(name)
        vxlan = Vxlan(
            most_common(vtep["vni"] for vtep in vteps) or 0,
            most_common(vtep["port"] for vtep in vteps) or 0,
            ip_address(local or "0.0.0.0"),
            most_common(vtep["device"] for vtep in vteps) or "",
            link["vxlan"]["learning"] if link else bool(most_common(vtep["learning"] for vtep in vteps)),
            False,
        )
        device = link["name"] if link else most_common(vtep["name"] for vtep in self.vteps.values()) or ""
        return Link(device, "vxlan", mtu=self.mtu, mac=MacAddress.parse(mac) if mac else None, settings=vxlan)

    def _addresses(self, name: str) -> List[IPInterface]:
        """Of a device that is made anew: those that it has, else the one that peers route to."""
        if name in self.vteps:
            return [ip_interface(f"{ip}/{self.views[name].lengths[ip]}") for ip in self._ips(name)]
        blocks = self.cluster.node(name).pod_cidrs
        gateway = most_common(
            route["gateway"] for peer, view in self.views.items() if peer != name
            for network, route in view.routes if network in blocks and "gateway" in route
        )  # fmt: skip
        length = most_common(view.lengths[ip] for peer, view in self.views.items() for ip in self._ips(peer))
        return [ip_interface(f"{gateway}/{length}")] if gateway else []

    def mac(self, name: str) -> str:
        """The MAC address of a node's VTEP: the device's own, unless two peers and more agree that it was another."""
        link = self.vteps.get(name)
        known = [mac for _, mac in self._neighbours_of(name)]
        if len(known) > 1 and len(set(known)) == 1:
            return known[0]
        return link["mac"] if link else (known[0] if known else "")

    def _neighbours_of(self, name: str) -> Iterator[tuple[tuple[str, str], str]]:
        """((peer, device), MAC address) of peers' permanent neighbour entries for a node's VTEP."""
        blocks = self.cluster.node(name).pod_cidrs
        for peer, view in self.views.items():
            for (device, ip), entry in view.neighbours.items():
                is_permanent = peer != name and entry["state"] == "permanent" and "vxlan" in view.links.get(device, {})
                if is_permanent and any(ip_address(ip) in block for block in blocks):
                    yield (peer, device), entry.get("mac", "")

    def _fdb_of(self, name: str) -> List[FdbRow]:
        """Peers' FDB entries for a node's VTEP."""
        rows = (row for (peer, device), mac in self._neighbours_of(name)
                for row in self.views[peer].fdb.get((device, mac), ()))  # fmt: skip
        return [row for row in rows if "destination" in row]

    def _ips(self, name: str) -> List[str]:
        """The addresses of a node's VXLAN device."""
        link = self.vteps.get(name)
        ips = [ip for ip, device in self.views[name].devices.items() if link and device == link["name"]]
        return [ip for ip in ips if not ip_address(ip).is_link_local]

    def _is_direct(self, name: str, peer: Node) -> bool:
        """Whether a node's route to a peer's pod CIDR goes by an address of the peer's own, and no tunnel."""
        there = self.views.get(peer.name)
        return there is not None and any(
            network in peer.pod_cidrs
            and "vxlan" not in self.views[name].links.get(route.get("device", ""), {})
            and route.get("gateway") in there.devices
            for network, route in self.views[name].routes
        )

    # --- the path to a peer ----------------------------------------------------------------------

    def _towards(self, view: View, peer: Node, device: str, renewed: bool) -> Iterator[Operation]:
        """``device``: the node's VXLAN device, "" for none; ``renewed``: whether it is made anew, and has nothing."""
        gone = device if renewed else ""
        for block in peer.pod_cidrs:
            if not self.has_routes or not device or peer.name not in self.vteps:
                hop = peer.address(block.version)
                if hop is not None and not self.vteps:
                    yield from _route(view, Route(block, hop.ip, None, protocol=_protocol(view)), gone)
                continue
            gateways = [ip for ip in map(ip_address, self._ips(peer.name)) if ip.version == block.version]
            if not gateways:
                continue
            mac = MacAddress.parse(self.mac(peer.name))
            if self.has_neighbours:
                yield from _neighbour(view, Neighbour(device, gateways[0], mac), renewed)
            for target in [mac] if self.has_fdb else [MacAddress.parse(FLOOD)] if self.floods else []:
                rows = [] if renewed else view.fdb.get((device, str(target)), [])
                yield from self._entry(device, target, peer, [row["destination"] for row in rows if _is_permanent(row)])
            yield from _route(view, Route(block, gateways[0], device, self.onlink, protocol=_protocol(view)), gone)

    def _entry(self, device: str, mac: MacAddress, peer: Node, current: List[str]) -> Iterator[Operation]:
        """An FDB entry towards a peer. Where packets are flooded the device has one for every peer."""
        vtep = self.vteps[peer.name]["vxlan"]["local"]
        possible = [vtep] if vtep in self.views[peer.name].devices else []
        possible += [str(ip) for ip in peer.public_ips if ip.version == ip_address(vtep or "0.0.0.0").version]
        if not possible or set(possible) & set(current):
            return
        wanted = FdbEntry(device, mac, ip_address(possible[0]))
        known = {ip for view in self.views.values() for ip in view.devices}
        wrong = [ip_address(ip) for ip in current if str(mac) != FLOOD or ip not in known]
        if wrong:
            yield Operation(CHANGE, wanted, wanted._replace(destination=wrong[0]))
        else:
            yield Operation(ADD, wanted)


def forwarding(sysctls: Mapping[str, str]) -> Iterator[Operation]:
    """A node with pods forwards."""
    if sysctls.get("net/ipv4/ip_forward") == "0":
        yield Operation(CHANGE, Sysctl("net/ipv4/ip_forward", "1"), Sysctl("net/ipv4/ip_forward", "0"))


def most_common(values: Iterable[_T]) -> Optional[_T]:
    """The value that occurs most; None of nothing."""
    counted = Counter(values).most_common(1)
    return counted[0][0] if counted else None


def _is_permanent(row: FdbRow) -> bool:
    """Whether somebody wrote an FDB entry: what a device learns is not permanent."""
    return bool(row.get("permanent")) and "destination" in row


def _link(link: LinkRow) -> Link:
    row = link["vxlan"]
    local = ip_address(row["local"] or "0.0.0.0")
    vxlan = Vxlan(row["vni"], row["port"], local, row["device"], row["learning"], row["df"])
    return Link(
        link["name"], "vxlan", mtu=link["mtu"], mac=MacAddress.parse(link["mac"]), up=link["up"], settings=vxlan
    )


def _protocol(view: View) -> int:
    """As the node's other routes to peers have it."""
    routes = (route["protocol"] for network, route in view.routes if network.prefixlen and route.get("gateway"))
    return most_common(routes) or 3


def _neighbour(view: View, wanted: Neighbour, renewed: bool) -> Iterator[Operation]:
    """``renewed``: whether its device is made anew."""
    entry = None if renewed else view.neighbours.get((wanted.device, str(wanted.address)))
    if entry is None or entry["state"] != "permanent":
        yield Operation(ADD, wanted)
    elif entry["mac"] != str(wanted.mac):
        yield Operation(CHANGE, wanted, wanted._replace(mac=MacAddress.parse(entry["mac"])))


def _route(view: View, wanted: Route, gone: str) -> Iterator[Operation]:
    """``gone``: the device whose routes are removed with it."""
    routes = [(network, route) for network, route in view.routes if not gone or route.get("device") != gone]
    if any(network == wanted.destination and route.get("gateway") == str(wanted.gateway)
           and wanted.device in (None, route.get("device")) for network, route in routes):  # fmt: skip
        return
    if any(network.version == wanted.destination.version and network.prefixlen
           and wanted.destination != network and wanted.destination.subnet_of(network)  # type: ignore[arg-type]
           and route.get("gateway") for network, route in routes):  # fmt: skip
        return  # a wider route of somebody's covers it
    yield Operation(ADD, wanted)
