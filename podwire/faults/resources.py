"""All kinds of resources: by their names in journals, compared, and described."""

from __future__ import annotations

from difflib import ndiff
from typing import Any, Dict, List, Sequence

from .files import FileText, Plugin
from .kernel_resources import FdbPin, NftTable, PolicyRule, PortFlag, Qdisc
from .processes import PodServer, StrayProcess
from .resource import Resource

#: By their names in journals, which stay whatever the classes are called.
_KINDS: Dict[str, Any] = {
    "FileText": FileText,
    "Plugin": Plugin,
    "NftTable": NftTable,
    "PolicyRule": PolicyRule,
    "PortFlag": PortFlag,
    "FdbPin": FdbPin,
    "Qdisc": Qdisc,
    "Ghost": StrayProcess,
    "PodServer": PodServer,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
#: Changed lines of a file that are shown.
_MOST_LINES = 2


def change(resource: Resource, before: Any, value: Any) -> str:
    """A resource that gets another value, for people; of a file the lines that differ, as far as they are few."""
    if not isinstance(resource, FileText) or value is None:
        return resource.describe(value)
    if before is None:
        return f"{resource}: new, {len(value['text'])} bytes"
    if before["text"] == value["text"]:
        return f"{resource}: mode {value['mode']:04o}"
    marks = ndiff(before["text"].splitlines(), value["text"].splitlines())
    lines = [f"{line[0]} {line[2:].strip()}" for line in marks if line[0] in "+-"]
    more = [f"and {len(lines) - _MOST_LINES} more lines"] if len(lines) > _MOST_LINES else []
    return f"{resource}: " + "; ".join(lines[:_MOST_LINES] + more)


def of_kernel(resource: Resource) -> bool:
    """Whether a resource goes with its network namespace; the others are the node's files and processes."""
    return isinstance(resource, (NftTable, PolicyRule, PortFlag, FdbPin, Qdisc))


def same(resource: Resource, one: Any, other: Any) -> bool:
    """Whether two values are equal. What the kernel prints of a table or a qdisc is not what was written."""
    if isinstance(resource, (NftTable, Qdisc)):
        return (one is None) == (other is None)
    return bool(one == other)


def to_json(resource: Any) -> List[Any]:
    """A resource as plain JSON."""
    return [_NAMES[type(resource)], *resource]


def from_json(data: Sequence[Any]) -> Resource:
    """Read what ``to_json`` gave."""
    name, *values = data
    resource: Resource = _KINDS[name](*values)
    return resource
