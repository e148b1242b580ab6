"""Raw ICMP sockets of many namespaces in one epoll, and the measurement of path MTU with them.

A socket stays in the network namespace it was opened in (net/core/sock.c), so a namespace is entered
only to open sockets.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from contextlib import ExitStack
from typing import Callable, Dict, FrozenSet, Iterator, NamedTuple, Optional, Sequence, Set, Tuple

from ..kernel.namespace import Namespace
from . import wire

#: Echoes or connections under way at once.
WINDOW = 256
#: Seconds without any answer after which a round is over. Longer than TCP's first SYN retransmission (1 s).
PATIENCE = 1.3
#: Rounds after the first are for failures only, which so share one timeout. They end after so many that
#: mended nothing: a network that is only slow to come up, or a machine that is crowded, gets its time.
_FRUITLESS = 2
_MOST_ROUNDS = 12


class Source(NamedTuple):
    """Where probes start: a pod's namespace, or the node's own."""

    name: str
    namespace: Namespace


class Check(NamedTuple):
    """One probe: ``source`` is an index into the run's sources, ``pod`` is who must answer, ``accepted``
    are the addresses the target may see as the sender's (None: not compared)."""

    source: int
    version: int
    address: str
    port: int
    pod: str
    accepted: Optional[FrozenSet[str]]


class Problem(NamedTuple):
    """Why a check failed: ``cause`` is a word to group by, ``reason`` is for people."""

    cause: str
    reason: str


def in_rounds(count: int, once: Callable[[Sequence[int]], Dict[int, Problem]]) -> Dict[int, Problem]:
    """Call ``once`` with the numbers of all checks, then with those that failed; the problems that stay."""
    problems = once(range(count))
    fruitless = 0
    for _ in range(_MOST_ROUNDS - 1):
        if not problems or fruitless == _FRUITLESS:
            break
        before = len(problems)
        problems = once(list(problems))
        fruitless = fruitless + 1 if len(problems) == before else 0
    return problems


class Echoes:
    """The ICMP sockets of one run, two a source at most. Use as a context manager."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.run = int.from_bytes(os.urandom(4), "big")
        self.sources = sources
        self.poll = select.epoll()
        self._stack = ExitStack()
        self._sockets: Dict[Tuple[int, int], socket.socket] = {}
        self._by_fd: Dict[int, Tuple[int, socket.socket]] = {}
        self._buffer = bytearray(65536)

    def __enter__(self) -> Echoes:
        self._stack.callback(self.poll.close)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open(self, source: int, version: int) -> socket.socket:
        """The source's ICMP socket of a family, opened at first use."""
        found = self._sockets.get((source, version))
        if found is None:
            with self.sources[source].namespace.entered():
                found = wire.echo_socket(version)
            self._stack.callback(found.close)
            self._sockets[source, version] = found
            self._by_fd[found.fileno()] = version, found
            self.poll.register(found.fileno(), select.EPOLLIN)
        return found

    def send(self, check: Check, packet: bytearray) -> int:
        """Send one echo; 0 or the errno of a refusal. A full queue counts as sent and lost."""
        try:
            self.open(check.source, check.version).sendto(packet, (check.address, 0))
        except BlockingIOError:
            return 0
        except OSError as error:
            return 0 if error.errno == errno.ENOBUFS else error.errno or errno.EIO
        return 0

    def received(self, fd: int) -> Optional[Iterator[Tuple[wire.Answer, str]]]:
        """Everything that waits in an ICMP socket about our echoes, with the sender's address; None if
        ``fd`` is not one of ours."""
        known = self._by_fd.get(fd)
        return None if known is None else self._drain(*known)

    def _drain(self, version: int, raw: socket.socket) -> Iterator[Tuple[wire.Answer, str]]:
        while True:
            try:
                length, sender = raw.recvfrom_into(self._buffer)
            except BlockingIOError:
                return
            answer = wire.parse_echo(version, self.run, self._buffer, length)
            if answer is not None:
                yield answer, sender[0]


class PathMtu:
    """Whether packets of exactly ``size`` bytes pass, and those of one byte more are refused.

    Only an answer to ``size`` on the same pair makes a refusal of ``size`` + 1 count: a pair that
    answers nothing proves nothing.
    """

    def __init__(self, echoes: Echoes, checks: Sequence[Check], size: int) -> None:
        """``size``: bytes of the whole IP packet."""
        self._echoes = echoes
        self._checks = checks
        self._size = size
        self._passed: Set[int] = set()
        self._too_big: Dict[int, str] = {}
        self._exceeded: Dict[int, bool] = {}
        self._templates = {
            (version, purpose): wire.EchoTemplate(version, purpose, echoes.run, total - wire.IP_HEADER[version])
            for version in (4, 6)
            for purpose, total in ((wire.FITS, size), (wire.EXCEEDS, size + 1))
        }

    def measure(self) -> Dict[int, Problem]:
        """The numbers of the checks that failed, and why."""
        return in_rounds(len(self._checks), self._once)

    def _once(self, pending: Sequence[int]) -> Dict[int, Problem]:
        self._round(pending)
        return {number: problem for number in pending for problem in [self._problem(number)] if problem}

    def _round(self, pending: Sequence[int]) -> None:
        for start in range(0, len(pending), WINDOW):
            for number in pending[start : start + WINDOW]:
                self._send(number)
            self._receive(0)
        waiting = {number for number in pending if not self._settled(number)}
        while waiting:
            heard = self._receive(PATIENCE)
            if not heard:  # late echoes of the pass before us are not progress
                return
            waiting -= {number for number in heard if self._settled(number)}

    def _receive(self, timeout: float) -> Set[int]:
        """Note what comes within ``timeout`` seconds, at the first arrival; which checks it was about."""
        heard: Set[int] = set()
        for fd, _ in self._echoes.poll.poll(timeout):
            for answer, sender in self._echoes.received(fd) or ():
                self._note(answer, sender)
                heard.add(answer.number)
        return heard

    def _send(self, number: int) -> None:
        check = self._checks[number]
        for purpose in (wire.FITS, wire.EXCEEDS):
            refused = self._echoes.send(check, self._templates[check.version, purpose].packet(number))
            if not refused:
                continue
            if purpose == wire.EXCEEDS:
                self._exceeded.setdefault(number, False)
            elif refused == errno.EMSGSIZE:
                self._too_big[number] = "by the sender's own device"
            else:
                self._too_big[number] = f"by the sender ({os.strerror(refused)})"

    def _note(self, answer: wire.Answer, sender: str) -> None:
        if answer.purpose == wire.FITS:
            if answer.meaning == "reply":
                self._passed.add(answer.number)
            elif answer.meaning == "too-big":
                self._too_big[answer.number] = f"by {sender}, which takes {answer.mtu}"
        elif answer.purpose == wire.EXCEEDS and answer.meaning in ("reply", "too-big"):
            self._exceeded[answer.number] = answer.meaning == "reply"

    def _settled(self, number: int) -> bool:
        return (number in self._passed or number in self._too_big) and number in self._exceeded

    def _problem(self, number: int) -> Optional[Problem]:
        size = self._size
        if number not in self._passed:
            if number in self._too_big:
                return Problem("mtu smaller", f"{size} bytes refused {self._too_big[number]}")
            return Problem("mtu smaller", f"{size} bytes vanish without an ICMP error")
        if number not in self._exceeded:
            return Problem("mtu black hole", f"{size} bytes pass, {size + 1} vanish without an ICMP error")
        if self._exceeded[number]:
            return Problem("mtu larger", f"{size + 1} bytes pass too; expected {size} at most")
        return None
