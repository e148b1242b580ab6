"""A failing check in words, the same in every output."""

from __future__ import annotations

from typing import Mapping


def ends(failure: Mapping[str, str], arrow: str = "->") -> str:
    """Who to whom; the one that is named where a check has only one end."""
    return f" {arrow} ".join(filter(None, (failure["source"], failure["target"])))


def line(failure: Mapping[str, str]) -> str:
    """The whole of it, as the terminal shows it."""
    address = f" ({failure['address']})" if failure["address"] else ""
    return f"{ends(failure)}{address}: {failure['reason']}"
