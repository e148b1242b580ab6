"""What a node has against what intent asks of it: its backend's objects and its reservations. Runs inside the node."""

from __future__ import annotations

from typing import Any, Callable, FrozenSet, List, Tuple, TypedDict

from ..errors import IpamError
from ..intent.cluster import Cluster
from ..intent.projection import desired, scope
from ..ipam.store import DATA_DIR, Store
from ..kernel import Namespace, show
from ..model.objects import FdbEntry, Link, Neighbour, Object, Route
from ..model.state import State
from ..plan import KEYS, kind_of, link_differences, link_recreation

#: Objects that are as desired are listed up to so many a node; those that are not, always.
LISTED = 2000
#: Class of the model -> word. What is not here (sysctls, rules, files) is named by its class.
_KINDS = {"FdbEntry": "fdb"}

#: kind, device, towards (address or prefix), object in words, desired, seen.
Row = Tuple[str, str, str, str, bool, bool]
#: Address, container id, interface, pod; without a pod nobody alive holds it.
LeaseRow = Tuple[str, str, str, str]


class NodeState(TypedDict):
    """``unlisted``: how many objects that are as desired were left out."""

    objects: List[Row]
    unlisted: int
    reservations: List[LeaseRow]


def describe(cluster: Cluster, node: str) -> NodeState:
    """``{"objects": rows, "unlisted": count, "reservations": rows}`` of the node this process runs in. KernelError."""
    wanted = desired(cluster, node)
    with Namespace.current(node) as here:
        shown = show(here, scope(cluster, node, wanted))
    rows = compare(wanted, State._make(own | other for own, other in zip(shown.state, shown.foreign)))
    differing = [row for row in rows if row[4] != row[5]]
    same = [row for row in rows if row[4] == row[5]]
    return {
        "objects": differing + same[:LISTED],
        "unlisted": len(same[LISTED:]),
        "reservations": _reservations(cluster.cni.name),
    }


def compare(wanted: State, current: State) -> List[Row]:
    """Every object that one of both has, in dependency order. Pure."""
    rows = _links(wanted.links, current.links)
    for name in State._fields[1:]:
        rows += _differences(getattr(wanted, name), getattr(current, name), KEYS[name])
    return rows


def _differences(want: FrozenSet[Any], have: FrozenSet[Any], key: Callable[[Any], Any]) -> List[Row]:
    """Of one kind, sorted. What stands under the key of a desired object in its place is told with it."""
    instead = {key(each): each for each in have - want}
    rows = [_row(each, True, True) for each in want & have]
    for each in want - have:
        other = instead.pop(key(each), None)
        kind, device, towards, text, *seen = _row(each, True, False)
        rows.append((kind, device, towards, text if other is None else f"{text} (has: {other})", seen[0], seen[1]))
    return sorted(rows + [_row(each, False, True) for each in instead.values()])


def _links(wanted: FrozenSet[Link], current: FrozenSet[Link]) -> List[Row]:
    """Devices by name: one that differs is not as desired, and says in what."""
    have = {link.name: link for link in current}
    rows: List[Row] = []
    for link in sorted(wanted):
        there = have.pop(link.name, None)
        wrong = "" if there is None else link_recreation(link, there) or ", ".join(link_differences(link, there))
        text = f"{link} (has: {wrong})" if wrong else str(link)
        rows.append(("link", link.name, "", text, True, there is not None and not wrong))
    return rows + [_row(link, False, True) for link in have.values() if link.kind]


def _row(each: Object, wanted: bool, there: bool) -> Row:
    kind = kind_of(each)
    device = getattr(each, "name", None) if isinstance(each, Link) else getattr(each, "device", None)
    return _KINDS.get(kind, kind.lower()), device or "", _towards(each), str(each), wanted, there


def _towards(each: Object) -> str:
    if isinstance(each, (Route, FdbEntry)):
        return str(each.destination)
    return str(each.address) if isinstance(each, Neighbour) else ""


def _reservations(network: str) -> List[LeaseRow]:
    from ..sandbox import sandboxes

    alive = {each.container_id: name for name, each in sandboxes.running().items()}
    try:
        with Store(DATA_DIR, network, read_only=True) as store:
            leases = store.leases()
    except IpamError:
        return []
    ordered = sorted(leases.items(), key=lambda each: (each[0].version, int(each[0])))
    return [(str(ip), claim.container_id, claim.ifname, alive.get(claim.container_id, "")) for ip, claim in ordered]
