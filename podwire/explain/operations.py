"""Operations of a node's plan as evidence carries them, and typed by the kind of their object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Iterable, List, Optional, Type, TypedDict, TypeVar

from ..model.codec import ObjectJson, object_from_json, object_to_json
from ..model.command import Command
from ..model.objects import Address, FdbEntry, File, Link, Neighbour, NextHop, Object, Route, Sysctl
from ..plan import Operation
from .commands import FLOOD, commands

_T_co = TypeVar("_T_co", bound=Object, covariant=True)
_T = TypeVar("_T", bound=Object)


class OperationRow(TypedDict):
    """An operation as JSON. ``previous``: what a change replaces, None for an addition or a removal."""

    action: str
    object: ObjectJson
    previous: Optional[ObjectJson]


@dataclass(frozen=True)
class Change(Generic[_T_co]):
    """An operation on an object of one kind."""

    operation: Operation
    object: _T_co
    previous: Optional[_T_co]

    @property
    def action(self) -> str:
        """``plan.ADD``, ``plan.CHANGE`` or ``plan.REMOVE``."""
        return self.operation.action


def to_row(operation: Operation) -> OperationRow:
    """For evidence."""
    previous = None if operation.previous is None else object_to_json(operation.previous)
    return {"action": operation.action, "object": object_to_json(operation.object), "previous": previous}


def from_row(row: OperationRow) -> Operation:
    """Read what ``to_row`` gave."""
    previous = None if row["previous"] is None else object_from_json(row["previous"])
    return Operation(row["action"], object_from_json(row["object"]), previous)


def changes(plan: Iterable[Operation], kind: Type[_T]) -> List[Change[_T]]:
    """The operations on objects of one kind."""
    typed: List[Change[_T]] = []
    for operation in plan:
        target, previous = operation.object, operation.previous
        if isinstance(target, kind):
            typed.append(Change(operation, target, previous if isinstance(previous, kind) else None))
    return typed


def all_changes(plan: Iterable[Operation]) -> List[Change[Object]]:
    """The operations, whatever their objects are."""
    return [Change(operation, operation.object, operation.previous) for operation in plan]


def fix(steps: Iterable[Change[Object]]) -> List[Command]:
    """The commands that execute operations."""
    return [step for change in steps for step in commands(change.operation)]


def device_of(target: Object) -> str:
    """The device that an object is on, or that it is."""
    if isinstance(target, Link):
        return target.name
    return getattr(target, "device", None) or ""


def identity(target: Object) -> str:
    """What an object is called on its device: two operations on it have the same."""
    if isinstance(target, Route):
        return str(target.destination)
    if isinstance(target, Neighbour):
        return str(target.address)
    if isinstance(target, FdbEntry):
        return f"{target.mac} {target.destination}" if str(target.mac) == FLOOD else str(target.mac)
    if isinstance(target, Link):
        return target.name
    if isinstance(target, Address):
        return str(target.interface)
    if isinstance(target, Sysctl):
        return target.key
    if isinstance(target, File):
        return target.path
    return str(target.id) if isinstance(target, NextHop) else str(target)


def subject(target: Object) -> str:
    """An object as a cause names it."""
    if isinstance(target, FdbEntry):
        return f"fdb {target.mac} dev {target.device}"
    if isinstance(target, Neighbour):
        return f"neighbour {target.address} dev {target.device}"
    return f"{type(target).__name__.lower()} {identity(target)}"
