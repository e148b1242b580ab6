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
from .context import Context
from .edit import Edit, Flush, Patch, SetResource, lines
from .fault import Fault, expected
from .namespaces import look
from .patch import missing, patched
from .places import MACHINE, NODE, PROCESS
from .probes import Aim
from .requirements import unmet
from .resource import run
from .revert import Done
from .symptom import PODS_MTU, Symptom

#: Seconds that a probe is repeated until it says what it should: before and with the fault.
_WELL_S, _SHOW_S = 1.5, 3.0


def _edits(fault: Fault, context: Context) -> List[Edit]:
    """What the fault changes. FaultError where another one has taken that away."""
    try:
        return list(fault.edits(context))
    except (LookupError, StopIteration):
        cause = "what it would break is not there, or not as it was made"
        failed = f"failed to inject {fault.name} on {context.node.name}: {cause}"
        raise FaultError(failed, "mend first: ./run mend") from None


def refuse(fault: Fault, context: Context, *, host_wide: bool) -> str:
    """Why a fault cannot be injected here; "" if it can."""
    if fault.host_wide and not host_wide:
        return "it reaches every network of this machine; allow it with -e host_wide=true"
    return unmet(fault.requires, context)


def inject(
    fault: Fault, context: Context, *, host_wide: bool = False, blind: bool = False, check: bool = False
) -> Done:
    """Break the node. FaultError, with everything as it was, if the fault does not take or does not show.

    Where the journal holds other faults, or with ``blind``, one whose probe is not well before cannot show: then the
    kernel's word has to do.
    """
    lacking = refuse(fault, context, host_wide=host_wide)
    if lacking:
        raise FaultError(f"failed to inject {fault.name} on {context.node.name}: {lacking}")
    with journal.taken() if not check else contextlib.nullcontext():
        standing = journal.entries()
        if any(each["fault"] == fault.name for each in standing):
            raise FaultError(
                f"failed to inject {fault.name} on {context.node.name}: it is there already", "mend it first"
            )
        edits = _edits(fault, context)
        told = tuple(lines(edits, lambda put: put.resource.read(context.namespaces[put.place])))
        if check:
            return Done(told, expects=expected(fault, context.node.name, edits))
        aim, quiet = (_aim(fault.symptom, context) if fault.symptom else None), fault.quiet
        if aim:
            already = _already(fault, context, aim, blind=blind or bool(standing))
            if already:
                quiet = f"not seen to show: {probes.describe(aim)} said {already!r} before; the kernel has it"
                aim = None
        entry = _entry(fault, context, edits, aim)
        entry["number"] = 1 + max((each["number"] for each in standing), default=0)
        journal.write(entry)
        try:
            said = _break(fault, context, edits, aim)
            for place, kept in entry["places"].items():
                kept["after"] = state_to_json(_now(context, place))
            journal.write(entry)
        except BaseException:
            revert.mend_one(entry, context.namespaces)
            raise
    detail = "; ".join(attach.said) if said == "failed" else ""
    words = f"{probes.describe(aim)}: {said}" + (f": {detail}" if detail else "") if aim else quiet
    return Done(told, said, detail, expected(fault, context.node.name, edits), words)


def _already(fault: Fault, context: Context, aim: Aim, *, blind: bool) -> str:
    """What a probe says that is not well before the fault; "" if it is. FaultError where no symptom could be told then,
    unless that is known."""
    said = probes.settle(aim, context.namespaces, aim.before, _WELL_S)
    if said in aim.before:
        return ""
    if not blind:
        cause = f"{probes.describe(aim)} says {said!r} already"
        hint = "./run explain says why; mend it first, or inject all the same: -e blind=true"
        raise FaultError(f"failed to inject {fault.name} on {context.node.name}: {cause}", hint)
    return said


def _aim(symptom: Symptom, context: Context) -> Aim:
    """Where a symptom's probe starts and goes, in this lab's names and addresses."""
    pods: Dict[str, Callable[[], Pod]] = {
        "peer": lambda: context.far_pod,
        "pod": lambda: context.pod,
        "sibling": lambda: context.sibling,
        "host pod": lambda: context.host_pod,
    }
    pod = pods[symptom.target]() if symptom.target in pods else None
    addresses: Dict[str, Callable[[], IPAddress]] = {
        "vtep": lambda: context.block(context.peer)[0],
        "gateway": lambda: context.block(context.node)[1],
        "free": lambda: context.free()[0],
    }
    return Aim(
        symptom.probe,
        NODE if symptom.source == NODE else context.place(pods[symptom.source]()),
        str(context.ip(pod) if pod else addresses[symptom.target]()),
        tuple(sorted(symptom.before)),
        tuple(sorted(symptom.after)),
        context.cluster.mtu if symptom.size == PODS_MTU else symptom.size,
        pod.port if pod else 0,
        pod.name if pod else "",
        str(context.ip(context.pod)) if symptom.source == "pod" else "",
        str(context.block(context.node)),
        context.plugin_dirs,
    )


def _entry(fault: Fault, context: Context, edits: Sequence[Edit], aim: Optional[Aim]) -> journal.Entry:
    patches = [edit for edit in edits if isinstance(edit, Patch) and not edit.place.startswith(PROCESS)]
    for edit in patches:
        context.state(edit.place)
    namespaces = {
        place: {
            "identity": context.namespaces.identity(place),
            "sysctls": sorted(context.watched(place)),
            "before": state_to_json(_with_peers(state, [patch for patch in patches if patch.place == place])),
            "after": None,
        }
        for place, state in context.seen().items()
    }
    held = [
        {
            "place": edit.place,
            "identity": context.namespaces.identity(edit.place),
            "cell": resources.to_json(edit.resource),
            "before": edit.resource.read(context.namespaces[edit.place]),
            "after": edit.value,
        }
        for edit in edits
        if isinstance(edit, SetResource)
    ]
    return {
        "fault": fault.name,
        "node": context.node.name,
        "expects": expected(fault, context.node.name, edits)._asdict(),
        "places": namespaces,
        "cells": held,
        "blocks": [str(block) for node in context.cluster.nodes for block in node.pod_cidrs],
        "probe": aim._asdict() if aim else None,
    }


def _with_peers(state: State, patches: Sequence[Patch]) -> State:
    """With the far ends of veth pairs that will go: the kernel does not say whom a veth was made with."""
    ends = tuple(each for patch in patches for each in patch.gone if isinstance(each, Link) and each.peer)
    return patched(state, Patch("", new=ends))


def _break(fault: Fault, context: Context, edits: Sequence[Edit], aim: Optional[Aim]) -> str:
    """Do it, and see that it is done and that it shows."""
    namespaces = context.namespaces
    for edit in edits:
        if isinstance(edit, Patch):
            _apply(context, edit)
        elif isinstance(edit, SetResource):
            edit.resource.write(namespaces[edit.place], edit.value)
    for edit in edits:
        if isinstance(edit, Flush):
            with contextlib.suppress(FaultError):
                run(namespaces[edit.place], edit.command)
    missing = _missing(context, edits)
    if missing:
        raise FaultError(f"failed to inject {fault.name} on {context.node.name}: the kernel does not show {missing}")
    if aim is None:
        return ""
    said = probes.settle(aim, namespaces, aim.after, _SHOW_S)
    if said not in aim.after:
        cause = f"{probes.describe(aim)} still says {said!r}, and not {' or '.join(aim.after)}"
        raise FaultError(f"failed to inject {fault.name} on {context.node.name}: it does not show: {cause}")
    return said


def _apply(context: Context, patch: Patch) -> None:
    now = _now(context, patch.place)
    context.namespaces.execute(patch.place, plan(patched(now, patch), now))


def _missing(context: Context, edits: Sequence[Edit]) -> str:
    """The artifact: what is not as the edits were to leave it, for people; "" if all is."""
    for edit in edits:
        if isinstance(edit, SetResource) and not resources.same(
            edit.resource, edit.resource.read(context.namespaces[edit.place]), edit.value
        ):
            return edit.resource.describe(edit.value)
    patches = [edit for edit in edits if isinstance(edit, Patch)]
    shown = {patch.place: _now(context, patch.place) for patch in patches}
    return missing(patches, shown)


def _now(context: Context, place: str) -> State:
    blocks = [block for node in context.cluster.nodes for block in node.pod_cidrs]
    return look(context.namespaces[place], context.watched(place), blocks, only_sysctls=place == MACHINE)
