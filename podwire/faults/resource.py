"""Resources: parts of a node that a State does not hold, each with a value that can be read and written.

A resource's value is plain JSON, None for nothing there. Writing is idempotent, so that a repair may be repeated: a
resource that has the value already is left alone by ``engine``. Files belong to the node, whatever their namespace.
"""

from __future__ import annotations

from typing import Any, Protocol, Sequence

from ..errors import FaultError, KernelError
from ..kernel import Namespace, commands


class Resource(Protocol):
    """What all resources can do."""

    def read(self, namespace: Namespace) -> Any:
        """The value now."""

    def write(self, namespace: Namespace, value: Any) -> None:
        """Give it a value. FaultError."""

    def describe(self, value: Any) -> str:
        """``resource: value`` for people."""


def run(namespace: Namespace, command: Sequence[str], stdin: str = "") -> str:
    """A command's standard output, run in a network namespace. FaultError if it fails or is not there."""
    try:
        return commands.run(namespace, command, stdin)
    except KernelError as error:
        raise FaultError(error.message) from None
