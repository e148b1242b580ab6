"""Objects and States as JSON: ``{"routes": [{"Route": [...]}]}``, fields in the order of the class.

Fault journals of earlier versions are read by it, so neither names of classes nor the order of their fields may change;
new fields come last, with a default.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Callable, Dict, List, Mapping

from .devices.table import DEVICES
from .objects import KINDS, Chain, MacAddress, Object, VethPeer
from .state import EMPTY, State

_TEXTS: Dict[str, Callable[[str], Any]] = {
    name: getattr(ipaddress, name)
    for name in (f"IPv{version}{kind}" for version in (4, 6) for kind in ("Address", "Interface", "Network"))
}
_TEXTS["MacAddress"] = MacAddress.parse
_TEXTS["bytes"] = bytes.fromhex

#: An object's: one key, the name of its class.
ObjectJson = Dict[str, List[Any]]


def state_to_json(state: State) -> Dict[str, List[Any]]:
    """The fields that are not empty."""
    classes = _classes()
    return {
        name: [_encode(value, classes) for value in sorted(field, key=str)]
        for name, field in zip(State._fields, state) if field
    }  # fmt: skip


def state_from_json(data: Dict[str, List[Any]]) -> State:
    """Read what ``state_to_json`` gave."""
    classes = _classes()
    return EMPTY._replace(
        **{name: frozenset(_decode(value, classes) for value in values) for name, values in data.items()}
    )


def object_to_json(value: Object) -> ObjectJson:
    """One object of a State."""
    data: ObjectJson = _encode(value, _classes())
    return data


def object_from_json(data: ObjectJson) -> Object:
    """Read what ``object_to_json`` gave."""
    value: Object = _decode(data, _classes())
    return value


def _classes() -> Mapping[str, Any]:
    """The named tuples that objects are made of, by name."""
    settings = [module.KIND.settings for module in DEVICES.values()]
    return {made.__name__: made for made in (*KINDS, Chain, VethPeer, *settings) if made is not None}


def _encode(value: Any, classes: Mapping[str, Any]) -> Any:
    if isinstance(value, tuple):
        values = [_encode(item, classes) for item in value]
        # What the kernel shows may be of a subclass that knows more (a rule's handle).
        names = [made.__name__ for made in type(value).__mro__ if made.__name__ in classes]
        return {names[0]: values} if names else values
    name = type(value).__name__
    if name == "bytes":
        return {name: value.hex()}
    return {name: str(value)} if name in _TEXTS else value


def _decode(value: Any, classes: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return tuple(_decode(item, classes) for item in value)
    if not isinstance(value, dict):
        return value
    ((name, inner),) = value.items()
    return classes[name](*_decode(inner, classes)) if name in classes else _TEXTS[name](inner)
