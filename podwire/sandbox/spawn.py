"""Long-lived processes, started many at once from one small interpreter.

A fresh ``python3 -I -S`` reads all requests, forks one child a request and exits. So the children
share the pages of an interpreter of a few megabytes, and keep nothing of the program that asked for
them: no descriptors, no working directory, no terminal, no memory.

Nobody is lost in a crash: a child reports that it is ready and then waits. It lives on only when the
recorder, having written it down, sends the acknowledgement; when the recorder dies first the pipe
closes and the child exits. The report's sender is named by the kernel (SCM_CREDENTIALS, unix(7)),
which translates the process id into the recorder's own PID namespace.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import struct
import sys
from contextlib import contextmanager, suppress
from typing import Any, Callable, Dict, Iterator, List, NoReturn, Sequence

from ..errors import LabError, PodwireError

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from {} import main; main()"
_CREDENTIALS = struct.Struct("iII")
_LONGEST_REPORT = 4096


@contextmanager
def spawned(module: str, label: str, requests: Sequence[Dict[str, Any]]) -> Iterator[List[int]]:
    """Start one process a request with ``module.main``; yields their process ids in request order.

    The block records them. They are acknowledged when it ends without an exception, and exit
    otherwise. ``label`` stands in their command line for people. LabError when one cannot start.
    """
    reports, their_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reports.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    orders, acknowledge = os.pipe()
    trouble, their_trouble = os.pipe()
    try:
        starter = os.posix_spawn(
            sys.executable or "/usr/bin/python3",
            ["python3", "-I", "-S", "-c", _BOOT.format(module), _ROOT, label],
            {"PATH": os.environ.get("PATH", os.defpath)},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, orders, 0),
                (os.POSIX_SPAWN_DUP2, their_end.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, their_trouble, 2),
            ],
            setsigmask=[],
        )
    finally:
        their_end.close()
        os.close(orders)
        os.close(their_trouble)
    try:
        _send(acknowledge, requests)
        pids = _gather(reports, trouble, len(requests))
        yield pids
        os.write(acknowledge, b"\n" * len(pids))
    finally:
        os.close(acknowledge)
        os.close(trouble)
        reports.close()
        os.waitpid(starter, 0)


def _send(pipe: int, requests: Sequence[Dict[str, Any]]) -> None:
    data = json.dumps(list(requests)).encode()
    data = struct.pack("=I", len(data)) + data
    with suppress(BrokenPipeError):  # the starter died; its message is read where reports are missed
        while data:
            data = data[os.write(pipe, data) :]


def _gather(reports: socket.socket, trouble: int, count: int) -> List[int]:
    pids = [0] * count
    for _ in range(count):
        report, ancillary, _flags, _address = reports.recvmsg(_LONGEST_REPORT, socket.CMSG_SPACE(_CREDENTIALS.size))
        if not report:
            lines = os.read(trouble, 65536).decode(errors="replace").strip().splitlines()
            raise LabError(f"failed to start processes: {lines[-1] if lines else 'they exited at once'}")
        index, _, error = report.decode().partition(" ")
        if error:
            raise LabError(error)
        pids[int(index)] = next(
            _CREDENTIALS.unpack(data)[0] for _level, kind, data in ancillary if kind == socket.SCM_CREDENTIALS
        )
    return pids


# The other side: what the starter and its children do.


def requests() -> List[Dict[str, Any]]:
    """In the starter: the requests. Freezes what is loaded, so that children share its pages.

    Descriptors that the program's own parent left inheritable would outlive both: they are closed.
    """
    for descriptor in sorted(map(int, os.listdir("/proc/self/fd")))[3:]:
        with suppress(OSError):  # the listing's own
            os.close(descriptor)
    size = struct.unpack("=I", _read(4))[0]
    listed: List[Dict[str, Any]] = json.loads(_read(size))
    gc.collect()
    gc.freeze()
    return listed


def _read(size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            os._exit(1)
        data += part
    return data


def child(index: int, prepare: Callable[[], Callable[[], None]]) -> NoReturn:
    """In a child: prepare, report, wait for the acknowledgement, and run what ``prepare`` returned."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.setsid()
        os.chdir("/")
        run = prepare()
    except Exception as error:
        words = error.message if isinstance(error, PodwireError) else f"{type(error).__name__}: {error}"
        os.write(1, f"{index} {words}"[:_LONGEST_REPORT].encode())
        os._exit(1)
    os.write(1, str(index).encode())
    if not os.read(0, 1):
        os._exit(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.close(nothing)
    try:
        run()
    finally:
        os._exit(1)
