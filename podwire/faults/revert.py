"""Mend, inside a node: from the journal alone, whatever happened since.

journal ─> resources back, states back (restore.py) ─> looks as before? ─> probe well? ─> forgotten
"""

from __future__ import annotations

import contextlib
from ipaddress import ip_network
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..errors import FaultError, KernelError, PodwireError
from ..kernel.announce import announce
from ..model.codec import state_from_json
from ..plan import plan
from . import attach, journal, probes, resources
from .namespaces import Namespaces, look
from .places import MACHINE, NODE
from .probes import Aim
from .restore import mended
from .symptom import Expected

_ROUNDS = 3
#: Seconds that a mended path may take until it is well: neighbours may have to be learnt again.
_HEAL_S = 10.0


class Done(NamedTuple):
    """What was done, or in check mode would be: one line an object. ``said``: what the probe answers
    now, ``detail``: what it heard, where it heard more than that; ``probe``: what it does, and what it said, or why it
    was not asked, for people. ``expects``: what a diagnosis has to name."""

    lines: Tuple[str, ...]
    said: str = ""
    detail: str = ""
    expects: Optional[Expected] = None
    probe: str = ""


def mend(
    namespaces: Namespaces, names: Optional[Sequence[str]] = None, *, check: bool = False
) -> List[Tuple[str, Done]]:
    """Undo what the journal holds, the newest first; only the faults named, if any are. Safe to repeat. FaultError
    after all others were tried."""
    if check and not journal.entries():
        return []
    done: List[Tuple[str, Done]] = []
    errors: List[str] = []
    with journal.taken() if not check else contextlib.nullcontext():
        if not check:
            attach.sweep()
            journal.sweep()
        for entry in reversed(journal.entries()):
            if names and entry["fault"] not in names:
                continue
            try:
                done.append((entry["fault"], mend_one(entry, namespaces, check=check)))
            except PodwireError as error:
                errors.append(f"{entry['fault']}: {error}")
    if errors:
        raise FaultError("failed to mend " + "; ".join(errors))
    return done


def mend_one(entry: journal.Entry, namespaces: Namespaces, *, check: bool = False) -> Done:
    """Cells first, backwards; then states. What was of a namespace that is gone went with it."""
    told: List[str] = []
    for held in reversed(entry["cells"]):
        told += _cell_back(held, namespaces, check=check)
    for place, kept in _by_place(entry):
        if _is_there(namespaces, place, kept["identity"]):
            told += _state_back(entry, place, kept, namespaces, check=check)
    if check:
        return Done(tuple(told))
    _announce(entry, namespaces)
    journal.remove(entry)
    said, probe = _healed(entry, namespaces)
    return Done(tuple(told), said, probe=probe)


def _by_place(entry: journal.Entry) -> List[Tuple[str, Dict[str, Any]]]:
    """The node comes before its pods: their devices are made from there."""
    return sorted(entry["places"].items(), key=lambda each: (each[0].startswith("pod:"), each[0]))


def _is_there(namespaces: Namespaces, place: str, identity: str) -> bool:
    try:
        return namespaces.identity(place) == identity
    except (FaultError, KernelError):
        return False


def _cell_back(held: Dict[str, Any], namespaces: Namespaces, *, check: bool) -> List[str]:
    """What a resource had, unless it has that already, or somebody else gave it another value since."""
    resource = resources.from_json(held["cell"])
    if resources.of_kernel(resource) and not _is_there(namespaces, held["place"], held["identity"]):
        return []
    namespace = namespaces[held["place"]] if resources.of_kernel(resource) else namespaces[NODE]
    now = resource.read(namespace)
    if resources.same(resource, now, held["before"]) or not resources.same(resource, now, held["after"]):
        return []
    if not check:
        resource.write(namespace, held["before"])
        if not resources.same(resource, resource.read(namespace), held["before"]):
            raise FaultError(f"failed to mend {resource}: it does not take its value back")
    return [f"{held['place']}: ~ {resources.change(resource, now, held['before'])}"]


def _state_back(
    entry: journal.Entry, place: str, kept: Dict[str, Any], namespaces: Namespaces, *, check: bool
) -> List[str]:
    blocks = [ip_network(text) for text in entry["blocks"]]
    before = state_from_json(kept["before"])
    after = None if kept["after"] is None else state_from_json(kept["after"])
    told: List[str] = []
    wanted = None
    for _ in range(_ROUNDS):  # devices that come up take objects along, or bring some
        now = look(namespaces[place], kept["sysctls"], blocks, only_sysctls=place == MACHINE)
        wanted = mended(before, after, now) if wanted is None else wanted
        operations = plan(wanted, now)
        told += [f"{place}: {operation}" for operation in operations]
        if check or not operations:
            return told
        namespaces.execute(place, operations)
    raise FaultError(f"failed to mend {place}: it still differs: {told[-1]}", "something else changes it all the time")


def _announce(entry: journal.Entry, namespaces: Namespaces) -> None:
    """The neighbours of pods may have learnt otherwise."""
    for place, kept in entry["places"].items():
        if place.startswith("pod:") and _is_there(namespaces, place, kept["identity"]):
            links = state_from_json(kept["before"]).links
            announce(namespaces[place], [link for link in links if link.name == "eth0"])


def _healed(entry: journal.Entry, namespaces: Namespaces) -> Tuple[str, str]:
    """What the fault's probe says now, and the same in words; waits for ``before`` a while, because neighbours have to
    be learnt again."""
    if entry["probe"] is None:
        return "", ""
    aim = Aim(**entry["probe"])
    try:
        said = probes.settle(aim, namespaces, aim.before, _HEAL_S)
    except PodwireError as error:
        return "unknown", f"{probes.describe(aim)}: unknown: {error.message}"
    words = f"{probes.describe(aim)}: {said}"
    if said in aim.before:
        return said, words if said == "ok" else f"{words}, as without the fault"
    others = ", ".join(each["fault"] for each in journal.entries())
    why = f"{others} still stands on this node" if others else "something else is wrong: ./run explain"
    return said, f"{words}, because {why}" if others else f"{words}, so {why}"
