"""All pairs in flight at once: an ICMP echo, a UDP datagram and an HTTP request each, in one thread with one epoll.

No check pays for another's timeout: whatever is open when nothing has arrived for ``PATIENCE`` is
retried together.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import socket
import struct
import time
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Set, Tuple

from ..errors import ProofError
from . import packets
from .sockets import ICMP, PATIENCE, TCP, UDP, WINDOW, Check, Problem, Sockets, in_rounds

#: Seconds without an answer after which the next window is opened although the current one is not finished.
_STALL = 0.05
#: Longest round of a quick run after its last packet was sent, as a multiple of its patience.
_QUICK = 1.5
_SPARE_FDS = 64
_RESET = struct.pack("ii", 1, 0)
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_NO_ANSWER = Problem("timeout", "no answer")
_NAMES = {ICMP: "ICMP", TCP: "TCP", UDP: "UDP"}
_STEPS = 8

Progress = Callable[[int, int], None]
"""Called with the number of checks started and the number of all checks."""


class _Connection:
    """An open TCP connection."""

    __slots__ = ("number", "socket", "sent", "received")

    def __init__(self, number: int, opened: socket.socket) -> None:
        self.number = number
        self.socket = opened
        self.sent = False
        self.received = b""


class Reach:
    """One pass over all checks. After ``run``, ``unanswered`` has the checks whose echo was not answered."""

    def __init__(self, sockets: Sockets, checks: Sequence[Check], tell: Optional[Progress] = None) -> None:
        self._sockets = sockets
        self._poll = sockets.poll
        self._checks = checks
        self._progress = tell
        self._templates = {
            (version, purpose): packets.EchoTemplate(version, purpose, sockets.run)
            for version in (4, 6)
            for purpose in (packets.REACH, packets.PASS)
        }
        self._most = _open_files() - 5 * len(sockets.sources)
        self._window = min(WINDOW, self._most)
        if self._window < 16:
            raise ProofError(
                f"failed to probe from {len(sockets.sources)} pods: too few open files allowed",
                "raise the limit: ulimit -n",
            )
        self._open: Dict[int, _Connection] = {}
        #: Of this round: protocols without an answer yet, problems and unexpected source addresses by protocol,
        #: and checks whose echo the target did not see.
        self._in_flight: Dict[int, int] = {}
        self._problems: Dict[int, Dict[int, Problem]] = {}
        self._wrong_sources: Dict[int, Dict[int, str]] = {}
        self._unseen_echoes: Set[int] = set()
        self._reported: Dict[Tuple[int, int], Problem] = {}
        self.unanswered: Set[int] = set()
        self._quick, self._patience, self._longest = False, PATIENCE, float("inf")

    def run(self, quick: bool = False) -> Dict[int, Problem]:
        """The numbers of the checks that failed, and why. ``quick``: fewer rounds, the later ones with less patience,
        and with a time limit: a sender into a closed tunnel gets an ICMP error for each packet, one after the other."""
        self._quick = quick
        return in_rounds(len(self._checks), self._once, 1 if quick else None)

    def _once(self, pending: Sequence[int]) -> Dict[int, Problem]:
        if self._quick:
            self._longest = _QUICK * self._patience
        self._round(pending)
        if self._quick:
            self._patience = PATIENCE / 2
        self.unanswered = {number for number, problems in self._problems.items() if ICMP in problems}
        suspect = self._problems.keys() | self._wrong_sources.keys() | self._unseen_echoes
        return {number: problem for number in sorted(suspect) for problem in [self._problem(number)] if problem}

    def _round(self, pending: Sequence[int]) -> None:
        self._in_flight, self._problems, self._wrong_sources, self._unseen_echoes = {}, {}, {}, set()
        in_flight = self._in_flight
        launched, limit = 0, self._window
        quiet_since = launched_at = time.monotonic()
        while launched < len(pending) or in_flight:
            room = limit - len(in_flight)
            if launched < len(pending) and room >= self._window // _STEPS:
                launched, launched_at = self._launch(pending, launched, room), time.monotonic()
                if self._progress is not None:
                    self._progress(launched, len(pending))
            events = self._poll.poll(_STALL)
            if events:
                quiet_since = time.monotonic()
                self._handle(events)
            elif launched < len(pending):
                limit = min(len(in_flight) + self._window, self._most)
                if limit - len(in_flight) < self._window // _STEPS:
                    self._give_up()
            elif time.monotonic() - quiet_since > self._patience:
                break
            if launched == len(pending) and time.monotonic() - launched_at > self._longest:
                break
        self._give_up()

    def _launch(self, pending: Sequence[int], start: int, room: int) -> int:
        """Start as many checks of one source as there is room for; the index of the next check."""
        source = self._checks[pending[start]].source
        end = start
        while end < len(pending) and end - start < room and self._checks[pending[end]].source == source:
            end += 1
        self._sockets.sources[source].namespace.call(self._start_all, pending[start:end])
        return end

    def _start_all(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._start(number, self._checks[number])

    def _start(self, number: int, check: Check) -> None:
        self._in_flight[number] = check.protocols
        for protocol in (ICMP, UDP):
            if check.protocols & protocol:
                if protocol == ICMP:
                    # Only over UDP or TCP does the server report the source of the echo.
                    purpose = packets.REACH if check.protocols & ~ICMP else packets.PASS
                    packet: Any = self._templates[check.version, purpose].packet(number)
                else:
                    packet = packets.datagram(self._sockets.run, number)
                refused = self._sockets.send(check, packet, protocol)
                if refused:
                    self._fail(number, protocol, Problem("unreachable", os.strerror(refused).lower()))
        if check.protocols & TCP:
            self._connect(number, check)

    def _connect(self, number: int, check: Check) -> None:
        opened = socket.socket(FAMILY[check.version], socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        # Two packets fewer of seven: the request travels with the handshake's last ACK (a socket not in
        # quick-ACK mode keeps that for data, tcp_rcv_synsent_state_process), and a reset ends it all.
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        refused = opened.connect_ex((check.address, check.port))
        if refused not in (0, errno.EINPROGRESS):
            opened.close()
            self._fail(number, TCP, tcp_problem(refused))
            return
        self._open[opened.fileno()] = _Connection(number, opened)
        self._poll.register(opened.fileno(), select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)

    def _handle(self, events: Sequence[Any]) -> None:
        for fd, what in events:
            connection = self._open.get(fd)
            if connection is not None:
                self._advance(fd, connection, what)
                continue
            for answer, sender in self._sockets.received(fd) or ():
                if answer.purpose in (packets.REACH, packets.PASS):
                    self._note(ICMP, answer, sender)
                elif answer.purpose == packets.DATAGRAM:
                    self._note(UDP, answer, sender)

    def _answered(self, number: int, protocol: int) -> bool:
        """Record that a protocol was answered; False if it had been answered before."""
        waiting_for = self._in_flight.get(number, 0)
        if not waiting_for & protocol:
            return False
        if waiting_for == protocol:
            del self._in_flight[number]
        else:
            self._in_flight[number] = waiting_for ^ protocol
        return True

    def _fail(self, number: int, protocol: int, problem: Problem) -> None:
        if self._answered(number, protocol):
            self._problems.setdefault(number, {})[protocol] = problem

    def _note(self, protocol: int, answer: packets.Answer, sender: str) -> None:
        number = answer.number
        if answer.meaning == "reply":
            if not self._answered(number, protocol):
                return
            if sender != self._checks[number].address:
                self._problems.setdefault(number, {})[protocol] = Problem("nat", f"answered from {sender} (NAT)")
            elif protocol == UDP:
                pod, client, echoed = answer.payload
                self._compare(number, UDP, pod, client, None if echoed == "-" else echoed)
        elif answer.meaning == "expired":
            self._fail(number, protocol, Problem("loop", f"hop limit exceeded at {sender}: a routing loop"))
        elif answer.meaning == "refused":
            self._fail(number, protocol, Problem("refused", "refused"))
        else:
            self._fail(number, protocol, Problem("unreachable", f"unreachable, reported by {sender}"))

    def _advance(self, fd: int, connection: _Connection, what: int) -> None:
        number = connection.number
        try:
            if not connection.sent:
                if what & (select.EPOLLERR | select.EPOLLHUP):
                    failed = connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    raise OSError(failed, os.strerror(failed))
                connection.socket.send(packets.request(self._sockets.run, number))
                connection.sent = True
            if not what & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                return
            data = connection.socket.recv(65536)
            connection.received += data
            answer = packets.parse_response(connection.received)
            if answer is None:
                if data:
                    return
                self._fail(number, TCP, Problem("no answer", "connects, but is closed without an answer"))
            elif self._answered(number, TCP):
                pod, client = str(answer.get("pod")), str(answer.get("client"))
                self._compare(number, TCP, pod, client, answer.get("icmp"))
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(number, TCP, tcp_problem(error.errno or errno.EIO))
        except ValueError as error:
            self._fail(number, TCP, Problem("identity", f"answered by something else: {error}"))
        self._close(fd, connection)

    def _close(self, fd: int, connection: _Connection) -> None:
        del self._open[fd]
        connection.socket.close()

    def _give_up(self) -> None:
        """Fail everything that is not answered."""
        for fd, connection in list(self._open.items()):
            if connection.sent:
                self._fail(connection.number, TCP, Problem("timeout", "connects, but no HTTP response arrives"))
            self._close(fd, connection)
        for number, protocols in list(self._in_flight.items()):
            for protocol in _NAMES:
                if protocols & protocol:
                    self._fail(number, protocol, _NO_ANSWER)

    def _compare(self, number: int, protocol: int, pod: str, client: str, echoed: Optional[str]) -> None:
        """Compare a server's answer with the check: the pod that answered, and the source address that it saw."""
        check = self._checks[number]
        if pod != check.pod:
            self._problems.setdefault(number, {})[protocol] = Problem("identity", f"answered by {pod}")
            return
        if check.protocols & ICMP and echoed is None:
            self._unseen_echoes.add(number)
        else:
            self._unseen_echoes.discard(number)
        if check.accepted is None:
            return
        for observer, source in ((protocol, client), (ICMP, echoed)):
            if source is not None and source not in check.accepted:
                self._wrong_sources.setdefault(number, {})[observer] = source

    def _problem(self, number: int) -> Optional[Problem]:
        problems = {
            protocol: self._remembered(number, protocol, problem)
            for protocol, problem in self._problems.get(number, {}).items()
        }
        if number in self._unseen_echoes and ICMP not in problems:
            problems[ICMP] = Problem("identity", "answered, but not by the pod")
        wrong = self._wrong_sources.get(number)
        if wrong:
            return self._nat(number, wrong, problems)
        if not problems:
            return None
        causes = {problem.cause for problem in problems.values()}
        cause = next((cause for cause in _PRIORITY if cause in causes), "timeout")
        reasons: Dict[str, list[str]] = {}
        for protocol in _NAMES:
            if protocol in problems:
                reasons.setdefault(problems[protocol].reason, []).append(_NAMES[protocol])
        if len(reasons) == 1 and len(problems) > 1:
            ((reason, protocols),) = reasons.items()
            return Problem(cause, f"{reason} ({', '.join(protocols)})")
        return Problem(cause, ", ".join(f"{'/'.join(names)} {reason}" for reason, names in reasons.items()))

    def _nat(self, number: int, wrong: Mapping[int, str], problems: Mapping[int, Problem]) -> Problem:
        check = self._checks[number]
        everywhere = not check.protocols & ~sum(wrong) and len(set(wrong.values())) == 1
        by = "" if everywhere else f" by {'/'.join(name for protocol, name in _NAMES.items() if protocol in wrong)}"
        as_what = " and ".join(dict.fromkeys(wrong.values()))
        expected = " or ".join(sorted(check.accepted or ()))
        rest = "".join(
            f"; {_NAMES[protocol]} {problem.reason}" for protocol, problem in problems.items() if protocol not in wrong
        )
        return Problem("nat", f"seen{by} as {as_what} instead of {expected} (NAT){rest}")

    def _remembered(self, number: int, protocol: int, problem: Problem) -> Problem:
        """This round's problem, or if there was no answer, an earlier round's ICMP error: nodes limit their rate of
        ICMP errors (net.ipv4.icmp_ratelimit)."""
        if problem is not _NO_ANSWER:
            self._reported[number, protocol] = problem
            return problem
        return self._reported.get((number, protocol), problem)


#: Of several causes the most specific is reported: the first in this order.
_PRIORITY = ("nat", "identity", "loop", "unreachable", "refused", "no answer", "failed")


def tcp_problem(code: int) -> Problem:
    """What an errno of a connection means."""
    if code == errno.ECONNREFUSED:
        return Problem("refused", "refused")
    if code == errno.ETIMEDOUT:
        return _NO_ANSWER
    if code in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return Problem("unreachable", os.strerror(code).lower())
    return Problem("failed", os.strerror(code).lower())


def _open_files() -> int:
    """Raise the soft limit of open files to the hard one; how many more may be opened."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    limit: int = 1 << 20 if hard == resource.RLIM_INFINITY else hard
    return limit - len(os.listdir("/proc/self/fd")) - _SPARE_FDS
