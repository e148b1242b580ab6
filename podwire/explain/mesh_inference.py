"""The way nodes reach each other's pods, worked out from what most of them have, for where nobody declared it. Pure.

What is expected of a node towards a peer comes from that peer's own VXLAN device, and only in a style that some node
of the cluster really has: a mesh that learns has neither neighbours nor an FDB entry a peer, but entries that flood.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address, ip_interface
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional

from ..intent.cluster import Cluster, Node
from ..model.objects import Address, FdbEntry, Link, MacAddress, Neighbour, Route, Sysctl, Vxlan
from ..plan import ADD, CHANGE, REMOVE, Operation
from ..prove.consistency import View
from .commands import FLOOD

Seen = Mapping[str, Any]


class Style:
    """What the nodes have in common: the VXLAN device's settings, and which tables are kept by hand."""

    def __init__(self, cluster: Cluster, views: Mapping[str, View]) -> None:
        self.cluster, self.views = cluster, views
        found = {name: next(iter(view.vteps()), None) for name, view in views.items()}
        self.vteps: Dict[str, Seen] = {name: link for name, link in found.items() if link is not None}
        #: What most devices have; empty where there is none.
        self.most = {key: _most(link["vxlan"][key] for link in self.vteps.values()) for key in _SETTINGS}
        self.mtu = _most(link["mtu"] for link in self.vteps.values())
        names = {link["name"] for link in self.vteps.values()}
        self.neighbours = any(
            neighbour["device"] in names and neighbour["state"] == "permanent"
            for view in views.values() for neighbour in view.neighbours.values()
        )  # fmt: skip
        kept = [mac for view in views.values() for (device, mac), rows in view.fdb.items()
                if device in names and any(_is_kept(row) for row in rows)]  # fmt: skip
        self.flood, self.fdb = FLOOD in kept, any(mac != FLOOD for mac in kept)
        self.ways = [route for view in views.values() for _, route in view.routes
                     if route.get("device") in names and "gateway" in route]  # fmt: skip
        self.onlink = any(route.get("onlink") for route in self.ways)
        #: (node, peer) without a tunnel, where several nodes have such peers, as with flannel's DirectRouting.
        near = {(name, peer.name) for name in views for peer in cluster.nodes if self._is_direct(name, peer)}
        self.direct = near if len({name for name, _ in near}) > 1 else set()

    def wanted(self, name: str) -> Iterator[Operation]:
        """What a node needs to be as the others are."""
        view = self.views[name]
        link = self.vteps.get(name)
        new = False
        if link is not None or 2 * len(self.vteps) > len(self.views):
            best, now = self._device(name), _link(link) if link else None
            new = now is None or best.settings != now.settings
            if new:
                yield from [Operation(REMOVE, now)] if now else []
                yield Operation(ADD, best)
                yield from (Operation(ADD, Address(best.name, address)) for address in self._addresses(name))
            elif best != now:
                yield Operation(CHANGE, best, now)
            link = link or {"name": best.name}
        for peer in self.cluster.nodes:
            if peer.name != name and peer.name in self.views and (name, peer.name) not in self.direct:
                yield from self._towards(view, peer, link, {link["name"]} if new and link else set())

    # --- a node's own device ---------------------------------------------------------------------

    def _device(self, name: str) -> Link:
        """As most nodes have it; with the addresses inside and outside that peers send to."""
        view, link = self.views[name], self.vteps.get(name)
        own = view.devices.keys()
        local = link["vxlan"]["local"] if link else ""
        if not link or local not in ("", "0.0.0.0", *own):
            told = _most(row["destination"] for row in self._of_peers(name, "fdb") if row["destination"] in own)
            outer = next((address.ip for address in self.cluster.node(name).addresses), "")
            local = told or str(outer)
        mac = self.mac(name)
        vxlan = Vxlan(
            self.most["vni"], self.most["port"], ip_address(local or "0.0.0.0"), self.most["device"],
            link["vxlan"]["learning"] if link else self.most["learning"], False,
        )  # fmt: skip
        device = link["name"] if link else _most(vtep["name"] for vtep in self.vteps.values())
        return Link(device, "vxlan", mtu=self.mtu, mac=MacAddress.parse(mac) if mac else None, settings=vxlan)

    def _addresses(self, name: str) -> List[Any]:
        """Of a device that is made anew: those that it has, else the one that peers route to."""
        link = self.vteps.get(name)
        if link is not None:
            return [ip_interface(f"{ip}/{self.views[name].lengths[ip]}") for ip in self._ips(name)]
        blocks = self.cluster.node(name).pod_cidrs
        gateway = _most(
            route["gateway"] for peer, view in self.views.items() if peer != name
            for network, route in view.routes if network in blocks and "gateway" in route
        )  # fmt: skip
        length = _most(view.lengths[ip] for peer, view in self.views.items() for ip in self._ips(peer))
        return [ip_interface(f"{gateway}/{length}")] if gateway else []

    def mac(self, name: str) -> str:
        """The MAC address of a node's VTEP: the device's own, unless two peers and more agree that it was another."""
        link = self.vteps.get(name)
        told = [row["mac"] for row in self._of_peers(name, "neighbours")]
        if len(told) > 1 and len(set(told)) == 1:
            return str(told[0])
        return str(link["mac"]) if link else (told[0] if told else "")

    def _of_peers(self, name: str, table: str) -> List[Seen]:
        """What peers keep by hand about a node's VTEP: neighbours of its address, FDB entries of these."""
        blocks = self.cluster.node(name).pod_cidrs
        found = []
        for peer, view in self.views.items():
            for (device, ip), entry in view.neighbours.items():
                if (
                    peer != name
                    and entry["state"] == "permanent"
                    and "vxlan" in view.links.get(device, {})
                    and any(ip_address(ip) in block for block in blocks)
                ):
                    rows = view.fdb.get((device, entry.get("mac", "")), ()) if table == "fdb" else [entry]
                    found += [row for row in rows if table != "fdb" or "destination" in row]
        return found

    def _ips(self, name: str) -> List[str]:
        """The addresses of a node's VXLAN device."""
        link = self.vteps.get(name)
        found = [ip for ip, device in self.views[name].devices.items() if link and device == link["name"]]
        return [ip for ip in found if not ip_address(ip).is_link_local]

    def _is_direct(self, name: str, peer: Node) -> bool:
        """Whether a node's route to a peer's block goes by an address of the peer's own, and no tunnel."""
        there = self.views.get(peer.name)
        return there is not None and any(
            network in peer.pod_cidrs
            and "vxlan" not in self.views[name].links.get(route.get("device", ""), {})
            and route.get("gateway") in there.devices
            for network, route in self.views[name].routes
        )

    # --- the way to a peer -----------------------------------------------------------------------

    def _towards(self, view: View, peer: Node, link: Optional[Seen], renewed: set[str]) -> Iterator[Operation]:
        """``renewed``: devices that are made anew, and have nothing."""
        for block in peer.pod_cidrs:
            if not self.ways or link is None or peer.name not in self.vteps:
                gateway = peer.address(block.version)
                if gateway is not None and not self.vteps:
                    yield from _route(view, Route(block, gateway.ip, None, protocol=_protocol(view)), renewed)
                continue
            name = link["name"]
            gateways = [ip for ip in self._ips(peer.name) if ip_address(ip).version == block.version]
            if not gateways:
                continue
            gateway_ip, mac = ip_address(gateways[0]), MacAddress.parse(self.mac(peer.name))
            if self.neighbours:
                entry = {} if renewed else view.neighbours.get((name, gateways[0]), {})
                right = Neighbour(name, gateway_ip, mac)
                if entry.get("state") != "permanent":
                    yield Operation(ADD, right)
                elif entry["mac"] != str(mac):
                    yield Operation(CHANGE, right, right._replace(mac=MacAddress.parse(entry["mac"])))
            for each in [mac] if self.fdb else [MacAddress.parse(FLOOD)] if self.flood else []:
                rows = [] if renewed else [row for row in view.fdb.get((name, str(each)), ()) if _is_kept(row)]
                yield from self._entry(name, each, peer, [row["destination"] for row in rows])
            yield from _route(view, Route(block, gateway_ip, name, self.onlink, protocol=_protocol(view)), renewed)

    def _entry(self, device: str, mac: MacAddress, peer: Node, to: List[str]) -> Iterator[Operation]:
        """An FDB entry towards a peer. Where packets are flooded the device has one for every peer."""
        vtep = self.vteps[peer.name]["vxlan"]["local"]
        right = [vtep] if vtep in self.views[peer.name].devices else []
        right += [str(ip) for ip in peer.public_ips if ip.version == ip_address(vtep or "0.0.0.0").version]
        if not right or set(right) & set(to):
            return
        wanted = FdbEntry(device, mac, ip_address(right[0]))
        known = {ip for view in self.views.values() for ip in view.devices}
        wrong = [ip for ip in to if str(mac) != FLOOD or ip not in known]
        yield Operation(CHANGE if wrong else ADD, wanted,
                        wanted._replace(destination=ip_address(wrong[0])) if wrong else None)  # fmt: skip


_SETTINGS = ("vni", "port", "device", "learning")


def forwarding(sysctls: Mapping[str, str]) -> Iterator[Operation]:
    """A node with pods forwards."""
    if sysctls.get("net/ipv4/ip_forward") == "0":
        yield Operation(CHANGE, Sysctl("net/ipv4/ip_forward", "1"), Sysctl("net/ipv4/ip_forward", "0"))


def _most(values: Iterable[Any]) -> Any:
    counted = Counter(values).most_common(1)
    return counted[0][0] if counted else None


def _is_kept(row: Seen) -> bool:
    """Whether somebody wrote an FDB entry: what a device learns is not permanent."""
    return bool(row.get("permanent")) and "destination" in row


def _link(link: Seen) -> Link:
    has = link["vxlan"]
    vxlan = Vxlan(has["vni"], has["port"], ip_address(has["local"] or "0.0.0.0"), has["device"],
                  has["learning"], has["df"])  # fmt: skip
    return Link(
        link["name"], "vxlan", mtu=link["mtu"], mac=MacAddress.parse(link["mac"]), up=link["up"], settings=vxlan
    )


def _protocol(view: View) -> int:
    """As the node's other routes to peers have it."""
    found = _most(route["protocol"] for network, route in view.routes if network.prefixlen and route.get("gateway"))
    return int(found or 3)


def _route(view: View, wanted: Route, renewed: set[str]) -> Iterator[Operation]:
    """``renewed``: devices whose routes are gone with them."""
    standing = [(network, each) for network, each in view.routes if each.get("device") not in renewed]
    found = [each for network, each in standing if network == wanted.destination]
    if any(each.get("gateway") == str(wanted.gateway) and wanted.device in (None, each.get("device"))
           for each in found):  # fmt: skip
        return
    if any(network.version == wanted.destination.version and network.prefixlen
           and wanted.destination != network and wanted.destination.subnet_of(network)  # type: ignore[arg-type]
           and each.get("gateway") for network, each in standing):  # fmt: skip
        return  # a wider route of somebody's covers it
    yield Operation(ADD, wanted)
