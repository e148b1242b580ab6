"""What an entry of the catalogue is made of. Values only; ``engine`` does what they say.

A fault is a list of edits, worked out from what is there and not from what should be:

    Patch   objects of a namespace that go, and objects that come: the same values that intent is made of
    Put     a cell (cells.py) gets a value: what a State cannot hold, such as an nftables table or a file's mode
    Nudge   a command without an inverse that makes the kernel forget what it learnt, so that a fault shows at once
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, FrozenSet, List, NamedTuple, Optional, Sequence, Tuple, Union

from ..model.objects import Object
from .resources import Cell, FileText, change

if TYPE_CHECKING:
    from .context import Ground
    from .requirements import Need

#: Places of edits: the node's root namespace, the switch below a lab, the machine's first namespace;
#: ``pod:NAME``; and ``ghost:TOKEN``, which is there only once its process was started.
NODE, UNDERLAY, MACHINE, GHOST = "node", "underlay", "machine", "ghost"
_MOST_LINES = 20
LAYERS = ("cni", "ipam", "bridge", "routing", "vxlan", "underlay", "sysctl", "netfilter", "limits")


class Patch(NamedTuple):
    """``lost`` are objects that the kernel takes along by itself; they have to be gone as well."""

    place: str
    gone: Tuple[Object, ...] = ()
    new: Tuple[Object, ...] = ()
    lost: Tuple[Object, ...] = ()


class Put(NamedTuple):
    """A cell's new value; None for nothing there."""

    place: str
    cell: Cell
    value: Any


class Nudge(NamedTuple):
    """A command run in a place after all edits. It may fail: there may be nothing to forget."""

    place: str
    command: Tuple[str, ...]


Edit = Union[Patch, Put, Nudge]


#: As the size of a probe: the pods' MTU.
PODS_MTU = -1


class Symptom(NamedTuple):
    """A probe (probes.py), and what it says before and with the fault.

    source: ``pod``, ``sibling`` or ``node``. target: ``peer`` (a pod of the other node), ``pod``, ``sibling``,
    ``host pod`` (a hostNetwork pod of the node), ``gateway``, ``vtep`` (the other node's VXLAN address), ``free`` (an
    address that nobody holds). size: bytes of the IP packet, where it matters.
    """

    probe: str
    source: str
    target: str
    after: FrozenSet[str]
    size: int = 0
    before: FrozenSet[str] = frozenset({"ok"})


class Expected(NamedTuple):
    """What whoever explains the fault has to name: the cause, the node (and pod), and the object as it was (``wanted``)
    and as it is (``found``); either may be "" for none."""

    cause: str
    node: str
    place: str
    wanted: str
    found: str


@dataclass(frozen=True)
class Fault:
    """One entry.

    number:     in the field's catalogue; several entries may share one.
    title:      one line. command: how a person would do it, for learners; names in braces stand for the lab's.
    edits:      from the ground to what is to be done. Reads only. FaultError if there is nothing to break.
    needs:      what the kernel and the network must have; parameters: which of peer and pod it takes.
    symptom:    how it shows in traffic; None where it does not, and ``quiet`` says why.
    cause:      id of the root cause that a diagnosis should give; "" for the fault's own name.
    host_wide:  whether it reaches all of the machine.
    """

    name: str
    number: int
    layer: str
    title: str
    command: str
    edits: Callable[[Ground], Sequence[Edit]]
    symptom: Optional[Symptom] = None
    quiet: str = ""
    needs: Tuple[Need, ...] = ()
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
    elif isinstance(first, Put):
        found = f"{first.cell}" if first.value is not None else ""
        wanted = f"{first.cell}" if first.value is None else ""
    return Expected(fault.cause or fault.name, node, first.place, wanted, found)


def lines(edits: Sequence[Edit], now: Callable[[Put], Any]) -> List[str]:
    """Edits for people, one line an object, such as ``node: - fdb ...``; of very many only the first. ``now``: the
    value that a cell has before."""
    told: List[str] = []
    for edit in edits:
        if isinstance(edit, Patch):
            told += [f"{edit.place}: - {each}" for each in edit.gone]
            told += [f"{edit.place}: + {each}" for each in edit.new]
            told += [f"{edit.place}: - {each} (by the kernel)" for each in edit.lost]
        elif isinstance(edit, Put):
            before = now(edit) if isinstance(edit.cell, FileText) else None
            told.append(f"{edit.place}: ~ {change(edit.cell, before, edit.value)}")
    more = len(told) - _MOST_LINES
    return told if more <= 0 else [*told[:_MOST_LINES], f"and {more} more"]
