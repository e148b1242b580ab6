"""Kernel objects of nodes without declared intent, from their snapshots. Pure."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, Tuple

#: As ``node_state.Row``; desired is None, because there is no intent.
Row = Tuple[str, str, str, str, None, bool]


def network(snapshot: Mapping[str, Any]) -> Dict[str, Any]:
    """The part of a snapshot that a report shows, in the format of ``node_state.describe``."""
    namespace = snapshot["namespace"]
    rows: List[Row] = [*_devices(namespace), *_routes(namespace), *_neighbours(namespace), *_fdb(namespace)]
    return {"objects": rows, "unlisted": 0, "reservations": list(_reservations(snapshot))}


def _devices(namespace: Mapping[str, Any]) -> Iterator[Row]:
    for link in namespace["links"]:
        if link.get("kind") in ("bridge", "vxlan"):
            words = [f"link {link['name']} {link['kind']} mtu {link['mtu']} mac {link['mac']}"]
            vxlan = link.get("vxlan")
            if vxlan:
                words.append(f"vni {vxlan['vni']} port {vxlan['port']} local {vxlan.get('local', '')}")
            yield "link", link["name"], "", " ".join([*words, "up" if link["up"] else "down"]), None, True


def _routes(namespace: Mapping[str, Any]) -> Iterator[Row]:
    hops = {next_hop["id"]: next_hop for next_hop in namespace.get("next_hops", ())}
    for route in namespace["routes"]:
        if route.get("kind", "unicast") in ("local", "broadcast", "multicast", "anycast"):
            continue
        hop = hops.get(route.get("next_hop"), route)
        device = hop.get("device", "")
        words = [f"route {route['destination']}"]
        words += [f"{word} {hop[key]}" for word, key in (("via", "gateway"), ("dev", "device")) if hop.get(key)]
        yield "route", device, route["destination"], " ".join(words), None, True


def _neighbours(namespace: Mapping[str, Any]) -> Iterator[Row]:
    for neighbour in namespace["neighbours"]:
        if neighbour.get("state") == "permanent" and "mac" in neighbour:
            text = f"neighbour {neighbour['address']} lladdr {neighbour['mac']} dev {neighbour['device']} permanent"
            yield "neighbour", neighbour["device"], neighbour["address"], text, None, True


def _fdb(namespace: Mapping[str, Any]) -> Iterator[Row]:
    for entry in namespace["fdb"]:
        if "destination" in entry:
            text = f"fdb {entry['mac']} dst {entry['destination']} dev {entry['device']}"
            yield "fdb", entry["device"], entry["destination"], text, None, True


def _reservations(snapshot: Mapping[str, Any]) -> Iterator[Tuple[str, str, str, str]]:
    """As in ``node_state.describe``: address, container id, interface, sandbox."""
    running = {
        sandbox["container"]: name for name, sandbox in snapshot["sandboxes"].items() if sandbox.get("container")
    }
    for leases in snapshot.get("reservations", {}).values():
        for address, (container, interface) in leases.items():
            yield address, container, interface, running.get(container, "")
