"""Break, inside a node. Nothing is touched before its undo is on the disk.

    needs ─> edits ─> probe is well? ─> journal ─> edits done ─> artifact? ─> symptom? ─> journal closed

Whatever goes wrong after the journal was written is mended at once; a process that dies leaves it to ``undo.mend``.
"""

from __future__ import annotations

import contextlib
from typing import Callable, Dict, List, Optional, Sequence

from ..errors import FaultError
from ..intent.cluster import Pod
from ..model.codec import state_to_json
from ..model.objects import IPAddress, Link
from ..model.state import State
from ..plan import plan
from . import attach, journal, probes, resources, revert
from .context import Ground
from .fault import GHOST, MACHINE, NODE, PODS_MTU, Edit, Fault, Nudge, Patch, Put, Symptom, expected, lines
from .namespaces import look
from .patch import missing, patched
from .probes import Aim
from .requirements import unmet
from .revert import Done

#: Seconds that a probe is repeated until it says what it should: before and with the fault.
_WELL_S, _SHOW_S = 1.5, 3.0


def _edits(fault: Fault, ground: Ground) -> List[Edit]:
    """What the fault changes. FaultError where another one has taken that away."""
    try:
        return list(fault.edits(ground))
    except (LookupError, StopIteration):
        cause = "what it would break is not there, or not as it was made"
        failed = f"failed to inject {fault.name} on {ground.node.name}: {cause}"
        raise FaultError(failed, "mend first: ./run mend") from None


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
        edits = _edits(fault, ground)
        told = tuple(lines(edits, lambda put: put.cell.read(ground.places[put.place])))
        if check:
            return Done(told, expects=expected(fault, ground.node.name, edits))
        aim, quiet = (_aim(fault.symptom, ground) if fault.symptom else None), fault.quiet
        if aim:
            already = _already(fault, ground, aim, blind=blind or bool(standing))
            if already:
                quiet = f"not seen to show: {probes.told(aim)} said {already!r} before; the kernel has it"
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
            revert.mend_one(entry, ground.places)
            raise
    detail = "; ".join(attach.said) if said == "failed" else ""
    words = f"{probes.told(aim)}: {said}" + (f": {detail}" if detail else "") if aim else quiet
    return Done(told, said, detail, expected(fault, ground.node.name, edits), words)


def _already(fault: Fault, ground: Ground, aim: Aim, *, blind: bool) -> str:
    """What a probe says that is not well before the fault; "" if it is. FaultError where no symptom could be told then,
    unless that is known."""
    said = probes.settle(aim, ground.places, aim.before, _WELL_S)
    if said in aim.before:
        return ""
    if not blind:
        cause = f"{probes.told(aim)} says {said!r} already"
        hint = "./run explain says why; mend it first, or inject all the same: -e blind=true"
        raise FaultError(f"failed to inject {fault.name} on {ground.node.name}: {cause}", hint)
    return said


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
        "free": lambda: ground.free()[0],
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
        ground.plugin_dirs,
    )


def _entry(fault: Fault, ground: Ground, edits: Sequence[Edit], aim: Optional[Aim]) -> journal.Entry:
    patches = [edit for edit in edits if isinstance(edit, Patch) and not edit.place.startswith(GHOST)]
    for edit in patches:
        ground.state(edit.place)
    places = {
        place: {
            "identity": ground.places.identity(place),
            "sysctls": sorted(ground.watched(place)),
            "before": state_to_json(_with_peers(state, [patch for patch in patches if patch.place == place])),
            "after": None,
        }
        for place, state in ground.seen().items()
    }
    held = [
        {
            "place": edit.place,
            "identity": ground.places.identity(edit.place),
            "cell": resources.to_json(edit.cell),
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
                resources.run(places[edit.place], edit.command)
    missing = _missing(ground, edits)
    if missing:
        raise FaultError(f"failed to inject {fault.name} on {ground.node.name}: the kernel does not show {missing}")
    if aim is None:
        return ""
    said = probes.settle(aim, places, aim.after, _SHOW_S)
    if said not in aim.after:
        cause = f"{probes.told(aim)} still says {said!r}, and not {' or '.join(aim.after)}"
        raise FaultError(f"failed to inject {fault.name} on {ground.node.name}: it does not show: {cause}")
    return said


def _apply(ground: Ground, patch: Patch) -> None:
    now = _now(ground, patch.place)
    ground.places.execute(patch.place, plan(patched(now, patch), now))


def _missing(ground: Ground, edits: Sequence[Edit]) -> str:
    """The artifact: what is not as the edits were to leave it, for people; "" if all is."""
    for edit in edits:
        if isinstance(edit, Put) and not resources.same(
            edit.cell, edit.cell.read(ground.places[edit.place]), edit.value
        ):
            return edit.cell.told(edit.value)
    patches = [edit for edit in edits if isinstance(edit, Patch)]
    shown = {patch.place: _now(ground, patch.place) for patch in patches}
    return missing(patches, shown)


def _now(ground: Ground, place: str) -> State:
    blocks = [block for node in ground.cluster.nodes for block in node.pod_cidrs]
    return look(ground.places[place], ground.watched(place), blocks, only_sysctls=place == MACHINE)
