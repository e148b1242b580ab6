"""Objects of a State as JSON, for the journal: ``{"Route": [...]}``, fields in the order of the class."""

from __future__ import annotations

import ipaddress
from typing import Any, Callable, Dict, List

from ..model.objects import Address, FdbEntry, Link, MacAddress, Neighbour, NextHop, Route, Sysctl, VethPeer, Vxlan
from ..model.state import EMPTY, State

_TUPLES: Dict[str, Any] = {
    each.__name__: each for each in (Address, FdbEntry, Link, Neighbour, NextHop, Route, Sysctl, VethPeer, Vxlan)
}
_TEXTS: Dict[str, Callable[[str], Any]] = {
    name: getattr(ipaddress, name)
    for name in (f"IPv{version}{kind}" for version in (4, 6) for kind in ("Address", "Interface", "Network"))
}
_TEXTS["MacAddress"] = MacAddress.parse


def state_to_json(state: State) -> Dict[str, List[Any]]:
    """The fields that are not empty."""
    return {
        name: [_encode(each) for each in sorted(field, key=str)] for name, field in zip(State._fields, state) if field
    }


def state_from_json(data: Dict[str, List[Any]]) -> State:
    """Read what ``state_to_json`` gave."""
    return EMPTY._replace(**{name: frozenset(map(_decode, values)) for name, values in data.items()})


def _encode(value: Any) -> Any:
    name = type(value).__name__
    if name in _TUPLES:
        return {name: [_encode(each) for each in value]}
    return {name: str(value)} if name in _TEXTS else value


def _decode(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((name, inner),) = value.items()
    return _TUPLES[name](*map(_decode, inner)) if name in _TUPLES else _TEXTS[name](inner)
