"""Run a plugin as a process: streams and environment in, exit status out, and no way to die without saying why."""

from __future__ import annotations

import posix
import sys

from ...startup_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Optional, TextIO

#: As os.environ has it, which costs as much as all of os.
_TEXT = ("utf-8", "surrogateescape")


class _Log:
    """stderr, to which nobody has to listen: it may be closed (print() to None would be to stdout), or full."""

    def __init__(self, stream: Optional[TextIO]) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """As far as it goes."""
        try:
            if self._stream:
                self._stream.write(text)
                self._stream.flush()
        except OSError:
            self._stream = None

    def flush(self) -> None:
        """Nothing waits."""


def launch(plugin_name: str) -> None:
    """Run one call of a plugin and end the process, without Python's own end: it takes 1 ms to free what the
    kernel frees anyway."""
    from ..skel import main

    # What was closed when the process began stands for /dev/null, opened for reading: to write the result fails.
    stdin = sys.stdin.buffer if sys.stdin else open(0, "rb", closefd=False)  # noqa: SIM115
    stdout = sys.stdout.buffer if sys.stdout else open(1, "wb", closefd=False)  # noqa: SIM115
    sys.stderr = _Log(sys.stderr)
    environ = {name.decode(*_TEXT): value.decode(*_TEXT) for name, value in posix.environ.items()}
    status = main(plugin_name, environ, stdin, stdout)
    posix._exit(status)
