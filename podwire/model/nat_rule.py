"""Masquerading of what leaves the cluster (podwire.kernel.nftables.masquerade)."""

from __future__ import annotations

from ..startup_typing import TYPE_CHECKING, NamedTuple
from .kind import MASQUERADING
from .values import IPNetwork

if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Any, List

    from .command import Command


class NatRule(NamedTuple):
    """Masquerade packets from ``source`` unless they go to one of ``unless`` (nftables, srcnat)."""

    source: IPNetwork
    unless: tuple[IPNetwork, ...]

    def __str__(self) -> str:
        return f"masquerade {self.source} unless to {', '.join(map(str, self.unless))}"

    @staticmethod
    def field() -> str:
        return "nat_rules"

    def identity(self) -> Any:
        return self

    def rank(self) -> Any:
        return str(self)

    def batch(self, action: str) -> str:
        return MASQUERADING

    def changes_in_place(self, old: NatRule) -> bool:
        return False

    def compared(self, old: NatRule) -> str:
        return f" (was: {old})"

    def goes_with(self, devices: Container[str], next_hops: Container[int]) -> bool:
        return False

    def commands(self, action: str, old: Any) -> List[Command]:
        """None: podwire has the whole table written at once."""
        return []
