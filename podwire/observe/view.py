"""A network namespace's tables by what they are looked up with."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Dict, List, Optional, Tuple, Union

from ..model.objects import MAIN_TABLE, IPNetwork
from .records import FdbRow, Hop, LinkRow, NamespaceRows, NeighbourRow, NextHopRow, RouteRow


class View:
    """Links by name, addresses' devices and lengths, neighbours and FDB entries by device, routes of the main table."""

    def __init__(self, namespace: NamespaceRows) -> None:
        self.links: Dict[str, LinkRow] = {link["name"]: link for link in namespace["links"]}
        self.devices: Dict[str, str] = {address["address"]: address["device"] for address in namespace["addresses"]}
        self.lengths: Dict[str, int] = {address["address"]: address["prefix"] for address in namespace["addresses"]}
        self.neighbours: Dict[Tuple[str, str], NeighbourRow] = {
            (neighbour["device"], neighbour["address"]): neighbour for neighbour in namespace["neighbours"]
        }
        self.next_hops: Dict[int, NextHopRow] = {next_hop["id"]: next_hop for next_hop in namespace["next_hops"]}
        self.fdb: Dict[Tuple[str, str], List[FdbRow]] = {}
        for entry in namespace["fdb"]:
            self.fdb.setdefault((entry["device"], entry["mac"]), []).append(entry)
        #: Bridge -> its ports that pass nothing to each other (br_skb_isolated).
        self.isolated: Dict[str, List[str]] = {}
        for link in namespace["links"]:
            if link.get("port", {}).get("isolated"):
                self.isolated.setdefault(link.get("master", ""), []).append(link["name"])
        self.routes: List[Tuple[IPNetwork, RouteRow]] = [
            (ip_network(route["destination"]), route) for route in namespace["routes"] if route["table"] == MAIN_TABLE
        ]

    def vteps(self) -> List[LinkRow]:
        """The VXLAN devices."""
        return [link for link in self.links.values() if "vxlan" in link]

    def veth_ends(self) -> Dict[Tuple[Optional[int], object], LinkRow]:
        """(number of another namespace, ifindex in it) -> what a device there is the peer of."""
        return {
            (link["link_netnsid"], link["link"]): link
            for link in self.links.values()
            if "link_netnsid" in link and "link" in link
        }

    def hop(self, route: RouteRow) -> Hop:
        """Where a route leads next: its own device and gateway, or its next-hop object's."""
        source: Union[RouteRow, NextHopRow] = self.next_hops.get(route.get("next_hop", 0), route)
        hop: Hop = {}
        if "device" in source:
            hop["device"] = source["device"]
        if "gateway" in source:
            hop["gateway"] = source["gateway"]
        return hop
