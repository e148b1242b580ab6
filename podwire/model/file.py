"""Files of a node that belong to its network state."""

from __future__ import annotations

from ..startup_typing import TYPE_CHECKING, NamedTuple
from .kind import FILES, REMOVE

if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Any, List

    from .command import Command


class File(NamedTuple):
    """A file that belongs to the node's network state, written whole by temp file and rename."""

    path: str
    content: str
    mode: int = 0o644

    def __str__(self) -> str:
        return f"file {self.path} mode {self.mode:04o}"

    @staticmethod
    def field() -> str:
        return "files"

    def identity(self) -> Any:
        return self.path

    def rank(self) -> Any:
        return str(self)

    def batch(self, action: str) -> str:
        return FILES

    def changes_in_place(self, old: File) -> bool:
        return True

    def compared(self, old: File) -> str:
        """Nothing: a content has many lines."""
        return ""

    def goes_with(self, devices: Container[str], next_hops: Container[int]) -> bool:
        return False

    def commands(self, action: str, old: Any) -> List[Command]:
        from .command import command, write_file

        return [command("rm {}", self.path)] if action == REMOVE else write_file(self.path, self.content, self.mode)
