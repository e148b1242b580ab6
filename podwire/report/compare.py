"""Two documents held against each other: what broke and what was mended. Pure.

Listed checks are compared one by one. Where a document counted more failures than it lists, pairs of nodes are
compared by their counts, so that nothing that broke goes unsaid.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Set, Tuple

#: Lines for each guarantee and kind of change.
SHOWN = 10
_Check = Tuple[str, str, str]


class Change(NamedTuple):
    """``kind`` is ``broke``, ``mended``, ``came`` or ``left``; the last two are for what is declared, and neither good nor bad."""

    kind: str
    what: str


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> List[Change]:
    """Everything that differs, by guarantee in the order of ``new``."""
    changes: List[Change] = []
    before = {each["key"]: each for each in old["guarantees"]}
    for guarantee in new["guarantees"]:
        changes += _guarantee(before.pop(guarantee["key"], None), guarantee)
    changes += [Change("broke", f"{each['title']}: no longer checked") for each in before.values()]
    for kind in ("nodes", "pods"):
        was, now = ({each["name"] for each in document["cluster"][kind]} for document in (old, new))
        changes += [Change("left", f"{kind[:-1]} {name}") for name in sorted(was - now)]
        changes += [Change("came", f"{kind[:-1]} {name}") for name in sorted(now - was)]
    return changes


def broke(changes: List[Change]) -> bool:
    """Whether anything is worse than before."""
    return any(change.kind == "broke" for change in changes)


def text(old: Mapping[str, Any], new: Mapping[str, Any], changes: List[Change]) -> str:
    """For people: what broke first."""
    title = f"{old['cluster']['id']} {_when(old)} -> {new['cluster']['id']} {_when(new)}"
    lines = [title, ""]
    for kind in ("broke", "mended", "left", "came"):
        lines += [f"{kind:8}{change.what}" for change in changes if change.kind == kind]
    if not changes:
        lines.append("nothing broke, nothing was mended")
    return "\n".join([*lines, ""])


def _when(document: Mapping[str, Any]) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(document["run"]["finished"]))


def _guarantee(old: Any, new: Mapping[str, Any]) -> List[Change]:
    title = new["title"]
    if old is None:
        return [Change("broke", f"{title}: new, {new['failed']} of {_total(new)} {new['unit']} failed")] if new["failed"] else []
    was, now = _listed(old), _listed(new)
    changes = _some("broke", title, [now[each] for each in now if each not in was and _complete(old)])
    changes += _some("mended", title, [was[each] for each in was if each not in now and _complete(new)])
    if not (_complete(old) and _complete(new)):
        changes += _classes(title, old, new)
    if new["not_run"] > old["not_run"]:
        changes.append(Change("broke", f"{title}: {new['not_run']} of {_total(new)} {new['unit']} not run, before {old['not_run']}"))
    elif new["not_run"] < old["not_run"] and new["state"] != "failed":
        changes.append(Change("mended", f"{title}: {new['not_run']} of {_total(new)} {new['unit']} not run, before {old['not_run']}"))
    return changes


def _total(guarantee: Mapping[str, Any]) -> int:
    total: int = guarantee["passed"] + guarantee["failed"] + guarantee["not_run"]
    return total


def _complete(guarantee: Mapping[str, Any]) -> bool:
    return len(guarantee["failures"]) >= guarantee["failed"]


def _listed(guarantee: Mapping[str, Any]) -> Dict[_Check, str]:
    """Failing checks by who and to whom, and in words. The address's family is part of it, the address not."""
    found: Dict[_Check, str] = {}
    for each in guarantee["failures"]:
        ends = f"{each['source']} -> {each['target']}" if each["source"] else each["target"]
        found[each["source"], each["target"], "6" if ":" in each["address"] else "4"] = f"{ends}: {each['reason']}"
    return found


def _some(kind: str, title: str, lines: List[str]) -> List[Change]:
    changes = [Change(kind, f"{title}: {line}") for line in lines[:SHOWN]]
    if len(lines) > SHOWN:
        changes.append(Change(kind, f"{title}: and {len(lines) - SHOWN} more"))
    return changes


def _classes(title: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> List[Change]:
    """By pair of nodes: more failing than before broke, fewer was mended."""
    was = {(each[0], each[1]): each[3] for each in old["classes"]}
    now = {(each[0], each[1]): each[3] for each in new["classes"]}
    worse: List[str] = []
    better: List[str] = []
    cells: Set[Tuple[str, str]] = was.keys() | now.keys()
    for cell in sorted(cells):
        before, after = was.get(cell, 0), now.get(cell, 0)
        line = f"{cell[0]} to {cell[1]}: {after} {new['unit']} failed, before {before}"
        if after != before:
            (worse if after > before else better).append(line)
    return _some("broke", title, worse) + _some("mended", title, better)
