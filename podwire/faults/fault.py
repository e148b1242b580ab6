"""What an entry of the catalogue is made of. Values only; ``engine`` does what they say.

A fault is a list of edits, worked out from what is there and not from what should be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Optional, Sequence, Tuple

from .context import Context
from .edit import Edit, Patch, SetResource
from .requirements import Requirement
from .symptom import Expected, Symptom

LAYERS = ("cni", "ipam", "bridge", "routing", "vxlan", "underlay", "sysctl", "netfilter", "limits")


@dataclass(frozen=True)
class Fault:
    """One entry.

    number:     in the field's catalogue; several entries may share one.
    title:      one line. command: how a person would do it, for learners; names in braces stand for the lab's.
    edits:      what is to be done in a context. Reads only. FaultError if there is nothing to break.
    requires:   what the kernel and the network must have; parameters: which of peer and pod it takes.
    symptom:    how it shows in traffic; None where it does not, and ``quiet`` says why.
    cause:      id of the root cause that a diagnosis should give; "" for the fault's own name.
    host_wide:  whether it reaches all of the machine.
    """

    name: str
    number: int
    layer: str
    title: str
    command: str
    edits: Callable[[Context], Sequence[Edit]]
    symptom: Optional[Symptom] = None
    quiet: str = ""
    requires: Tuple[Requirement, ...] = ()
    parameters: Tuple[str, ...] = ()
    cause: str = ""
    host_wide: bool = False


def expected(fault: Fault, node: str, edits: Sequence[Edit]) -> Expected:
    """What a diagnosis has to name: the first edit's object."""
    first = edits[0]
    wanted = found = ""
    if isinstance(first, Patch):
        wanted = str((first.gone + first.lost)[0]) if first.gone + first.lost else ""
        found = str(first.new[0]) if first.new else ""
    elif isinstance(first, SetResource):
        found = f"{first.resource}" if first.value is not None else ""
        wanted = f"{first.resource}" if first.value is None else ""
    return Expected(fault.cause or fault.name, node, first.place, wanted, found)
