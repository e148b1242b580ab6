"""Execute a plugin as a runtime does, and judge the form of its answer."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from contextlib import suppress
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from .case import Failed, Hung

#: A plugin that takes longer hangs.
TIMEOUT_S = 20.0
_SHOWN = 1500


class Reply(NamedTuple):
    """What one execution gave."""

    program: str
    environment: Mapping[str, str]
    stdin: bytes
    status: int
    stdout: bytes
    stderr: bytes
    seconds: float

    @property
    def command(self) -> str:
        return self.environment.get("CNI_COMMAND", "")

    def document(self) -> Dict[str, Any]:
        """The one JSON object on stdout. Failed for anything else."""
        try:
            found = json.loads(self.stdout)
        except ValueError as error:
            raise Failed(
                f"one JSON document on stdout of {self.command}", f"{_short(self.stdout)!r} ({error})"
            ) from error
        if not isinstance(found, dict):
            raise Failed(f"a JSON object on stdout of {self.command}", f"{_short(self.stdout)!r}")
        return found

    def succeeded(self) -> Reply:
        """Itself, if the exit status is 0."""
        if self.status:
            raise Failed(f"{self.command} succeeds (exit status 0)", self.summary())
        return self

    def silent(self) -> Reply:
        """Itself, if it succeeded with nothing on stdout."""
        if self.succeeded().stdout.strip():
            raise Failed(f"nothing on stdout of {self.command}", f"{_short(self.stdout)!r}")
        return self

    def refused(self, *codes: int, mentions: Sequence[str] = ()) -> Dict[str, Any]:
        """The error result, if it failed in the form of the specification, with one of the codes if any are given."""
        if not self.status:
            raise Failed(f"{self.command} fails (exit status not 0)", self.summary())
        if self.status < 0 or self.status > 125:
            raise Failed(f"{self.command} fails with an error result", self.summary())
        error = self.document()
        code, message = error.get("code"), error.get("msg")
        if not isinstance(code, int) or isinstance(code, bool) or code <= 0 or not isinstance(message, str):
            raise Failed('an error result with a number "code" and a string "msg"', self.summary())
        if codes and code not in codes:
            raise Failed(f"error code {' or '.join(map(str, codes))}", f"code {code}: {message}")
        for word in mentions:
            if word not in f"{message} {error.get('details', '')}":
                raise Failed(f"an error message that names {word}", f"code {code}: {message}")
        return error

    def summary(self) -> str:
        """For people: exit status and the beginning of what was printed."""
        parts = [f"exit status {self.status}"]
        for name, data in (("stdout", self.stdout), ("stderr", self.stderr)):
            if data.strip():
                parts.append(f"{name} {' '.join(_short(data).split())}")
        return ", ".join(parts)

    def shell(self) -> str:
        """A command line that does it again."""
        words = [shlex.quote(f"{key}={value}") for key, value in sorted(self.environment.items()) if key != "PATH"]
        return f"env -i {' '.join(words)} {self.program} <<< {shlex.quote(_short(self.stdin))}"


def _short(data: bytes) -> str:
    text = data.decode(errors="replace")
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


class Running(NamedTuple):
    """An execution that has begun."""

    process: subprocess.Popen[bytes]
    program: str
    environment: Dict[str, str]
    stdin: bytes
    started: float

    def feed(self) -> None:
        """Write stdin and close it, without waiting for an answer."""
        assert self.process.stdin
        with suppress(BrokenPipeError):
            self.process.stdin.write(self.stdin)
            self.process.stdin.close()
        self.process.stdin = None

    def reply(self) -> Reply:
        """Wait for the end. Failed when it hangs: it is killed then."""
        try:
            stdout, stderr = self.process.communicate(self.stdin, TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)  # a shell's child holds its pipes
            with self.process:
                pass
            command = self.environment.get("CNI_COMMAND", "")
            raise Hung(f"{command} ends within {TIMEOUT_S:g} s", "it still ran and was killed") from None
        seconds = time.monotonic() - self.started
        return Reply(self.program, self.environment, self.stdin, self.process.returncode, stdout, stderr, seconds)


def begin(program: str, environment: Mapping[str, Optional[str]], stdin: bytes, directory: str = "/") -> Running:
    """Execute; variables that are None are not set."""
    kept = {key: value for key, value in environment.items() if value is not None}
    started = time.monotonic()
    try:
        process = subprocess.Popen(
            [program],
            env=kept,
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise Failed(f"{os.path.basename(program)} can be executed", f"{error.strerror}") from error
    return Running(process, program, kept, stdin, started)


def begin_all(jobs: Sequence[Running]) -> List[Reply]:
    """Feed all at once, so that they run side by side, and wait for all."""
    for job in jobs:
        job.feed()
    return [job.reply() for job in jobs]
