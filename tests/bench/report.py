"""A row of the table, and the table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Row:
    """One line. ``limit`` bounds ``ours`` itself, or with ``relative`` the ratio ours / peer from above.

    With ``faster`` the ratio is peer / ours and must be at least ``limit``. ``ours`` None: not run,
    and ``note`` says why.
    """

    work: str
    bar: str
    ours: float | None = None
    peer: float | None = None
    unit: str = "s"
    limit: float | None = None
    relative: bool = False
    faster: bool = False
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """ours / peer, or peer / ours for rows that must be so many times faster."""
        if not self.ours or not self.peer:
            return None
        return self.peer / self.ours if self.faster else self.ours / self.peer

    @property
    def verdict(self) -> str:
        """met, missed, "not run", or "-" for a row without a bar."""
        value = self.ratio if self.relative or self.faster else self.ours
        if value is None or self.ours is None:
            return "not run"
        if self.limit is None:
            return "-"
        return "met" if (value >= self.limit if self.faster else value <= self.limit) else "MISSED"

    def as_json(self) -> dict[str, Any]:
        """For the file."""
        return {**asdict(self), "ratio": self.ratio, "verdict": self.verdict}


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return f"{value:.0f} {unit}" if unit in ("MB", "tasks") else f"{value:.3g} {unit}"


def table(rows: list[Row]) -> str:
    """For people."""
    cells = [["work", "podwire", "peer", "ratio", "bar", "verdict", ""]]
    for row in rows:
        ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
        ours, peer = _number(row.ours, row.unit), _number(row.peer, row.unit)
        cells.append([row.work, ours, peer, ratio, row.bar, row.verdict, " ".join(row.note.split())[:160]])
    widths = [max(len(line[column]) for line in cells) for column in range(6)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, [*widths, 0])).rstrip() for line in cells]
    return "\n".join([lines[0], "-" * (sum(widths) + 10), *lines[1:]])
