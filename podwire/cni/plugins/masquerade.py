"""ipMasq."""

from __future__ import annotations

from ...lean import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, FrozenSet

    from ...model import Rule


def rules(*_: Any) -> FrozenSet[Rule]:
    """No rules."""
    return frozenset()
