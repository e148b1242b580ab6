"""A failing check in words, the same in every output."""

from __future__ import annotations

from typing import Any, List, Mapping


def ends(failure: Mapping[str, str], arrow: str = "->") -> str:
    """Who to whom; the one that is named where a check has only one end."""
    return f" {arrow} ".join(filter(None, (failure["source"], failure["target"])))


def where(cause: Mapping[str, str]) -> str:
    """Where a cause is, and where its fix is run: a node, or the switch below one."""
    return f"the underlay of {cause['node']}" if cause.get("place") == "underlay" else str(cause["node"])


def explained(cause: Mapping[str, Any]) -> List[str]:
    """A root cause in lines: what, the evidence, whom it hurts, what mends it."""
    hurt = str(len(cause["pairs"])) if cause["pairs"] else "none yet"
    lines = [cause.get("title") or cause["id"], f"object: {cause['object']} on {where(cause)}", *cause["evidence"]]
    return [*lines, f"affected pairs: {hurt}", *(f"fix: {each}" for each in cause["fix"])]


def capital(sentence: str) -> str:
    """As it begins a line."""
    return sentence[:1].upper() + sentence[1:]


def line(failure: Mapping[str, str]) -> str:
    """The whole of it, as the terminal shows it."""
    address = f" ({failure['address']})" if failure["address"] else ""
    return f"{ends(failure)}{address}: {failure['reason']}"
