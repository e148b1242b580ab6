"""Sysctls."""

from __future__ import annotations

from ..startup_typing import TYPE_CHECKING, NamedTuple
from .kind import SYSCTLS

if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Any, List

    from .command import Command


class Sysctl(NamedTuple):
    """``key`` is the path below /proc/sys, with slashes: device names may hold dots."""

    key: str
    value: str

    def __str__(self) -> str:
        return f"sysctl {self.key} = {self.value}"

    @staticmethod
    def field() -> str:
        return "sysctls"

    def identity(self) -> Any:
        return self.key

    def rank(self) -> Any:
        return str(self)

    def batch(self, action: str) -> str:
        return SYSCTLS

    def changes_in_place(self, old: Sysctl) -> bool:
        return True

    def compared(self, old: Sysctl) -> str:
        return f" (was: {old})"

    def goes_with(self, devices: Container[str], next_hops: Container[int]) -> bool:
        """A key such as net/ipv4/conf/eth0/rp_filter does: a new device starts from defaults."""
        parts = self.key.split("/")
        return len(parts) == 5 and parts[2] in ("conf", "neigh") and parts[3] in devices

    def commands(self, action: str, old: Any) -> List[Command]:
        """sysctl(8) takes dots for slashes, so it gets the path."""
        from .command import command

        return [command("sysctl -q -w {}={}", self.key, self.value)]
