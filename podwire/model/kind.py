"""What objects of every kind say of themselves. A kind is one module, with the class of its values (see objects.py).

A kind that netlink makes also encodes and decodes its messages (``NetlinkKind``): podwire.kernel
knows none of them by itself.
"""

from __future__ import annotations

from ..startup_typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence
    from typing import Any, List, Optional

    from .command import Command
    from .wire import Index, Message, Names

ADD = "add"
CHANGE = "change"
REMOVE = "remove"

#: How an operation is done. Consecutive ones of one sort and namespace are one batch.
DEVICES = "devices"
STACKED_DEVICES = "devices on devices"
REMOVED_DEVICES = "removed devices"
NETLINK = "netlink"
SYSCTLS = "sysctls"
MASQUERADING = "masquerading"
NFT_RULES = "nftables rules"
IPTABLES = "iptables"
FILES = "files"


class Kind(Protocol):
    """An object of the model. ``str`` is what people read of it."""

    @staticmethod
    def field() -> str:
        """The field of State that holds objects of this kind."""

    def identity(self) -> Any:
        """The part of it under which the kernel holds one of its kind."""

    def rank(self) -> Any:
        """What objects of its kind are sorted by in a plan, so that one difference always gives one plan."""

    def batch(self, action: str) -> str:
        """How an operation on it is done, such as NETLINK."""

    def changes_in_place(self, old: Any) -> bool:
        """Whether the kernel can make it of ``old``, which has its identity, in one step."""

    def compared(self, old: Any) -> str:
        """What a plan's line says of the object that it takes the place of."""

    def goes_with(self, devices: Container[str], next_hops: Container[int]) -> bool:
        """Whether the kernel removes it together with these devices and next-hop objects."""

    def commands(self, action: str, old: Any) -> List[Command]:
        """An operation as a person would type it; none for what only podwire itself makes."""


class NetlinkKind(Kind, Protocol):
    """An object that rtnetlink's messages make."""

    def messages(self, action: str, old: Any, index: Index, namespaces: Mapping[str, int]) -> Sequence[Message]:
        """The messages of an operation. ``namespaces``: descriptors by name, for veth peers."""

    def request(self, index: Index) -> Optional[tuple[int, bytes]]:
        """(type, payload) that asks for just this object; None where the kernel has no such request."""

    @staticmethod
    def decode(payload: bytes, names: Names) -> Any:
        """The object of a dumped message; None for one that podwire does not deal with."""

    def feature(self) -> str:
        """What a kernel lacks that does not support it."""
