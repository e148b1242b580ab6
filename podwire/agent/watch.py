"""``podwire apply --watch``: converge when the kernel says that something changed, and sleep otherwise.

::

    netlink notification ──> quiet for 0.1 s ──> podwire apply, in a process of its own ──> rest

The watching process holds no more than sockets: what it starts has all of podwire, and gives its memory back.
Notifications of podwire's own changes cannot be told from others' (devices carry no sender), so an apply that
changed something is followed by one that looks; when that has nothing to do, all is quiet. What was broken on purpose
is not repaired by the agent: as long as there is a fault of this boot in the journal, the watch rests.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

from ..boot import boot_id
from ..kernel.monitor import Monitor, indices_with_alias
from ..model.objects import BACKEND_ALIAS, FAULT_JOURNAL
from ..startup_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Callable, FrozenSet, List, NoReturn, Optional

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_BOOT = "import os, sys; sys.path.insert(0, os.path.realpath(sys.argv[1])); from {} import {} as f; sys.exit(f())"
#: Seconds: changes come in flocks, and the flock is waited for, but not for ever.
QUIET, PATIENCE = 0.1, 1.0
#: The second apply in a row that changed nothing, and each further one, is followed by so many times its own length
#: without any: whatever others do to the node, looking at it takes about a tenth of a CPU at most.
REST = 9
#: Seconds until an apply that failed is tried again, though nothing changed: doubled each time up to the last.
RETRY, LONGEST_RETRY = 1.0, 60.0
#: Exit status of a child that changed something.
CHANGED = 10
#: Exit status of one that failed.
TRY_AGAIN = 1


def start() -> NoReturn:
    """Become the watching process: a bare interpreter, without what the command line needs."""
    from .unit import root

    os.execv(sys.executable, _command("watch", root(_ROOT), "apply --watch"))


def once() -> int:
    """The child: one apply, printed line by line."""
    from ..errors import PodwireError
    from .apply import apply

    try:
        lines = apply()
    except PodwireError as error:
        print(f"podwire: {error}", file=sys.stderr)
        return TRY_AGAIN
    for line in lines:
        print(line)
    return CHANGED if lines else 0


def watch() -> int:
    """Until SIGTERM or SIGINT; what is under way is brought to its end."""
    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(woken)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    kernel = Monitor()
    poll = select.poll()
    for descriptor in (wake, *(socket.fileno() for socket in kernel.sockets)):
        poll.register(descriptor, select.POLLIN)
    pace = Debouncer(time.monotonic)
    devices = _devices()
    is_ready = resting = False
    while True:
        ready = {fd for fd, _ in poll.poll(pace.wait())}
        if wake in ready:
            return 0
        if ready and kernel.drain(devices):
            pace.heard()
        if pace.due():
            pace.begin()
            if is_ready and _is_broken():
                if not resting:
                    print("podwire: resting: faults were injected here; mend.yml undoes them", flush=True)
                resting = True
                pace.end(TRY_AGAIN)
                continue
            resting = False
            status = os.waitstatus_to_exitcode(os.waitpid(_spawn(), 0)[1])
            pace.end(status)
            devices = _devices()
            if not is_ready:
                is_ready = True
                _tell_systemd()
                print("podwire: watching", flush=True)


class Debouncer:
    """When to apply: at once at the start, after a flock of notifications, and after a failure again."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._due: Optional[float] = clock()
        self._first: Optional[float] = None
        self._rested = self._began = clock()
        self._retry = RETRY
        self._idle = False

    def wait(self) -> Optional[int]:
        """Milliseconds for poll(2) to wait for notifications; None for ever."""
        return None if self._due is None else max(0, int((self._due - self._clock()) * 1000) + 1)

    def heard(self) -> None:
        """Something changed."""
        now = self._clock()
        if self._first is None:
            self._first = now
        self._due = max(self._rested, min(now + QUIET, self._first + PATIENCE))

    def due(self) -> bool:
        """Whether it is time."""
        return self._due is not None and self._clock() >= self._due

    def begin(self) -> None:
        """An apply begins: it sees whatever was heard before."""
        self._first = self._due = None
        self._began = self._clock()

    def end(self, status: int) -> None:
        """It ended, with the child's exit status."""
        now = self._clock()
        self._rested = now + (REST * (now - self._began) if self._idle and status != CHANGED else 0)
        self._idle = status != CHANGED
        if status in (0, CHANGED):
            self._retry = RETRY
        else:
            self._due, self._retry = now + self._retry, min(self._retry * 2, LONGEST_RETRY)


def _spawn() -> int:
    # Out of the terminal's process group: Ctrl-C is for the watching process, and an apply is brought to its end.
    return os.posix_spawn(
        sys.executable, _command("once", sys.argv[1], "apply"), os.environ, setpgroup=0, setsigmask=[]
    )


def _command(function: str, root: str, title: str) -> List[str]:
    """An interpreter that runs one function of this file; ``title`` is for people who list processes."""
    return [sys.executable, "-I", "-S", "-c", _BOOT.format(__name__, function), root, f"podwire {title}"]


def _devices() -> FrozenSet[int]:
    """The ifindexes of the backend's devices."""
    return indices_with_alias(BACKEND_ALIAS)


def _is_broken() -> bool:
    """Whether the journal of faults has one that a boot since has not undone already."""
    try:
        names = [name for name in os.listdir(FAULT_JOURNAL) if name.endswith(".json")]
        for name in names:
            with open(os.path.join(FAULT_JOURNAL, name), encoding="utf-8", errors="replace") as file:
                if boot_id() in file.read():
                    return True
    except FileNotFoundError:  # never broken, or repaired at this moment
        pass
    return False


def _tell_systemd() -> None:
    """sd_notify(3): the first apply is done."""
    where = os.environ.get("NOTIFY_SOCKET")
    if where:
        import _socket

        socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        socket.sendto(b"READY=1", "\0" + where[1:] if where[0] == "@" else where)
        socket.close()
