"""What preflight found out about a node: one finding a check."""

from __future__ import annotations

from typing import NamedTuple

#: It will not work; it may not; nobody could look; all is well.
PROBLEM, WARNING, NOT_RUN, OK = "problem", "warning", "not run", "ok"


class Finding(NamedTuple):
    """``check`` names what was looked at, ``text`` what was seen there, ``fix`` what to do about it."""

    level: str
    check: str
    text: str
    fix: str = ""
