"""Patches on States: what they make of one, and whether one shows them. Pure."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from ..model.objects import Link, Object, Sysctl
from ..model.state import State
from .edit import Patch


def patched(state: State, patch: Patch) -> State:
    """A State less and plus a patch's objects; a device or sysctl takes the place of the one of its name."""
    fields: Dict[str, Dict[object, Any]] = {name: {} for name in State._fields}
    for item in state.objects():
        fields[item.field()][_key(item)] = item
    for item in patch.gone:
        fields[item.field()].pop(_key(item), None)
    for item in patch.new:
        fields[item.field()][_key(item)] = item
    return state._replace(**{name: frozenset(held.values()) for name, held in fields.items()})


def missing(patches: Sequence[Patch], shown: Mapping[str, State]) -> str:
    """What the namespaces do not show although the patches, one after the other, put it so; "" if they show all."""
    wanted: Dict[Tuple[str, object], Tuple[Object, bool]] = {}
    for patch in patches:
        wanted.update({(patch.place, _key(each)): (each, False) for each in patch.gone})
        wanted.update({(patch.place, _key(each)): (each, True) for each in patch.new})
        wanted.update({(patch.place, _key(each)): (each, False) for each in patch.lost})
    for (place, key), (each, there) in wanted.items():
        found = next((other for other in getattr(shown[place], each.field()) if _key(other) == key), None)
        if there != _is(each, found) and not (not there and found is None):
            return f"{each} in {place}" if there else f"{place} without {each}"
    return ""


def _is(each: Object, found: Optional[Object]) -> bool:
    if isinstance(each, Link) and isinstance(found, Link):
        return not each.recreation(found) and not each.differences(found)
    return each == found


def _key(each: Object) -> object:
    return (type(each), each[0]) if isinstance(each, (Link, Sysctl)) else each
