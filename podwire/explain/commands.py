"""What makes an object of the model so, as the commands that a person would type on the node. Pure."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

from ..model.command import Command, command, write_file
from ..model.objects import Address, FdbEntry, File, Link, Neighbour, NextHop, Route, Sysctl
from ..plan import ADD, REMOVE, Operation, kind_of

#: The MAC address of a VXLAN device's entries for whatever it has no other entry for.
FLOOD = "00:00:00:00:00:00"


def commands(operation: Operation) -> List[Command]:
    """The commands of one operation of a plan; none for what only podwire itself makes (its nftables rules)."""
    target, removed = operation.object, operation.action == REMOVE
    make = _MAKERS.get(kind_of(target))
    if isinstance(target, Link) and not removed:
        return _new_link(target) if operation.action == ADD else _changed_link(target, operation.previous)
    if isinstance(target, File) and not removed:
        return write_file(target.path, target.content, target.mode)
    if isinstance(target, FdbEntry) and str(target.mac) == FLOOD and operation.previous is not None:
        return [_fdb(target, False), _fdb(operation.previous, True)]  # type: ignore[arg-type]
    return [] if make is None else [make(target, removed)]


def _new_link(link: Link) -> List[Command]:
    if link.vxlan is None:
        return []
    v = link.vxlan
    words: List[object] = ["address", link.mac] if link.mac else []
    words += ["mtu", link.mtu] if link.mtu else []
    words += ["type", "vxlan", "id", v.vni, "dstport", v.port, "local", v.local]
    words += ["dev", v.device] if v.device else []
    words += ["learning" if v.learning else "nolearning", *(["df", "set"] if v.df else [])]
    steps = [command("ip link add {}", link.name, more=words)]
    if link.alias:
        steps.append(command("ip link set dev {} alias {}", link.name, link.alias))
    return [*steps, command("ip link set dev {} up", link.name)] if link.up else steps


def _changed_link(link: Link, old: Any) -> List[Command]:
    words: List[object] = []
    for key, word in (("mtu", "mtu"), ("mac", "address")):
        new = getattr(link, key)
        if new is not None and new != getattr(old, key):
            words += [word, new]
    if link.alias is not None and link.alias != old.alias:
        words += ["alias", link.alias]
    if link.up != old.up:
        words.append("up" if link.up else "down")
    return [command("ip link set dev {}", link.name, more=words)] if words else []


def _removed_link(link: Link, _: bool) -> Command:
    return command("ip link del {}", link.name)


def _sysctl(setting: Sysctl, _: bool) -> Command:
    return sysctl(setting.key, setting.value)


def sysctl(key: str, value: str) -> Command:
    """A sysctl's key is a path: device names may hold dots, which sysctl(8) takes for slashes otherwise."""
    return command("sysctl -q -w {}={}", key, value)


def _address(address: Address, removed: bool) -> Command:
    if removed:
        return command("ip addr del {} dev {}", address.interface, address.device)
    flags = [*(["nodad"] if address.nodad else []), *([] if address.prefix_route else ["noprefixroute"])]
    return command("ip addr replace {} dev {}", address.interface, address.device, more=flags)


def _neighbour(neighbour: Neighbour, removed: bool) -> Command:
    if removed:
        return command("ip neigh del {} dev {}", neighbour.address, neighbour.device)
    words = neighbour.address, neighbour.mac, neighbour.device
    return command("ip neigh replace {} lladdr {} dev {} nud permanent", *words)


def _fdb(fdb_entry: FdbEntry, removed: bool) -> Command:
    mac, device, destination = fdb_entry.mac, fdb_entry.device, fdb_entry.destination
    if removed:
        return command("bridge fdb del {} dev {} dst {} self", mac, device, destination)
    # Of all destinations that an entry floods to none is replaced (vxlan_fdb_update_existing).
    verb = "append" if str(mac) == FLOOD else "replace"
    return command("bridge fdb {} {} dev {} dst {} self permanent", verb, mac, device, destination)


def _next_hop(next_hop: NextHop, removed: bool) -> Command:
    if removed:
        return command("ip nexthop del id {}", next_hop.id)
    onlink = ["onlink"] if next_hop.onlink else []
    words = [*onlink, "proto", next_hop.protocol]
    return command("ip nexthop replace id {} via {} dev {}", next_hop.id, next_hop.gateway, next_hop.device, more=words)


def _route(route: Route, removed: bool) -> Command:
    words: List[object] = [route.kind] if route.kind != "unicast" else []
    words.append(route.destination)
    for word, value in (("via", route.gateway), ("dev", route.device), ("nhid", route.next_hop), ("src", route.source)):
        words += [word, value] if value is not None else []
    words += ["metric", route.metric] if route.metric else []
    words += ["onlink"] if route.onlink else []
    return command("ip route {}", "del" if removed else "replace", more=[*words, "proto", route.protocol])


def _removed_file(file: File, _: bool) -> Command:
    return command("rm {}", file.path)


_MAKERS: Dict[str, Callable[[Any, bool], Command]] = {
    "Link": _removed_link,
    "Sysctl": _sysctl,
    "Address": _address,
    "Neighbour": _neighbour,
    "FdbEntry": _fdb,
    "NextHop": _next_hop,
    "Route": _route,
    "File": _removed_file,
}
