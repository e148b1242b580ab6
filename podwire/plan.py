"""plan(desired, current): the operations that lead from one State to the other. Pure.

``plan(s, s) == []``. What stands in ``current`` is owned (the scope it was shown with saw to that),
so what is not desired is removed. Order: first what must make way (a device that has to be made
anew, a twin under the same key), then additions and changes in dependency order, then the rest of
the removals backwards. Traffic that the plan does not concern is never interrupted: a route moves
to its new next hop by replacement before the old device goes.
"""

from __future__ import annotations

from .model.objects import Address, File, Link, Object, Route, Sysctl
from .model.state import State
from .startup_typing import TYPE_CHECKING, NamedTuple, defaultdict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from typing import Any, Callable

ADD = "add"
CHANGE = "change"
REMOVE = "remove"
#: Classes by name: a CNI plugin needs few of them, and making one takes it 15 us.
_CLASSES = (
    "Link",
    "Sysctl",
    "Address",
    "Neighbour",
    "FdbEntry",
    "PortVlans",
    "NextHop",
    "Route",
    "NatRule",
    "Rule",
    "IptablesRule",
    "File",
)
_FIELDS = dict(zip(_CLASSES, State._fields))
_ATTRIBUTES = ("mtu", "mac", "up", "hairpin", "isolated", "alias", "promisc", "allmulti", "tx_queue", "vlan_filtering")
_SIGNS = {ADD: "+", CHANGE: "~", REMOVE: "-"}


class Operation(NamedTuple):
    """One step. ``previous`` is what a change replaces."""

    action: str
    object: Object
    previous: Object | None = None

    def __str__(self) -> str:
        text = f"{_SIGNS[self.action]} {self.object}"
        if self.previous is None:
            return text
        if isinstance(self.object, Link) and isinstance(self.previous, Link):
            return text + ": " + ", ".join(link_differences(self.object, self.previous))
        if isinstance(self.object, File):
            return text
        return f"{text} (was: {self.previous})"


def plan(desired: State, current: State) -> list[Operation]:
    """The operations, in the order in which they have to be executed."""
    link_changes, renewed = _plan_links(desired.links, current.links)
    cleared = frozenset(op.object.name for op in renewed if isinstance(op.object, Link))
    left = _without_devices(current, cleared) if cleared else current
    undesired = _undesired_links(desired.links, current.links)
    going = _standing_on(left, frozenset(link.name for link in undesired)) if undesired else frozenset()

    blocking = _in_the_way(desired, left)
    left = left._replace(addresses=left.addresses - blocking)
    first: list[Operation] = [*renewed, *(Operation(REMOVE, each) for each in _ordered(blocking))]
    middle: list[Operation] = []
    last: list[Operation] = []
    for index, name in enumerate(State._fields):
        if name == "links":
            middle += link_changes
            last += [Operation(REMOVE, link) for link in undesired]
            continue
        clearing, making, removing = _plan_field(name, desired[index], left[index])
        first += clearing
        middle += making
        last += [operation for operation in removing if operation.object not in going]
    return first + middle + last[::-1]


def fields_of(operations: Iterable[Operation]) -> frozenset[str]:
    """The names of State's fields that operations touch."""
    return frozenset(_FIELDS[kind_of(operation.object)] for operation in operations)


def kind_of(each: Object) -> str:
    """Its class of the model; what the kernel shows may be a subclass that knows more (a rule's handle)."""
    kind = type(each)
    return kind.__name__ if kind.__name__ in _FIELDS else kind.__mro__[1].__name__


def link_recreation(desired: Link, current: Link) -> str:
    """Why an existing device cannot become the desired one, as a clause; empty if it can."""
    if desired.kind != current.kind:
        return f"kind {current.kind} instead of {desired.kind}"
    if desired.vxlan and current.vxlan and desired.vxlan != current.vxlan:
        pairs = zip(desired.vxlan._fields, desired.vxlan, current.vxlan)
        return ", ".join(f"{name} {old} instead of {new}" for name, new, old in pairs if new != old)
    return ""


def link_differences(desired: Link, current: Link) -> list[str]:
    """What has to change on a device that can stay, each as ``mtu 1400 -> 1450``."""
    found = []
    for name in _ATTRIBUTES:
        new, old = getattr(desired, name), getattr(current, name)
        if new is not None and new != old:
            found.append(f"{name} {old} -> {new}")
    if desired.kind != "" and desired.master != current.master:
        found.append(f"master {current.master} -> {desired.master}")
    return found


def _plan_links(desired: frozenset[Link], current: frozenset[Link]) -> tuple[list[Operation], list[Operation]]:
    """(additions and changes, removals of devices that come back different)."""
    existing = {link.name: link for link in current}
    changes: list[Operation] = []
    renewed: list[Operation] = []
    for link in sorted(desired, key=_link_rank):
        old = existing.get(link.name)
        if old is not None and link_recreation(link, old):
            renewed.append(Operation(REMOVE, old))
            old = None
        if old is None:
            changes.append(Operation(ADD, link))
        elif link_differences(link, old):
            changes.append(Operation(CHANGE, link, old))
    return changes, renewed


def _undesired_links(desired: frozenset[Link], current: frozenset[Link]) -> list[Link]:
    wanted = {link.name for link in desired}
    return sorted((link for link in current if link.name not in wanted), key=_link_rank)


def _link_rank(link: Link) -> tuple[int, str]:
    """A device comes after its master, its parent and the end of the veth pair that makes it."""
    return link_stage(link), link.name


def link_stage(link: Link) -> int:
    """0 for devices that need no other, 1 for those on top of another, 2 for veth ends made elsewhere."""
    if link.kind == "veth" and link.peer is None:
        return 2
    return 1 if link.master or link.vxlan or link.peer else 0


def _standing_on(state: State, devices: frozenset[str]) -> frozenset[Object]:
    """What the kernel takes along when devices go."""
    hops = {hop.id for hop in state.next_hops if hop.device in devices}
    found: set[Object] = {sysctl for sysctl in state.sysctls if _sysctl_device(sysctl) in devices}
    found |= {route for route in state.routes if route.device in devices or route.next_hop in hops}
    for field in (state.addresses, state.neighbours, state.fdb, state.vlans, state.next_hops):
        found |= {each for each in field if each.device in devices}
    return frozenset(found)


def _in_the_way(desired: State, current: State) -> frozenset[Address]:
    """Undesired addresses that have to go first, as when two nodes change their podCIDRs for each other's:
    the kernel takes no gateway that is its own address, and no second route beside an address's own."""
    surplus = current.addresses - desired.addresses
    if not surplus:
        return frozenset()
    gateways = {each.gateway for field in (desired.routes, desired.next_hops) for each in field}
    destinations = {route.destination for route in desired.routes}
    return frozenset(
        each for each in surplus if each.interface.ip in gateways or each.interface.network in destinations
    )


def _without_devices(state: State, devices: frozenset[str]) -> State:
    lost = _standing_on(state, devices)
    return State._make(field - lost for field in state)


def _sysctl_device(sysctl: Sysctl) -> str:
    """The device of a key such as net/ipv4/conf/eth0/rp_filter, else ""; a new device starts from defaults."""
    parts = sysctl.key.split("/")
    return parts[3] if len(parts) == 5 and parts[2] in ("conf", "neigh") else ""


#: The part of an object under which the kernel holds one of its kind. Only these can change in place.
KEYS: dict[str, Callable[[Any], Any]] = {
    "sysctls": lambda each: each.key,
    "neighbours": lambda each: (each.device, each.address),
    "fdb": lambda each: (each.device, each.mac),
    "vlans": lambda each: each.device,
    "next_hops": lambda each: each.id,
    "routes": lambda each: (each.destination, each.table, each.metric),
    "files": lambda each: each.path,
    "addresses": lambda each: (each.device, each.interface),
    "nat_rules": lambda each: each,
    "rules": lambda each: each,
    "iptables": lambda each: each,
}
_CHANGE_IN_PLACE = ("Sysctl", "Neighbour", "FdbEntry", "PortVlans", "NextHop", "File")


def _plan_field(
    name: str, desired: frozenset[Any], current: frozenset[Any]
) -> tuple[list[Operation], list[Operation], list[Operation]]:
    """(twins to clear first, additions and changes, other removals) of one kind of object."""
    missing = desired - current
    surplus = current - desired
    if not missing and not surplus:
        return [], [], []
    if not surplus:
        return [], [Operation(ADD, each) for each in _ordered(missing)], []
    key = KEYS[name]
    twins: dict[Any, list[Any]] = defaultdict(list)
    for each in surplus:
        twins[key(each)].append(each)
    clearing: list[Operation] = []
    making: list[Operation] = []
    for each in _ordered(missing):
        old = twins.pop(key(each), [])
        if len(old) == 1 and _changes_in_place(each, old[0]):
            making.append(Operation(CHANGE, each, old[0]))
        else:
            clearing += [Operation(REMOVE, twin) for twin in _ordered(old)]
            making.append(Operation(ADD, each))
    others = [] if name == "sysctls" else [each for group in twins.values() for each in group]
    return clearing, making, [Operation(REMOVE, each) for each in _ordered(others)]


def _changes_in_place(each: Object, old: Object) -> bool:
    """Whether the kernel can replace ``old`` in one step.

    An IPv6 onlink route that moves to another device cannot: its gateway lies in its own prefix, so
    the old route resolves it, to the wrong device (ip6_route_check_nh_onlink).
    """
    if isinstance(each, Route) and isinstance(old, Route):
        return not (each.destination.version == 6 and each.onlink and each.device != old.device)
    return kind_of(each) in _CHANGE_IN_PLACE


def _ordered(objects: Collection[Any]) -> list[Any]:
    """Objects of one kind in a fixed order, so that one difference always gives one plan."""
    if len(objects) < 2:
        return list(objects)
    return sorted(objects, key=_ORDERS.get(kind_of(next(iter(objects))), str))


def _route_order(route: Route) -> Any:
    """Routes to a link come before those through a gateway, which may be reachable by nothing else."""
    destination = route.destination
    base = destination.network_address
    return route.gateway is not None, base.version, int(base), destination.prefixlen, route.metric


_ORDERS: dict[str, Callable[[Any], Any]] = {
    "Rule": lambda each: (str(each), each.comment, each.expressions),  # those of two attachments may read alike
    "IptablesRule": lambda each: (each.version, each.chain, each.order, each.words),
    "Route": _route_order,
    "Neighbour": lambda each: (each.device, each.address.version, int(each.address)),
    "FdbEntry": lambda each: (each.device, each.mac, int(each.destination)),
    "NextHop": lambda each: each.id,
    "Address": lambda each: (
        each.device,
        each.interface.version,
        int(each.interface.ip),
        each.interface.network.prefixlen,
    ),
}
