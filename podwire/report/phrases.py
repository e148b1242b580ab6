"""Text for failing checks and causes that all outputs share."""

from __future__ import annotations

from typing import Any, List, Mapping


def ends(failure: Mapping[str, str], arrow: str = "->") -> str:
    """Source and target, or the only end that a check has."""
    return f" {arrow} ".join(filter(None, (failure["source"], failure["target"])))


def where(cause: Mapping[str, str]) -> str:
    """Where a cause is and its fix runs: a node, or the node's underlay switch."""
    return f"the underlay of {cause['node']}" if cause.get("place") == "underlay" else str(cause["node"])


def explained(cause: Mapping[str, Any]) -> List[str]:
    """A root cause as lines: title, object, evidence, affected pairs, fix."""
    affected = str(len(cause["pairs"])) if cause["pairs"] else "none yet"
    lines = [cause.get("title") or cause["id"], f"object: {cause['object']} on {where(cause)}", *cause["evidence"]]
    return [*lines, f"affected pairs: {affected}", *(f"fix: {command}" for command in cause["fix"])]


def capital(sentence: str) -> str:
    """With a capital first letter."""
    return sentence[:1].upper() + sentence[1:]


def line(failure: Mapping[str, str]) -> str:
    """A failing check as one line, as in the terminal."""
    address = f" ({failure['address']})" if failure["address"] else ""
    return f"{ends(failure)}{address}: {failure['reason']}"
