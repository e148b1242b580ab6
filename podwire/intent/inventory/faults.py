"""Faults that are declared for a drill."""

from __future__ import annotations

from typing import Collection, Dict, List, Mapping, Optional, Sequence, Tuple

from ..cluster import DeclaredFault, Node, Pod
from .field import Field
from .names import meant

_EXAMPLE = "[{fault: route_missing, node: node-1}]"
#: Names of the catalogue, and which of peer and pod each takes.
Catalogue = Mapping[str, Collection[str]]
_KEYS = ("fault", "node", "peer", "pod", "host_wide")


def read_faults(
    variable: Optional[Field], nodes: Sequence[Node], pods: Sequence[Pod], known: Optional[Catalogue]
) -> Tuple[DeclaredFault, ...]:
    """The declared faults. ``known``: None: any name will do."""
    if variable is None:
        return ()
    faults: List[DeclaredFault] = []
    on = {pod.name: pod.node for pod in pods}
    for item in variable.items(_EXAMPLE):
        if not isinstance(item.value, Mapping):
            item.fail("not a fault", f"write a mapping, e.g. {_EXAMPLE}")
            continue
        fields = item.mapping(_KEYS)
        for key in ("fault", "node"):
            if key not in fields:
                item.fail(f"has no {key}", f"add {key}, e.g. {_EXAMPLE}")
        if known is not None and "fault" in fields:
            _choose(fields["fault"], known, "no such fault", "-e fault=list has them all")
            name = fields["fault"].value
            takes = known[name] if isinstance(name, str) and name in known else ("peer", "pod")
            for key in (name_of for name_of in ("peer", "pod") if name_of in fields and name_of not in takes):
                fields[key].fail(f"{name} takes no {key}", "leave it out")
        names = [node.name for node in nodes]
        for key in ("node", "peer"):
            if key in fields:
                _choose(fields[key], names, "no such node", f"the nodes are {', '.join(names[:3])}")
        if "pod" in fields:
            _choose(fields["pod"], on, "no such pod", "name one of the pods")
        words = {key: str(fields[key].value) if key in fields else "" for key in _KEYS[:-1]}
        fault = DeclaredFault(**words, host_wide="host_wide" in fields and fields["host_wide"].boolean(False))
        _check(fault, fields, on)
        if any((earlier.fault, earlier.node) == (fault.fault, fault.node) for earlier in faults):
            item.fail(f"{fault.fault} is declared twice on {fault.node}", "declare it once")
        faults.append(fault)
    return tuple(faults)


def _choose(field: Field, known: Collection[str], cause: str, right: str) -> None:
    if field.value not in list(known):  # a list or a mapping is not hashable
        near = meant(str(field.value), known)
        field.fail(cause, f"did you mean {near}? Else {right}" if near else right)


def _check(fault: DeclaredFault, fields: Dict[str, Field], on: Mapping[str, str]) -> None:
    if fault.peer and fault.peer == fault.node:
        fields["peer"].fail("the node itself", "name the other node, or leave it out")
    if fault.pod in on and fault.node and on[fault.pod] != fault.node:
        fields["pod"].fail(f"{fault.pod} runs on {on[fault.pod]}, not on {fault.node}", "name a pod of the node")
