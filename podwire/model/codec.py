"""Objects and States as JSON: ``{"Route": [...]}``, fields in the order of the class. Fault journals hold these."""

from __future__ import annotations

import ipaddress
from typing import Any, Callable, Dict, List

from .objects import (
    Address,
    FdbEntry,
    File,
    Link,
    MacAddress,
    NatRule,
    Neighbour,
    NextHop,
    Object,
    PortVlans,
    Route,
    Sysctl,
    VethPeer,
    Vxlan,
)
from .state import EMPTY, State

_CLASSES = (
    Address, FdbEntry, File, Link, NatRule, Neighbour, NextHop, PortVlans, Route, Sysctl, VethPeer, Vxlan
)  # fmt: skip
_TUPLES: Dict[str, Any] = {kind.__name__: kind for kind in _CLASSES}
_TEXTS: Dict[str, Callable[[str], Any]] = {
    name: getattr(ipaddress, name)
    for name in (f"IPv{version}{kind}" for version in (4, 6) for kind in ("Address", "Interface", "Network"))
}
_TEXTS["MacAddress"] = MacAddress.parse

#: An object's: one key, the name of its class.
ObjectJson = Dict[str, List[Any]]


def state_to_json(state: State) -> Dict[str, List[Any]]:
    """The fields that are not empty."""
    return {
        name: [_encode(value) for value in sorted(field, key=str)]
        for name, field in zip(State._fields, state) if field
    }  # fmt: skip


def state_from_json(data: Dict[str, List[Any]]) -> State:
    """Read what ``state_to_json`` gave."""
    return EMPTY._replace(**{name: frozenset(map(_decode, values)) for name, values in data.items()})


def object_to_json(value: Object) -> ObjectJson:
    """One object of a State."""
    data: ObjectJson = _encode(value)
    return data


def object_from_json(data: ObjectJson) -> Object:
    """Read what ``object_to_json`` gave."""
    value: Object = _decode(data)
    return value


def _encode(value: Any) -> Any:
    name = type(value).__name__
    if name in _TUPLES or type(value) is tuple:
        values = [_encode(item) for item in value]
        return {name: values} if name in _TUPLES else values
    return {name: str(value)} if name in _TEXTS else value


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_decode, value))
    if not isinstance(value, dict):
        return value
    ((name, inner),) = value.items()
    return _TUPLES[name](*map(_decode, inner)) if name in _TUPLES else _TEXTS[name](inner)
