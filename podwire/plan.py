"""plan(desired, current): the operations that lead from one State to the other. Pure.

``plan(s, s) == []``. What stands in ``current`` is owned (the scope it was shown with saw to that),
so what is not desired is removed. Order: first what must be removed (a device that has to be made
anew, a twin under the same key), then additions and changes in dependency order, then the rest of
the removals backwards. Traffic that the plan does not concern is never interrupted: a route moves
to its new next hop by replacement before the old device goes.
"""

from __future__ import annotations

from .model.kind import ADD, CHANGE, REMOVE
from .model.state import State
from .startup_typing import TYPE_CHECKING, NamedTuple, defaultdict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from typing import Any

    from .model.objects import Address, Link, Object

__all__ = ["ADD", "CHANGE", "REMOVE", "Operation", "fields_of", "plan"]

_SIGNS = {ADD: "+", CHANGE: "~", REMOVE: "-"}


class Operation(NamedTuple):
    """One step. ``previous`` is what a change replaces."""

    action: str
    object: Object
    previous: Object | None = None

    def __str__(self) -> str:
        text = f"{_SIGNS[self.action]} {self.object}"
        previous: Any = self.previous
        return text if previous is None else text + self.object.compared(previous)


def plan(desired: State, current: State) -> list[Operation]:
    """The operations, in the order in which they have to be executed."""
    link_changes, renewed = _plan_links(desired.links, current.links)
    cleared = frozenset(link.name for link in renewed)
    remaining = _without_devices(current, cleared) if cleared else current
    undesired = _undesired_links(desired.links, current.links)
    going = _lost(remaining, frozenset(link.name for link in undesired)) if undesired else frozenset()

    blocking = _in_the_way(desired, remaining)
    remaining = remaining._replace(addresses=remaining.addresses - blocking)
    first = [Operation(REMOVE, held) for held in [*renewed, *_ordered(blocking)]]
    middle: list[Operation] = []
    last: list[Operation] = []
    for index, name in enumerate(State._fields):
        if name == "links":
            middle += link_changes
            last += [Operation(REMOVE, link) for link in undesired]
            continue
        clearing, making, removing = _plan_field(name, desired[index], remaining[index])
        first += clearing
        middle += making
        last += [operation for operation in removing if operation.object not in going]
    return first + middle + last[::-1]


def fields_of(operations: Iterable[Operation]) -> frozenset[str]:
    """The names of State's fields that operations touch."""
    return frozenset(operation.object.field() for operation in operations)


def _plan_links(desired: frozenset[Link], current: frozenset[Link]) -> tuple[list[Operation], list[Link]]:
    """(additions and changes, devices that have to go and come back different)."""
    existing = {link.name: link for link in current}
    changes: list[Operation] = []
    renewed: list[Link] = []
    for link in _ordered(desired):
        old = existing.get(link.name)
        if old is not None and not link.changes_in_place(old):
            renewed.append(old)
            old = None
        if old is None:
            changes.append(Operation(ADD, link))
        elif link.differences(old):
            changes.append(Operation(CHANGE, link, old))
    return changes, renewed


def _undesired_links(desired: frozenset[Link], current: frozenset[Link]) -> list[Link]:
    wanted = {link.name for link in desired}
    return _ordered([link for link in current if link.name not in wanted])


def _lost(state: State, devices: frozenset[str]) -> frozenset[Object]:
    """What the kernel takes along when devices go."""
    hops = frozenset(hop.id for hop in state.next_hops if hop.device in devices)
    return frozenset(held for held in state.objects() if held.goes_with(devices, hops))


def _in_the_way(desired: State, current: State) -> frozenset[Address]:
    """Undesired addresses that have to go first, as when two nodes change their podCIDRs for each other's:
    the kernel takes no gateway that is its own address, and no second route beside an address's own."""
    surplus = current.addresses - desired.addresses
    if not surplus:
        return frozenset()
    gateways = {hop.gateway for hop in desired.routes} | {hop.gateway for hop in desired.next_hops}
    destinations = {route.destination for route in desired.routes}
    return frozenset(
        address for address in surplus if address.interface.ip in gateways or address.interface.network in destinations
    )


def _without_devices(state: State, devices: frozenset[str]) -> State:
    lost = _lost(state, devices)
    return State._make(field - lost for field in state)


def _plan_field(
    name: str, desired: frozenset[Any], current: frozenset[Any]
) -> tuple[list[Operation], list[Operation], list[Operation]]:
    """(twins to clear first, additions and changes, other removals) of one kind of object."""
    missing = desired - current
    surplus = current - desired
    if not missing and not surplus:
        return [], [], []
    if not surplus:
        return [], [Operation(ADD, wanted) for wanted in _ordered(missing)], []
    twins: dict[Any, list[Any]] = defaultdict(list)
    for held in surplus:
        twins[held.identity()].append(held)
    clearing: list[Operation] = []
    making: list[Operation] = []
    for wanted in _ordered(missing):
        old = twins.pop(wanted.identity(), [])
        if len(old) == 1 and wanted.changes_in_place(old[0]):
            making.append(Operation(CHANGE, wanted, old[0]))
        else:
            clearing += [Operation(REMOVE, twin) for twin in _ordered(old)]
            making.append(Operation(ADD, wanted))
    others = [] if name == "sysctls" else [held for group in twins.values() for held in group]
    return clearing, making, [Operation(REMOVE, held) for held in _ordered(others)]


def _ordered(objects: Collection[Any]) -> list[Any]:
    """Objects of one kind in a fixed order, so that one difference always gives one plan."""
    if len(objects) < 2:
        return list(objects)
    return sorted(objects, key=type(next(iter(objects))).rank)
