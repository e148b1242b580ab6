"""States as JSON: ``{"routes": [{"Route": [...]}]}``, fields in the order of the class.

Fault journals of earlier versions are read by it, so neither names of classes nor the order of their fields may change;
new fields come last, with a default.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Callable, Dict, List

from .devices.table import DEVICES
from .objects import KINDS, Chain, MacAddress, VethPeer
from .state import EMPTY, State

_TEXTS: Dict[str, Callable[[str], Any]] = {
    name: getattr(ipaddress, name)
    for name in (f"IPv{version}{kind}" for version in (4, 6) for kind in ("Address", "Interface", "Network"))
}
_TEXTS["MacAddress"] = MacAddress.parse
_TEXTS["bytes"] = bytes.fromhex


def state_to_json(state: State) -> Dict[str, List[Any]]:
    """The fields that are not empty."""
    return {
        name: [_encode(held) for held in sorted(field, key=str)] for name, field in zip(State._fields, state) if field
    }


def state_from_json(data: Dict[str, List[Any]]) -> State:
    """Read what ``state_to_json`` gave."""
    classes = _classes()
    return EMPTY._replace(
        **{name: frozenset(_decode(value, classes) for value in values) for name, values in data.items()}
    )


def _classes() -> Dict[str, Any]:
    """The named tuples that objects are made of, by name."""
    settings = [module.KIND.settings for module in DEVICES.values()]
    return {made.__name__: made for made in (*KINDS, Chain, VethPeer, *settings) if made is not None}


def _encode(value: Any) -> Any:
    if isinstance(value, tuple):
        values = [_encode(part) for part in value]
        return {_class_name(value): values} if hasattr(value, "_fields") else values
    if type(value) is bytes:
        return {"bytes": value.hex()}
    name = type(value).__name__
    return {name: str(value)} if name in _TEXTS else value


def _class_name(value: Any) -> str:
    """That of the model: what the kernel shows may be of a subclass that knows more (a rule's handle)."""
    return next(made.__name__ for made in type(value).__mro__ if made.__name__ in _classes())


def _decode(value: Any, classes: Dict[str, Any]) -> Any:
    if isinstance(value, list):
        return tuple(_decode(part, classes) for part in value)
    if not isinstance(value, dict):
        return value
    ((name, inner),) = value.items()
    return classes[name](*_decode(inner, classes)) if name in classes else _TEXTS[name](inner)
