"""What a node has, from its snapshot, where nobody knows what it should have: nodes that somebody else set up. Pure."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, Tuple

#: As ``seen.Row``; desired is None, as no intent says anything.
Row = Tuple[str, str, str, str, None, bool]


def network(snapshot: Mapping[str, Any]) -> Dict[str, Any]:
    """A snapshot's part that a report shows, in the shape of ``seen.describe``."""
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
        way = hops.get(route.get("next_hop"), route)
        device = way.get("device", "")
        words = [f"route {route['destination']}"]
        words += [f"{word} {way[key]}" for word, key in (("via", "gateway"), ("dev", "device")) if way.get(key)]
        yield "route", device, route["destination"], " ".join(words), None, True


def _neighbours(namespace: Mapping[str, Any]) -> Iterator[Row]:
    for neighbour in namespace["neighbours"]:
        if neighbour.get("state") == "permanent" and "mac" in neighbour:
            text = f"neighbour {neighbour['address']} lladdr {neighbour['mac']} dev {neighbour['device']} permanent"
            yield "neighbour", neighbour["device"], neighbour["address"], text, None, True


def _fdb(namespace: Mapping[str, Any]) -> Iterator[Row]:
    for each in namespace["fdb"]:
        if "destination" in each:
            text = f"fdb {each['mac']} dst {each['destination']} dev {each['device']}"
            yield "fdb", each["device"], each["destination"], text, None, True


def _reservations(snapshot: Mapping[str, Any]) -> Iterator[Tuple[str, str, str, str]]:
    """As ``seen.describe`` has them: address, container id, interface, sandbox."""
    alive = {each["container"]: name for name, each in snapshot["sandboxes"].items() if each.get("container")}
    for held in snapshot.get("reservations", {}).values():
        for address, (container, interface) in held.items():
            yield address, container, interface, alive.get(container, "")
