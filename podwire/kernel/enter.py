"""Run a function inside a node: in a forked child that has joined all the node's namespaces."""

from __future__ import annotations

import os
import pickle
import signal
import traceback
from typing import IO, Any, Callable, List, NoReturn, Optional, Sequence, Tuple, TypeVar

from ..errors import LabError
from .isolate import mount_sysfs
from .namespaces import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    MS_PRIVATE,
    MS_REC,
    mount,
    setns,
    unshare,
)

T = TypeVar("T")

#: The mount namespace comes last: after it /proc is the node's.
_KINDS = {"uts": CLONE_NEWUTS, "ipc": CLONE_NEWIPC, "net": CLONE_NEWNET, "mnt": CLONE_NEWNS}


class RemoteError(Exception):
    """The traceback of an error inside a node, as the cause of the error raised here."""


def fork_into(pid: int, body: Callable[[], int]) -> int:
    """fork(2): the child joins all namespaces of process ``pid``, runs ``body`` and exits with its result.

    Returns the child's process id in the caller's PID namespace. A process joins a PID namespace by
    birth only, so the caller points its children there for just this fork; then /proc/self, kill(2)
    and every process id mean the same to the child as to the node's own processes.
    """
    descriptors = []
    try:
        try:
            home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
            descriptors.append(home)
            for name in ("pid", *_KINDS):
                descriptors.append(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            hint = "" if os.geteuid() == 0 else "run it by sudo"
            raise LabError(f"failed to enter the namespaces of process {pid}: {error.strerror}", hint) from error
        setns(descriptors[1], CLONE_NEWPID)
        try:
            child = os.fork()
            if child == 0:
                _live(descriptors, body)
        finally:
            setns(home, CLONE_NEWPID)
        return child
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _live(descriptors: List[int], body: Callable[[], int]) -> NoReturn:
    """The child's whole life."""
    status = 1
    try:
        for descriptor, kind in zip(descriptors[2:], _KINDS.values()):
            setns(descriptor, kind)
        for descriptor in descriptors:
            os.close(descriptor)
        status = body()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def join_pod(pid: int) -> None:
    """Join the network and host name of a pod's process; /sys, which shows the devices, is the pod's for this process
    alone."""
    for kind in ("net", "uts"):
        descriptor = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(descriptor, _KINDS[kind])
        finally:
            os.close(descriptor)
    unshare(CLONE_NEWNS)
    mount("none", "/", flags=MS_REC | MS_PRIVATE)
    mount_sysfs()


def load_libc() -> None:
    """Have what ``join_pod`` needs of libc before ``fork_into`` changes the file system that it would come from."""
    unshare(0)


def call(pid: int, function: Callable[..., T], *args: Any, hear: Optional[Callable[..., None]] = None) -> T:
    """``function(*args)`` inside the node that process ``pid`` belongs to.

    The result comes back by pickle, and an exception is raised here as it was there. LabError if the
    node is gone, or the function's own process died. With ``hear`` the function gets one more argument, to be
    called with whatever ``hear`` is to be called with here, while it runs.
    """
    read_end, write_end = os.pipe()
    answer: Any = None
    with open(read_end, "rb") as pipe:
        with open(write_end, "wb") as answers:
            tell = (_Telling(answers),) if hear is not None else ()
            child = fork_into(pid, lambda: _answer(answers, function, (*args, *tell)))
        try:
            while answer is None:
                answer = pickle.load(pipe)
                if len(answer) == 1 and hear is not None:
                    hear(*answer[0])
                    answer = None
        except EOFError:
            pass
        except BaseException:
            os.kill(child, signal.SIGKILL)
            raise
        finally:
            status = os.waitpid(child, 0)[1]
    if not answer:
        raise LabError(f"failed to run {function.__name__} in a node: its process died (status {status})")
    result: T
    result, error, trace = answer
    if error is not None:
        raise error from RemoteError(trace)
    return result


class _Telling:
    """Sends what it is called with, ahead of the answer."""

    def __init__(self, answers: IO[bytes]) -> None:
        self._answers = answers

    def __call__(self, *values: Any) -> None:
        pickle.dump((values,), self._answers)
        self._answers.flush()


def spread(function: Callable[[str], T], names: Sequence[str], workers: int = 8) -> List[T]:
    """``function`` of every name, in their order, by some forked children side by side: much of what is done in a node
    is to wait for the kernel (RCU grace periods). LabError if a child dies."""
    children = []
    for worker in range(min(workers, len(names))):
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            _share(function, names[worker::workers], write_end)
        os.close(write_end)
        children.append((child, read_end))
    shares: List[List[T]] = []
    for child, read_end in children:
        with open(read_end, "rb") as pipe:
            answer = pipe.read()
        status = os.waitpid(child, 0)[1]
        if not answer:
            raise LabError(f"failed to work in several nodes: a process died (status {status})")
        shares.append(pickle.loads(answer))
    return [shares[number % len(shares)][number // len(shares)] for number in range(len(names))]


def _share(function: Callable[[str], T], names: Sequence[str], write_end: int) -> NoReturn:
    try:
        with open(write_end, "wb") as pipe:
            pickle.dump([function(name) for name in names], pipe)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def _answer(answers: IO[bytes], function: Callable[..., Any], args: Tuple[Any, ...]) -> int:
    try:
        answer = pickle.dumps((function(*args), None, ""), pickle.HIGHEST_PROTOCOL)
    except BaseException as error:
        answer = _failure(error)
    answers.write(answer)
    answers.flush()
    return 0


def _failure(error: BaseException) -> bytes:
    trace = "\n" + traceback.format_exc()
    try:
        answer = pickle.dumps((None, error, trace))
        pickle.loads(answer)
    except Exception:  # whatever a foreign exception's own reducer may raise
        answer = pickle.dumps((None, LabError(f"{type(error).__name__}: {error}"), trace))
    return answer
