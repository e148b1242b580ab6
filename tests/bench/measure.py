"""Run whole processes in throw-away rooms and say what they cost."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
import traceback
from statistics import median
from typing import Any, Callable, Iterable, NamedTuple, Sequence, TypeVar

from podwire.kernel.namespaces import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    MS_BIND,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    mount,
    unshare,
)

T = TypeVar("T")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_MS_REMOUNT = 32


class Sample(NamedTuple):
    """One finished process with all its children: wall and CPU seconds, peak resident memory in MB."""

    wall: float
    cpu: float
    memory: float


class NotRun(Exception):
    """A side could not be measured; the reason goes into the table."""


def middle(samples: Iterable[Sample]) -> Sample:
    """The median of each column."""
    return Sample(*(median(column) for column in zip(*samples)))


def measured(*command: str, stdin: str = os.devnull, environment: dict[str, str] | None = None) -> Sample:
    """Run a command to its end. NotRun with its last words if it fails.

    Memory: Linux hands ru_maxrss of the image that called exec on to the new one, so this process
    has to be, and is, smaller than what it measures.
    """
    with open(stdin) as given, open("/run/out", "w+") as said:
        began = time.perf_counter()
        child = subprocess.Popen(
            command,
            stdin=given,
            stdout=said,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
        )
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            said.seek(0)
            raise NotRun(f"{' '.join(command[:4])} failed: {said.read()[-1500:].strip()}")
    return Sample(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def python(*arguments: str) -> Sample:
    """Measure this interpreter on a module or script of the repository."""
    return measured(sys.executable, *arguments, environment={"PYTHONPATH": ROOT})


def run(*command: str, stdin: str = "") -> str:
    """Set-up that is not measured; its output."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        raise NotRun(f"{' '.join(command[:6])} failed: {done.stderr.strip()[-500:]}")
    return done.stdout


def in_room(function: Callable[..., T], *arguments: Any) -> T:
    """``function(*arguments)`` in network, mount, PID, UTS and IPC namespaces of its own.

    /run is empty, /etc and /var/lib are written to memory, and all processes left behind end with it.
    """
    return _forked(lambda: _enter_room(function, arguments))


def apart(function: Callable[..., T], *arguments: Any) -> T:
    """``function(*arguments)`` in a child process, so that its memory is not this one's."""
    return _forked(lambda: function(*arguments))


def _enter_room(function: Callable[..., T], arguments: Sequence[Any]) -> T:
    unshare(CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC)
    return _forked(lambda: _furnish(function, arguments))


def _furnish(function: Callable[..., T], arguments: Sequence[Any]) -> T:
    mount("none", "/", flags=MS_REC | MS_PRIVATE)
    mount("proc", "/proc", "proc")
    for path in ("/proc/sys/fs", "/proc/sys/kernel", "/proc/sys/vm"):  # the whole machine's
        mount(path, path, flags=MS_BIND)
        mount("none", path, flags=_MS_REMOUNT | MS_BIND | MS_RDONLY)
    mount("tmpfs", "/run", "tmpfs")
    for target in ("/etc", "/var/lib"):
        layer = "/run/layer" + target
        os.makedirs(layer + "/upper")
        os.makedirs(layer + "/work")
        options = f"lowerdir={target},upperdir={layer}/upper,workdir={layer}/work"
        mount("overlay", target, "overlay", data=options)
    for path in ("/run/netns", "/run/lock"):
        os.mkdir(path)
    mount("sysfs", "/sys", "sysfs")
    run("ip", "link", "set", "lo", "up")
    return function(*arguments)


def _forked(body: Callable[[], T]) -> T:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _answer(writer, body)
    os.close(writer)
    try:
        with open(reader, "rb") as pipe:
            answer = pipe.read()
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.waitpid(child, 0)
    result, error = pickle.loads(answer) if answer else (None, NotRun("the room's first process died"))
    if error is not None:
        raise error
    value: T = result
    return value


def _answer(writer: int, body: Callable[[], Any]) -> None:
    try:
        answer = pickle.dumps((body(), None))
    except NotRun as error:
        answer = pickle.dumps((None, error))
    except BaseException:
        answer = pickle.dumps((None, NotRun(traceback.format_exc()[-1500:])))
    with open(writer, "wb") as pipe:
        pipe.write(answer)
    os._exit(0)
