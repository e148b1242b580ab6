"""What makes an object of the model so, as the commands that a person would type on the node. Pure."""

from __future__ import annotations

import shlex
from typing import Any, Callable, Dict, List

from ..model.objects import Address, FdbEntry, File, Link, Neighbour, NextHop, Route, Sysctl
from ..plan import ADD, REMOVE, Operation, kind_of

#: The MAC address of a VXLAN device's entries for whatever it has no other entry for.
FLOOD = "00:00:00:00:00:00"


def commands(operation: Operation) -> List[str]:
    """The commands of one operation of a plan; none for what only podwire itself makes (its nftables rules)."""
    each, removed = operation.object, operation.action == REMOVE
    make = _MAKERS.get(kind_of(each))
    if isinstance(each, Link) and not removed:
        return _new_link(each) if operation.action == ADD else _changed_link(each, operation.previous)
    if isinstance(each, FdbEntry) and str(each.mac) == FLOOD and operation.previous is not None:
        return [_fdb(each, False), _fdb(operation.previous, True)]  # type: ignore[arg-type]
    return [] if make is None else [make(each, removed)]


def within(netns: str, command: str) -> str:
    """The same in a pod's network namespace, whose path is ``netns``."""
    return f"nsenter --net={shlex.quote(netns)} {command}"


def written(path: str, content: str, mode: int = 0o644) -> str:
    """A file with a content."""
    lines = " ".join(shlex.quote(line) for line in content.splitlines())
    return f"printf '%s\\n' {lines} > {shlex.quote(path)} && chmod {mode:o} {shlex.quote(path)}"


def joined(steps: List[str]) -> str:
    """Commands one after the other, as long as they succeed."""
    return " && ".join(dict.fromkeys(steps))


def _new_link(link: Link) -> List[str]:
    if link.vxlan is None:
        return []
    v = link.vxlan
    words = ["ip link add", link.name]
    words += [f"address {link.mac}"] if link.mac else []
    words += [f"mtu {link.mtu}"] if link.mtu else []
    words += [f"type vxlan id {v.vni} dstport {v.port} local {v.local}"]
    words += [f"dev {v.device}"] if v.device else []
    words += ["learning" if v.learning else "nolearning", *(["df set"] if v.df else [])]
    steps = [" ".join(words)]
    if link.alias:
        steps.append(f"ip link set dev {link.name} alias {shlex.quote(link.alias)}")
    return [*steps, f"ip link set dev {link.name} up"] if link.up else steps


def _changed_link(link: Link, old: Any) -> List[str]:
    words = []
    for key, word in (("mtu", "mtu"), ("mac", "address")):
        new = getattr(link, key)
        if new is not None and new != getattr(old, key):
            words.append(f"{word} {new}")
    if link.alias is not None and link.alias != old.alias:
        words.append(f"alias {shlex.quote(link.alias)}")
    if link.up != old.up:
        words.append("up" if link.up else "down")
    return [f"ip link set dev {link.name} {' '.join(words)}"] if words else []


def _removed_link(link: Link, _: bool) -> str:
    return f"ip link del {link.name}"


def _sysctl(each: Sysctl, _: bool) -> str:
    return sysctl(each.key, each.value)


def sysctl(key: str, value: str) -> str:
    """A sysctl's key is a path: device names may hold dots, which sysctl(8) takes for slashes otherwise."""
    return f"sysctl -q -w {key}={value}"


def _address(address: Address, removed: bool) -> str:
    verb = "del" if removed else "replace"
    flags = "" if removed else (" nodad" if address.nodad else "") + ("" if address.prefix_route else " noprefixroute")
    return f"ip addr {verb} {address.interface} dev {address.device}{flags}"


def _neighbour(neighbour: Neighbour, removed: bool) -> str:
    if removed:
        return f"ip neigh del {neighbour.address} dev {neighbour.device}"
    return f"ip neigh replace {neighbour.address} lladdr {neighbour.mac} dev {neighbour.device} nud permanent"


def _fdb(fdb_entry: FdbEntry, removed: bool) -> str:
    if removed:
        return f"bridge fdb del {fdb_entry.mac} dev {fdb_entry.device} dst {fdb_entry.destination} self"
    # Of all destinations that an entry floods to none is replaced (vxlan_fdb_update_existing).
    verb = "append" if str(fdb_entry.mac) == FLOOD else "replace"
    return f"bridge fdb {verb} {fdb_entry.mac} dev {fdb_entry.device} dst {fdb_entry.destination} self permanent"


def _next_hop(next_hop: NextHop, removed: bool) -> str:
    if removed:
        return f"ip nexthop del id {next_hop.id}"
    onlink = " onlink" if next_hop.onlink else ""
    path = f"via {next_hop.gateway} dev {next_hop.device}{onlink}"
    return f"ip nexthop replace id {next_hop.id} {path} proto {next_hop.protocol}"


def _route(route: Route, removed: bool) -> str:
    words = ["ip route", "del" if removed else "replace"]
    words += [route.kind] if route.kind != "unicast" else []
    words.append(str(route.destination))
    for word, value in (("via", route.gateway), ("dev", route.device), ("nhid", route.next_hop), ("src", route.source)):
        words += [f"{word} {value}"] if value is not None else []
    words += [f"metric {route.metric}"] if route.metric else []
    words += ["onlink"] if route.onlink else []
    return " ".join([*words, f"proto {route.protocol}"])


def _file(file: File, removed: bool) -> str:
    return f"rm {shlex.quote(file.path)}" if removed else written(file.path, file.content, file.mode)


_MAKERS: Dict[str, Callable[[Any, bool], str]] = {
    "Link": _removed_link,
    "Sysctl": _sysctl,
    "Address": _address,
    "Neighbour": _neighbour,
    "FdbEntry": _fdb,
    "NextHop": _next_hop,
    "Route": _route,
    "File": _file,
}
