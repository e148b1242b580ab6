"""Rules of nftables for single attachments (podwire.kernel.nftables.rules)."""

from __future__ import annotations

from ..startup_typing import TYPE_CHECKING, NamedTuple
from .kind import NFT_RULES

if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Any, List

    from .command import Command


class Chain(NamedTuple):
    """A chain of an nftables table of ours. One without ``hook`` is only jumped to."""

    family: str
    table: str
    name: str
    type: str = ""
    hook: int | None = None
    priority: int = 0


class Rule(NamedTuple):
    """A rule of an nftables chain for one attachment. ``owner`` begins its comment, and is how it is found again.

    ``text`` is the rule as nft shows it, ``expressions`` are what the kernel gets (NFTA_RULE_EXPRESSIONS).
    """

    chain: Chain
    owner: str
    comment: str
    text: str
    expressions: bytes

    def __str__(self) -> str:
        return f"nftables {self.chain.family} {self.chain.table} {self.chain.name}: {self.text}"

    @staticmethod
    def field() -> str:
        return "rules"

    def identity(self) -> Any:
        return self

    def rank(self) -> Any:
        return str(self), self.comment, self.expressions  # those of two attachments may read alike

    def batch(self, action: str) -> str:
        return NFT_RULES

    def changes_in_place(self, old: Rule) -> bool:
        return False

    def compared(self, old: Rule) -> str:
        return f" (was: {old})"

    def goes_with(self, devices: Container[str], next_hops: Container[int]) -> bool:
        return False

    def commands(self, action: str, old: Any) -> List[Command]:
        """None: a runtime that attaches the pod anew makes them."""
        return []
