"""Kernel objects of nodes without declared intent, from their snapshots. Pure."""

from __future__ import annotations

from typing import Iterator, List

from ..observe.node_state import LeaseRow, NodeState, Row
from ..observe.records import NamespaceRows, Snapshot
from ..observe.view import View


def network(snapshot: Snapshot) -> NodeState:
    """The part of a snapshot that a report shows, in the format of ``node_state.describe``."""
    namespace = snapshot["namespace"]
    rows: List[Row] = [*_devices(namespace), *_routes(namespace), *_neighbours(namespace), *_fdb(namespace)]
    return {"objects": rows, "unlisted": 0, "reservations": list(_reservations(snapshot))}


def _devices(namespace: NamespaceRows) -> Iterator[Row]:
    for link in namespace["links"]:
        if link.get("kind") in ("bridge", "vxlan"):
            words = [f"link {link['name']} {link['kind']} mtu {link['mtu']} mac {link['mac']}"]
            vxlan = link.get("vxlan")
            if vxlan:
                words.append(f"vni {vxlan['vni']} port {vxlan['port']} local {vxlan.get('local', '')}")
            yield "link", link["name"], "", " ".join([*words, "up" if link["up"] else "down"]), None, True


def _routes(namespace: NamespaceRows) -> Iterator[Row]:
    view = View(namespace)
    for route in namespace["routes"]:
        if route["kind"] in ("local", "broadcast", "multicast", "anycast"):
            continue
        hop = view.hop(route)
        device, gateway = hop.get("device", ""), hop.get("gateway", "")
        words = [f"route {route['destination']}"]
        words += [f"{word} {value}" for word, value in (("via", gateway), ("dev", device)) if value]
        yield "route", device, route["destination"], " ".join(words), None, True


def _neighbours(namespace: NamespaceRows) -> Iterator[Row]:
    for neighbour in namespace["neighbours"]:
        if neighbour.get("state") == "permanent" and "mac" in neighbour:
            text = f"neighbour {neighbour['address']} lladdr {neighbour['mac']} dev {neighbour['device']} permanent"
            yield "neighbour", neighbour["device"], neighbour["address"], text, None, True


def _fdb(namespace: NamespaceRows) -> Iterator[Row]:
    for entry in namespace["fdb"]:
        if "destination" in entry:
            text = f"fdb {entry['mac']} dst {entry['destination']} dev {entry['device']}"
            yield "fdb", entry["device"], entry["destination"], text, None, True


def _reservations(snapshot: Snapshot) -> Iterator[LeaseRow]:
    """As in ``node_state.describe``: address, container id, interface, sandbox."""
    sandboxes = {sandbox["container"]: name for name, sandbox in snapshot["sandboxes"].items() if sandbox["container"]}
    for leases in snapshot["reservations"].values():
        for address, (container, interface) in leases.items():
            yield address, container, interface, sandboxes.get(container, "")
