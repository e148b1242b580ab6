"""Edits: what a fault changes on a node, as values.

Patch        objects of a namespace that go, and objects that come: the same values that intent is made of
SetResource  a resource (resource.py) gets a value: what a State cannot hold, such as an nftables table
Flush        a command without an inverse that makes the kernel forget what it learnt, so that a fault shows at once
"""

from __future__ import annotations

from typing import Any, Callable, List, NamedTuple, Sequence, Tuple, Union

from ..model.objects import Object
from .files import FileText
from .resource import Resource
from .resources import change

#: Lines of a description that are shown.
_MOST_LINES = 20


class Patch(NamedTuple):
    """``lost`` are objects that the kernel takes along by itself; they have to be gone as well."""

    place: str
    gone: Tuple[Object, ...] = ()
    new: Tuple[Object, ...] = ()
    lost: Tuple[Object, ...] = ()


class SetResource(NamedTuple):
    """A resource's new value; None for nothing there."""

    place: str
    resource: Resource
    value: Any


class Flush(NamedTuple):
    """A command run in a place after all edits. It may fail: there may be nothing to forget."""

    place: str
    command: Tuple[str, ...]


Edit = Union[Patch, SetResource, Flush]


def lines(edits: Sequence[Edit], now: Callable[[SetResource], Any]) -> List[str]:
    """Edits for people, one line an object, such as ``node: - fdb ...``; of very many only the first. ``now``: the
    value that a resource has before."""
    told: List[str] = []
    for edit in edits:
        if isinstance(edit, Patch):
            told += [f"{edit.place}: - {each}" for each in edit.gone]
            told += [f"{edit.place}: + {each}" for each in edit.new]
            told += [f"{edit.place}: - {each} (by the kernel)" for each in edit.lost]
        elif isinstance(edit, SetResource):
            before = now(edit) if isinstance(edit.resource, FileText) else None
            told.append(f"{edit.place}: ~ {change(edit.resource, before, edit.value)}")
    more = len(told) - _MOST_LINES
    return told if more <= 0 else [*told[:_MOST_LINES], f"and {more} more"]
