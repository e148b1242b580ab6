"""Break and mend, inside a node. Nothing is touched before its undo is on the disk.

    inject   needs ─> edits ─> probe is well? ─> journal ─> edits done ─> artifact? ─> symptom? ─> journal closed
    mend     journal ─> cells back, states back (restore.py) ─> looks as before? ─> forgotten

Whatever goes wrong after the journal was written is mended at once; a process that dies leaves it to ``mend``.
"""

from __future__ import annotations

import contextlib
from ipaddress import ip_network
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..cluster import Pod
from ..errors import FaultError, KernelError, PodwireError
from ..kernel import Namespace, execute
from ..kernel.announce import announce
from ..model import IPAddress, Link
from ..plan import Operation, plan
from ..state import State
from . import attach, cells, journal, probes
from .codec import state_from_json, state_to_json
from .fault import GHOST, MACHINE, NODE, PODS_MTU, Edit, Expected, Fault, Nudge, Patch, Put, Symptom, expected, lines
from .ground import Ground, Places, look
from .needs import unmet
from .patch import missing, patched
from .probes import Aim
from .restore import mended

_ROUNDS = 3
#: Seconds that a probe is repeated until it says what it should: before, with and after the fault.
_WELL_S, _SHOW_S, _HEAL_S = 1.5, 3.0, 10.0


class Done(NamedTuple):
    """What was done, or in check mode would be: one line an object. ``said``: what the probe answers
    now, ``detail``: what it heard, where it heard more than that. ``expects``: what a diagnosis
    has to name."""

    lines: Tuple[str, ...]
    said: str = ""
    detail: str = ""
    expects: Optional[Expected] = None


def refuse(fault: Fault, ground: Ground, *, host_wide: bool) -> str:
    """Why a fault cannot be injected here; "" if it can."""
    if fault.host_wide and not host_wide:
        return "it reaches every network of this machine; allow it with -e host_wide=true"
    return unmet(fault.needs, ground)


def inject(fault: Fault, ground: Ground, *, host_wide: bool = False, blind: bool = False, check: bool = False) -> Done:
    """Break the node. FaultError, with everything as it was, if the fault does not take or does not show.

    Where the journal holds other faults, or with ``blind``, one whose probe is not well before cannot show: then the
    kernel's word has to do.
    """
    lacking = refuse(fault, ground, host_wide=host_wide)
    if lacking:
        raise FaultError(f"failed to inject {fault.name} on {ground.node.name}: {lacking}")
    with journal.taken() if not check else contextlib.nullcontext():
        standing = journal.entries()
        if any(each["fault"] == fault.name for each in standing):
            raise FaultError(
                f"failed to inject {fault.name} on {ground.node.name}: it is there already", "mend it first"
            )
        edits = list(fault.edits(ground))
        told = tuple(lines(edits))
        if check:
            return Done(told, expects=expected(fault, ground.node.name, edits))
        aim = _aim(fault.symptom, ground) if fault.symptom else None
        if aim and not _is_well(fault, ground, aim, blind=blind or bool(standing)):
            aim = None
        entry = _entry(fault, ground, edits, aim)
        entry["number"] = 1 + max((each["number"] for each in standing), default=0)
        journal.write(entry)
        try:
            said = _break(fault, ground, edits, aim)
            for place, kept in entry["places"].items():
                kept["after"] = state_to_json(_now(ground, place))
            journal.write(entry)
        except BaseException:
            _mend(entry, ground.places)
            raise
    detail = "; ".join(attach.said) if said == "failed" else ""
    return Done(told, said, detail, expected(fault, ground.node.name, edits))


def _is_well(fault: Fault, ground: Ground, aim: Aim, *, blind: bool) -> bool:
    """Whether a symptom could be told from what is broken already. FaultError if not, unless that is known."""
    said = probes.settle(aim, _opened(ground.places, aim), aim.before, _WELL_S)
    if said not in aim.before and not blind:
        cause = f"{aim.probe} from {aim.place} to {aim.address} says {said!r} already"
        hint = "mend it first, or inject all the same: -e blind=true"
        raise FaultError(f"failed to inject {fault.name} on {ground.node.name}: {cause}", hint)
    return said in aim.before


def mend(places: Places, names: Optional[Sequence[str]] = None, *, check: bool = False) -> List[Tuple[str, Done]]:
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
                done.append((entry["fault"], _mend(entry, places, check=check)))
            except PodwireError as error:
                errors.append(f"{entry['fault']}: {error}")
    if errors:
        raise FaultError("failed to mend " + "; ".join(errors))
    return done


# --- injecting -----------------------------------------------------------------------------------


def _aim(symptom: Symptom, ground: Ground) -> Aim:
    """Where a symptom's probe starts and goes, in this lab's names and addresses."""
    pods: Dict[str, Callable[[], Pod]] = {
        "peer": lambda: ground.far_pod,
        "pod": lambda: ground.pod,
        "sibling": lambda: ground.sibling,
        "host pod": lambda: ground.host_pod,
    }
    pod = pods[symptom.target]() if symptom.target in pods else None
    addresses: Dict[str, Callable[[], IPAddress]] = {
        "vtep": lambda: ground.block(ground.peer)[0],
        "gateway": lambda: ground.block(ground.node)[1],
        "free": lambda: ground.free()[-1],
    }
    return Aim(
        symptom.probe,
        NODE if symptom.source == NODE else ground.place(pods[symptom.source]()),
        str(ground.ip(pod) if pod else addresses[symptom.target]()),
        tuple(sorted(symptom.before)),
        tuple(sorted(symptom.after)),
        ground.cluster.mtu if symptom.size == PODS_MTU else symptom.size,
        pod.port if pod else 0,
        pod.name if pod else "",
        str(ground.ip(ground.pod)) if symptom.source == "pod" else "",
        str(ground.block(ground.node)),
    )


def _opened(places: Places, aim: Aim) -> Mapping[str, Namespace]:
    return {NODE: places[NODE], aim.place: places[aim.place]}


def _entry(fault: Fault, ground: Ground, edits: Sequence[Edit], aim: Optional[Aim]) -> journal.Entry:
    patches = [edit for edit in edits if isinstance(edit, Patch) and not edit.place.startswith(GHOST)]
    for edit in patches:
        ground.state(edit.place)
    places = {
        place: {
            "identity": ground.places.identity(place),
            "sysctls": sorted(ground.watched(place)),
            "before": state_to_json(_with_peers(state, [each for each in patches if each.place == place])),
            "after": None,
        }
        for place, state in ground.seen().items()
    }
    held = [
        {
            "place": edit.place,
            "identity": ground.places.identity(edit.place),
            "cell": cells.to_json(edit.cell),
            "before": edit.cell.read(ground.places[edit.place]),
            "after": edit.value,
        }
        for edit in edits
        if isinstance(edit, Put)
    ]
    return {
        "fault": fault.name,
        "node": ground.node.name,
        "expects": expected(fault, ground.node.name, edits)._asdict(),
        "places": places,
        "cells": held,
        "blocks": [str(block) for node in ground.cluster.nodes for block in node.pod_cidrs],
        "probe": aim._asdict() if aim else None,
    }


def _with_peers(state: State, patches: Sequence[Patch]) -> State:
    """With the far ends of veth pairs that will go: the kernel does not say whom a veth was made with."""
    ends = tuple(each for patch in patches for each in patch.gone if isinstance(each, Link) and each.peer)
    return patched(state, Patch("", new=ends))


def _break(fault: Fault, ground: Ground, edits: Sequence[Edit], aim: Optional[Aim]) -> str:
    """Do it, and see that it is done and that it shows."""
    places = ground.places
    for edit in edits:
        if isinstance(edit, Patch):
            _apply(ground, edit)
        elif isinstance(edit, Put):
            edit.cell.write(places[edit.place], edit.value)
    for edit in edits:
        if isinstance(edit, Nudge):
            with contextlib.suppress(FaultError):
                cells.run(places[edit.place], edit.command)
    missing = _missing(ground, edits)
    if missing:
        raise FaultError(f"failed to inject {fault.name} on {ground.node.name}: the kernel does not show {missing}")
    if aim is None:
        return ""
    said = probes.settle(aim, _opened(places, aim), aim.after, _SHOW_S)
    if said not in aim.after:
        cause = f"{aim.probe} from {aim.place} to {aim.address} still says {said!r}, and not {' or '.join(aim.after)}"
        raise FaultError(f"failed to inject {fault.name} on {ground.node.name}: it does not show: {cause}")
    return said


def _apply(ground: Ground, patch: Patch) -> None:
    now = _now(ground, patch.place)
    _execute(ground.places, patch.place, plan(patched(now, patch), now))


def _missing(ground: Ground, edits: Sequence[Edit]) -> str:
    """The artifact: what is not as the edits were to leave it, for people; "" if all is."""
    for edit in edits:
        if isinstance(edit, Put) and not cells.same(edit.cell, edit.cell.read(ground.places[edit.place]), edit.value):
            return edit.cell.told(edit.value)
    patches = [edit for edit in edits if isinstance(edit, Patch)]
    shown = {patch.place: _now(ground, patch.place) for patch in patches}
    return missing(patches, shown)


def _now(ground: Ground, place: str) -> State:
    blocks = [block for node in ground.cluster.nodes for block in node.pod_cidrs]
    return look(ground.places[place], ground.watched(place), blocks, only_sysctls=place == MACHINE)


def _execute(places: Places, place: str, operations: Sequence[Operation]) -> None:
    for each in (operation.object for operation in operations):
        if isinstance(each, Link) and each.peer:
            places[each.peer.namespace]  # is opened
    namespaces = {each.name: each for each in places.opened().values()}
    execute([(places[place], operation) for operation in operations], namespaces)


# --- mending -------------------------------------------------------------------------------------


def _mend(entry: journal.Entry, places: Places, *, check: bool = False) -> Done:
    """Cells first, backwards; then states. What was of a namespace that is gone went with it."""
    told: List[str] = []
    for held in reversed(entry["cells"]):
        told += _cell_back(held, places, check=check)
    for place, kept in _by_place(entry):
        if _is_there(places, place, kept["identity"]):
            told += _state_back(entry, place, kept, places, check=check)
    if check:
        return Done(tuple(told))
    _announce(entry, places)
    journal.remove(entry)
    return Done(tuple(told), _healed(entry, places))


def _by_place(entry: journal.Entry) -> List[Tuple[str, Dict[str, Any]]]:
    """The node comes before its pods: their devices are made from there."""
    return sorted(entry["places"].items(), key=lambda each: (each[0].startswith("pod:"), each[0]))


def _is_there(places: Places, place: str, identity: str) -> bool:
    try:
        return places.identity(place) == identity
    except (FaultError, KernelError):
        return False


def _cell_back(held: Dict[str, Any], places: Places, *, check: bool) -> List[str]:
    """What a cell had, unless it has that already, or somebody else gave it another value since."""
    cell = cells.from_json(held["cell"])
    if cells.of_kernel(cell) and not _is_there(places, held["place"], held["identity"]):
        return []
    namespace = places[held["place"]] if cells.of_kernel(cell) else places[NODE]
    now = cell.read(namespace)
    if cells.same(cell, now, held["before"]) or not cells.same(cell, now, held["after"]):
        return []
    if not check:
        cell.write(namespace, held["before"])
        if not cells.same(cell, cell.read(namespace), held["before"]):
            raise FaultError(f"failed to mend {cell}: it does not take its value back")
    return [f"{held['place']}: ~ {cell.told(held['before'])}"]


def _state_back(entry: journal.Entry, place: str, kept: Dict[str, Any], places: Places, *, check: bool) -> List[str]:
    blocks = [ip_network(text) for text in entry["blocks"]]
    before = state_from_json(kept["before"])
    after = None if kept["after"] is None else state_from_json(kept["after"])
    told: List[str] = []
    wanted = None
    for _ in range(_ROUNDS):  # devices that come up take objects along, or bring some
        now = look(places[place], kept["sysctls"], blocks, only_sysctls=place == MACHINE)
        wanted = mended(before, after, now) if wanted is None else wanted
        operations = plan(wanted, now)
        told += [f"{place}: {operation}" for operation in operations]
        if check or not operations:
            return told
        _execute(places, place, operations)
    raise FaultError(f"failed to mend {place}: it still differs: {told[-1]}", "something else changes it all the time")


def _announce(entry: journal.Entry, places: Places) -> None:
    """The neighbours of pods may have learnt otherwise."""
    for place, kept in entry["places"].items():
        if place.startswith("pod:") and _is_there(places, place, kept["identity"]):
            links = state_from_json(kept["before"]).links
            announce(places[place], [link for link in links if link.name == "eth0"])


def _healed(entry: journal.Entry, places: Places) -> str:
    """What the fault's probe says now; waits for ``before`` a while, because neighbours have to be learnt again."""
    if entry["probe"] is None:
        return ""
    aim = Aim(**entry["probe"])
    try:
        return probes.settle(aim, _opened(places, aim), aim.before, _HEAL_S)
    except PodwireError as error:
        return f"unknown: {error.message}"
