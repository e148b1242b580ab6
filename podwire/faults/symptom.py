"""How a fault shows in traffic, and what a diagnosis has to name."""

from __future__ import annotations

from typing import FrozenSet, NamedTuple

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
