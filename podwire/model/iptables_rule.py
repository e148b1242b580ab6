"""Rules of iptables for single attachments (podwire.kernel.iptables)."""

from __future__ import annotations

from ..startup_typing import TYPE_CHECKING, NamedTuple
from .kind import IPTABLES

if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Any, List

    from .command import Command


class IptablesRule(NamedTuple):
    """A rule of iptables' nat table; without ``words``, the whole chain, which is empty by then.

    words:   what stands behind ``-A CHAIN``, as iptables-save has it.
    owner:   the chain of the attachment that it is for; "" if all attachments share it.
    order:   among rules of its chain. Negative: before those that are there already, else behind them.
    free:    whether some words are the user's own, which iptables-save may write otherwise.
    flavour: ``nft`` or ``legacy`` tables; "" for those of the command ``iptables``.
    """

    version: int
    chain: str
    words: tuple[str, ...]
    owner: str = ""
    order: int = 0
    free: bool = False
    flavour: str = ""

    def __str__(self) -> str:
        command = {4: "iptables", 6: "ip6tables"}[self.version]
        return " ".join([f"{command} nat {self.chain}:", *self.words]).rstrip(":")

    @staticmethod
    def field() -> str:
        return "iptables"

    def identity(self) -> Any:
        return self

    def rank(self) -> Any:
        return self.version, self.chain, self.order, self.words

    def batch(self, action: str) -> str:
        return IPTABLES

    def changes_in_place(self, old: IptablesRule) -> bool:
        return False

    def compared(self, old: IptablesRule) -> str:
        return f" (was: {old})"

    def goes_with(self, devices: Container[str], next_hops: Container[int]) -> bool:
        return False

    def commands(self, action: str, old: Any) -> List[Command]:
        """None: a runtime that attaches the pod anew makes them."""
        return []
