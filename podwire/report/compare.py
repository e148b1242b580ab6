"""Compare two documents: what broke and what was repaired. Pure.

Listed checks are compared one by one. Where a document counted more failures than it lists, pairs of nodes are
compared by their counts instead, so that nothing that broke goes unsaid.
"""

from __future__ import annotations

import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from .phrases import ends

#: Lines for each guarantee and kind of change.
SHOWN = 10
#: Source, target, family, and the name of a check of the inventory.
_Check = Tuple[str, str, str, str]


class Change(NamedTuple):
    """``kind`` is ``broke`` or ``repaired``; or ``added`` or ``removed``, of nodes and pods that are declared."""

    kind: str
    what: str


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> List[Change]:
    """Everything that differs, by guarantee in the order of ``new``."""
    changes: List[Change] = []
    before = {guarantee["key"]: guarantee for guarantee in old["guarantees"]}
    node_of = {node["name"]: node["name"] for node in new["cluster"]["nodes"]}
    node_of.update({pod["name"]: pod["node"] for pod in new["cluster"]["pods"]})
    gone = {item["name"] for kind in ("nodes", "pods") for item in old["cluster"][kind]} - set(node_of)
    for guarantee in new["guarantees"]:
        changes += _guarantee(
            before.pop(guarantee["key"], None), guarantee, _Ran(guarantee, node_of, gone, new["run"]["limit"])
        )
    changes += [Change("broke", f"{guarantee['title']}: no longer checked") for guarantee in before.values()]
    for kind in ("nodes", "pods"):
        names_before, names_after = ({item["name"] for item in document["cluster"][kind]} for document in (old, new))
        changes += [Change("removed", f"{kind[:-1]} {name}") for name in sorted(names_before - names_after)]
        changes += [Change("added", f"{kind[:-1]} {name}") for name in sorted(names_after - names_before)]
    return changes


def broke(changes: List[Change]) -> bool:
    """Whether anything broke."""
    return any(change.kind == "broke" for change in changes)


def text(old: Mapping[str, Any], new: Mapping[str, Any], changes: List[Change]) -> str:
    """For people: what broke first."""
    title = f"{old['cluster']['id']} {_when(old)} -> {new['cluster']['id']} {_when(new)}"
    limit = new["run"]["limit"]
    lines = [title, *([f"the second run was limited to {', '.join(limit)}"] if limit else []), ""]
    for kind in ("broke", "repaired", "removed", "added"):
        lines += [f"{kind:10}{change.what}" for change in changes if change.kind == kind]
    if not changes:
        lines.append("nothing broke, nothing was repaired")
    return "\n".join([*lines, ""])


def _when(document: Mapping[str, Any]) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(document["run"]["finished"]))


class _Ran:
    """Whether a check ran, in a guarantee of the new document."""

    def __init__(
        self, new: Mapping[str, Any], node_of: Mapping[str, str], gone: Set[str], limit: Optional[Sequence[str]]
    ) -> None:
        """``gone`` is no longer declared; ``limit``: the only nodes that probed, None for all."""
        self._classes = {(source, target) for source, target, *_, not_run in new["classes"] if not not_run}
        self._unknown = not new["classes"] and new["not_run"]
        self._by_class, self._node_of, self._gone, self._limit = bool(new["classes"]), node_of, gone, limit

    @property
    def limited(self) -> bool:
        """Whether some nodes were left out."""
        return self._limit is not None

    def __call__(self, check: _Check) -> bool:
        source, target, *_ = check
        if self._unknown or {source, target} & self._gone:
            return False
        if self._by_class:
            return (self._node_of.get(source, ""), self._node_of.get(target, "")) in self._classes
        return self._limit is None or self._node_of.get(source or target, "") in self._limit


def _guarantee(old: Any, new: Mapping[str, Any], ran: _Ran) -> List[Change]:
    title, unit, total = new["title"], new["unit"], new["passed"] + new["failed"] + new["not_run"]
    if old is None:
        return [Change("broke", f"{title}: new, {new['failed']} of {total} {unit} failed")] if new["failed"] else []
    both = _complete(old) and _complete(new)
    changes = _checks(title, old, new, ran) if both else _classes(title, old, new)
    if new["not_run"] > old["not_run"] or (new["not_run"] < old["not_run"] and not ran.limited):
        kind = "broke" if new["not_run"] > old["not_run"] else "repaired"
        changes.append(Change(kind, f"{title}: {new['not_run']} of {total} {unit} not run, before {old['not_run']}"))
    return changes


def _complete(guarantee: Mapping[str, Any]) -> bool:
    listed: int = len(guarantee["failures"])
    return listed >= int(guarantee["failed"])


def _checks(title: str, old: Mapping[str, Any], new: Mapping[str, Any], ran: _Ran) -> List[Change]:
    """Check by check. A check that did not run, or is no longer declared, does not count as repaired."""
    before, after = _listed(old), _listed(new)
    return _some("broke", title, [after[check] for check in after if check not in before]) + _some(
        "repaired", title, [before[check] for check in before if check not in after and ran(check)]
    )


def _listed(guarantee: Mapping[str, Any]) -> Dict[_Check, str]:
    """Failing checks as text. Several checks of the inventory may have the same ends; their reason begins with the
    check's name (user_checks.py)."""
    texts: Dict[_Check, str] = {}
    for failure in guarantee["failures"]:
        family = "IPv6" if ":" in failure["address"] else "IPv4"
        name = failure["reason"].partition(": ")[0] if guarantee["key"] == "checks" else ""
        texts[failure["source"], failure["target"], family, name] = f"{ends(failure)}: {failure['reason']}"
    return texts


def _classes(title: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> List[Change]:
    """By pair of nodes: more failures than before count as broken, fewer as repaired, unless checks did not run."""
    failed_before = {(source, target): failed for source, target, _, failed, _ in old["classes"]}
    worse: List[str] = []
    better: List[str] = []
    for source, target, _, after, not_run in new["classes"]:
        before = failed_before.get((source, target), 0)
        line = f"{source} to {target}: {after} {new['unit']} failed, before {before}"
        if after > before:
            worse.append(line)
        elif after < before and not not_run:
            better.append(line)
    return _some("broke", title, worse) + _some("repaired", title, better)


def _some(kind: str, title: str, lines: List[str]) -> List[Change]:
    changes = [Change(kind, f"{title}: {line}") for line in lines[:SHOWN]]
    if len(lines) > SHOWN:
        changes.append(Change(kind, f"{title}: and {len(lines) - SHOWN} more"))
    return changes
