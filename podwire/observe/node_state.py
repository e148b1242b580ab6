"""What a node has compared with intent: its backend's objects and its leases. Runs inside the node."""

from __future__ import annotations

from typing import Any, FrozenSet, List, Optional, Tuple, TypedDict

from ..errors import IpamError
from ..intent.cluster import Cluster
from ..intent.projection import desired, scope
from ..ipam.store import DATA_DIR, Store
from ..kernel import Namespace, show
from ..model.objects import KINDS, FdbEntry, Link, Neighbour, Object, Route
from ..model.state import State

#: Of a device: compared in other ways, or only for making it.
_UNCOMPARED = ("name", "peer", "master", "settings")
#: Objects that are as desired are listed up to so many a node; those that are not, always.
LISTED = 2000
#: Class of the model -> word. What is not here (sysctls, rules, files) is named by its class.
_KINDS = {"FdbEntry": "fdb"}

#: kind, device, towards (address or prefix), object as text, whether it is desired (None where no intent is known),
#: whether the node has it.
Row = Tuple[str, str, str, str, Optional[bool], bool]
#: Address, container id, interface, pod; without a running pod it is leaked.
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
    rows = compare(wanted, State._make(ours | others for ours, others in zip(shown.state, shown.foreign)))
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
        rows += _differences(getattr(wanted, name), getattr(current, name))
    return rows


def _differences(wanted: FrozenSet[Any], current: FrozenSet[Any]) -> List[Row]:
    """Of one kind, sorted. The row of a desired object has what the node has in its place."""
    instead = {item.identity(): item for item in current - wanted}
    rows = [_row(item, True, True) for item in wanted & current]
    for item in wanted - current:
        other = instead.pop(item.identity(), None)
        rows.append(_row(item, True, False, "" if other is None else f" (found: {other})"))
    return sorted(rows + [_row(item, False, True) for item in instead.values()])


def _links(wanted: FrozenSet[Link], current: FrozenSet[Link]) -> List[Row]:
    """Devices by name: the row of one that differs has in what."""
    by_name = {link.name: link for link in current}
    rows: List[Row] = []
    for link in sorted(wanted):
        existing = by_name.pop(link.name, None)
        different = [] if existing is None else _link_differences(link, existing)
        note = f" ({'; '.join(different)})" if different else ""
        rows.append(_row(link, True, existing is not None and not different, note))
    return rows + [_row(link, False, True) for link in by_name.values() if link.kind]


def _link_differences(wanted: Link, current: Link) -> List[str]:
    """Attributes that are declared and differ, each as ``expected mtu 1450, found 1400``."""
    pairs: List[Tuple[str, object, object]] = [
        (name, new, old) for name, new, old in zip(Link._fields, wanted, current) if name not in _UNCOMPARED
    ]
    if wanted.kind != "":
        pairs.append(("master", wanted.master or "none", current.master or "none"))
    settings: Any = wanted.settings
    if settings and current.settings:
        pairs += list(zip(settings._fields, settings, current.settings))
    return [f"expected {_attribute(name, new)}, found {_attribute(name, old)}"
            for name, new, old in pairs if new is not None and new != old]  # fmt: skip


def _attribute(name: str, value: object) -> str:
    if name == "up":
        return "up" if value else "down"
    return f"{name} {('off', 'on')[value]}" if isinstance(value, bool) else f"{name} {value}"


def _row(target: Object, wanted: bool, exists: bool, note: str = "") -> Row:
    """``note``: what the node has instead."""
    kind = KINDS[State._fields.index(target.field())].__name__
    device = target.name if isinstance(target, Link) else getattr(target, "device", None)
    return _KINDS.get(kind, kind.lower()), device or "", _towards(target), f"{target}{note}", wanted, exists


def _towards(target: Object) -> str:
    if isinstance(target, (Route, FdbEntry)):
        return str(target.destination)
    return str(target.address) if isinstance(target, Neighbour) else ""


def _reservations(network: str) -> List[LeaseRow]:
    from ..sandbox import sandboxes

    pods = {sandbox.container_id: name for name, sandbox in sandboxes.running().items()}
    try:
        with Store(DATA_DIR, network, read_only=True) as store:
            leases = store.leases()
    except IpamError:
        return []
    ordered = sorted(leases.items(), key=lambda lease: (lease[0].version, int(lease[0])))
    return [(str(ip), claim.container_id, claim.ifname, pods.get(claim.container_id, "")) for ip, claim in ordered]
