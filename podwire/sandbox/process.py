"""Processes that cannot be mistaken for later ones of the same number, and their end."""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress
from typing import Dict, Iterable, NamedTuple, Optional

from ..errors import LabError

_DEADLINE = 30.0  # seconds for killed processes to be gone


class Process(NamedTuple):
    """A process id as /proc shows it here, and field 22 of /proc/PID/stat, in clock ticks since boot."""

    pid: int
    start_time: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that runs now under a number; LabError if there is none."""
        started = start_time(pid)
        if started is None:
            raise LabError(f"failed to find process {pid}: it died at once")
        return cls(pid, started)

    @property
    def alive(self) -> bool:
        """Whether it still runs (a zombie does not)."""
        return start_time(self.pid) == self.start_time


def start_time(pid: int) -> Optional[int]:
    """When a process started; None if there is none, or only a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def kill(processes: Iterable[Process]) -> None:
    """SIGKILL, and wait until they are gone, a PID namespace's first process with all that lived in it.

    Those that are gone already are left out; a stranger under an old number is never hit. LabError
    if one does not die.
    """
    waiting: Dict[int, Process] = {}
    poll = select.poll()
    try:
        for process in processes:
            try:
                descriptor = os.pidfd_open(process.pid)
            except ProcessLookupError:
                continue
            waiting[descriptor] = process
            if process.alive:  # asked after the descriptor holds on to whoever it is
                with suppress(ProcessLookupError):  # it may die on its own right now
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                poll.register(descriptor, select.POLLIN)
            else:
                os.close(descriptor)
                del waiting[descriptor]
        deadline = time.monotonic() + _DEADLINE
        while waiting:
            gone = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
            if not gone:
                pids = ", ".join(str(process.pid) for process in waiting.values())
                raise LabError(f"failed to end processes {pids}: they still run after {_DEADLINE:.0f} s")
            for descriptor, _ in gone:
                poll.unregister(descriptor)
                os.close(descriptor)
                del waiting[descriptor]
    finally:
        for descriptor in waiting:
            os.close(descriptor)


def pids_inside(holders: Iterable[int]) -> Dict[int, Dict[int, int]]:
    """For each process that is PID 1 of a PID namespace: process ids as seen inside to those seen here.

    From the last NSpid of /proc/PID/status, proc_pid_status(5); one pass over /proc for all.
    """
    spaces = {}
    for holder in holders:
        with suppress(OSError):
            spaces[os.readlink(f"/proc/{holder}/ns/pid")] = holder
    pids: Dict[int, Dict[int, int]] = {holder: {} for holder in spaces.values()}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with suppress(OSError):  # gone, or not to be looked at even by root: no process of a lab
            holder_there = spaces.get(os.readlink(f"/proc/{name}/ns/pid"))
            if holder_there is not None:
                with open(f"/proc/{name}/status", encoding="utf-8") as status:
                    numbers = next(line for line in status if line.startswith("NSpid:"))
                pids[holder_there][int(numbers.split()[-1])] = int(name)
    return pids
