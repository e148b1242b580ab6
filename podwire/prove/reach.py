"""All pairs in flight at once: an ICMP echo and an HTTP request each, in one thread with one epoll.

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
from typing import Any, Dict, Mapping, Optional, Sequence, Set, Tuple

from ..errors import ProofError
from . import wire
from .echoes import PATIENCE, WINDOW, Check, Echoes, Problem, in_rounds

#: Seconds without an answer after which the next window is opened beside the one that does not move.
_STALL = 0.05
_SPARE_FDS = 64
_RESET = struct.pack("ii", 1, 0)
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_SILENT = Problem("timeout", "no answer")


class _Connection:
    """A TCP connection under way."""

    __slots__ = ("number", "socket", "sent", "received")

    def __init__(self, number: int, opened: socket.socket) -> None:
        self.number = number
        self.socket = opened
        self.sent = False
        self.received = b""


class Reach:
    """One pass over all checks. After ``run``, ``unanswered`` holds the checks whose echo nobody answered."""

    def __init__(self, echoes: Echoes, checks: Sequence[Check]) -> None:
        self._echoes = echoes
        self._poll = echoes.poll
        self._checks = checks
        self._templates = {version: wire.EchoTemplate(version, wire.REACH, echoes.run) for version in (4, 6)}
        self._most = _open_files() - 3 * len(echoes.sources)
        self._window = min(WINDOW, self._most)
        if self._window < 16:
            raise ProofError(
                f"failed to probe from {len(echoes.sources)} pods: too few open files allowed",
                "raise the limit: ulimit -n",
            )
        self._open: Dict[int, _Connection] = {}
        self._echo: Dict[int, Problem] = {}
        self._tcp: Dict[int, Problem] = {}
        self._unseen: Set[int] = set()
        self._said: Dict[Tuple[int, str], Problem] = {}
        self.unanswered: Set[int] = set()

    def run(self) -> Dict[int, Problem]:
        """The numbers of the checks that failed, and why."""
        return in_rounds(len(self._checks), self._once)

    def _once(self, pending: Sequence[int]) -> Dict[int, Problem]:
        self._round(pending)
        self.unanswered = set(self._echo)
        return {number: found for number in pending for found in [self._problem(number)] if found}

    def _round(self, pending: Sequence[int]) -> None:
        self._echo, self._tcp, self._unseen = {}, {}, set()
        waiting: Set[int] = set()
        self._waiting = waiting
        launched, limit = 0, self._window
        quiet_since = time.monotonic()
        while launched < len(pending) or waiting or self._open:
            room = limit - len(self._open)
            if launched < len(pending) and room >= self._window // 2:
                launched = self._launch(pending, launched, room)
            events = self._poll.poll(_STALL)
            if events:
                quiet_since = time.monotonic()
                self._handle(events)
            elif launched < len(pending):
                limit = min(len(self._open) + self._window, self._most)
                if limit - len(self._open) < self._window // 2:
                    self._give_up_connections()
            elif time.monotonic() - quiet_since > PATIENCE:
                break
        self._give_up_connections()
        for number in waiting:
            self._echo.setdefault(number, _SILENT)
        waiting.clear()

    def _launch(self, pending: Sequence[int], start: int, room: int) -> int:
        """Start checks of one source, as many as there is room for; where the next begins."""
        source = self._checks[pending[start]].source
        end = start
        with self._echoes.sources[source].namespace.entered():
            while end < len(pending) and end - start < room:
                number = pending[end]
                check = self._checks[number]
                if check.source != source:
                    break
                self._start(number, check)
                end += 1
        return end

    def _start(self, number: int, check: Check) -> None:
        refused = self._echoes.send(check, self._templates[check.version].packet(number))
        if refused:
            self._echo[number] = Problem("unreachable", os.strerror(refused).lower())
        else:
            self._waiting.add(number)
        opened = socket.socket(_FAMILY[check.version], socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        # Two packets fewer of seven: the request travels with the handshake's last ACK (a socket not in
        # quick-ACK mode keeps that for data, tcp_rcv_synsent_state_process), and a reset ends it all.
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        refused = opened.connect_ex((check.address, check.port))
        if refused not in (0, errno.EINPROGRESS):
            opened.close()
            self._tcp[number] = _tcp_problem(refused)
            return
        self._open[opened.fileno()] = _Connection(number, opened)
        self._poll.register(opened.fileno(), select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)

    def _handle(self, events: Sequence[Any]) -> None:
        for fd, what in events:
            connection = self._open.get(fd)
            if connection is not None:
                self._advance(fd, connection, what)
                continue
            for answer, sender in self._echoes.received(fd) or ():
                if answer.purpose == wire.REACH:
                    self._note(answer, sender)

    def _note(self, answer: wire.Answer, sender: str) -> None:
        if answer.number not in self._waiting:
            return
        self._waiting.discard(answer.number)
        if answer.meaning == "expired":
            self._echo[answer.number] = Problem("loop", f"hop limit exceeded at {sender}: a routing loop")
        elif answer.meaning != "reply":
            self._echo[answer.number] = Problem("unreachable", f"unreachable, says {sender}")
        elif sender != self._checks[answer.number].address:
            self._echo[answer.number] = Problem("nat", f"answered from {sender} (NAT)")

    def _advance(self, fd: int, connection: _Connection, what: int) -> None:
        number = connection.number
        try:
            if not connection.sent:
                if what & (select.EPOLLERR | select.EPOLLHUP):
                    failed = connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    raise OSError(failed, os.strerror(failed))
                connection.socket.send(wire.request(self._echoes.run, number))
                connection.sent = True
            if not what & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                return
            data = connection.socket.recv(65536)
            connection.received += data
            answer = wire.parse_response(connection.received)
            if answer is None:
                if data:
                    return
                self._tcp[number] = Problem("no answer", "TCP connects, but is closed without an answer")
            else:
                self._compare(number, answer)
        except BlockingIOError:
            return
        except OSError as error:
            self._tcp[number] = _tcp_problem(error.errno or errno.EIO)
        except ValueError as error:
            self._tcp[number] = Problem("identity", f"answered by something else: {error}")
        self._close(fd, connection)

    def _close(self, fd: int, connection: _Connection) -> None:
        del self._open[fd]
        connection.socket.close()

    def _give_up_connections(self) -> None:
        for fd, connection in list(self._open.items()):
            mute = Problem("timeout", "connects, but no HTTP answer comes")
            self._tcp[connection.number] = mute if connection.sent else _SILENT
            self._close(fd, connection)

    def _compare(self, number: int, answer: Mapping[str, Any]) -> None:
        check = self._checks[number]
        if answer.get("pod") != check.pod:
            self._tcp[number] = Problem("identity", f"answered by {answer.get('pod')} on {answer.get('node')}")
            return
        client, echoed = answer.get("client"), answer.get("icmp")
        if echoed is None:
            self._unseen.add(number)
        if check.accepted is None:
            return
        wrong = {"TCP": client, "ICMP": echoed}
        seen = {protocol: at for protocol, at in wrong.items() if at is not None and at not in check.accepted}
        if not seen:
            return
        by = "" if len(set(seen.values())) == 1 and (len(seen) == 2 or echoed is None) else f" by {'/'.join(seen)}"
        as_what = " and ".join(dict.fromkeys(map(str, seen.values())))
        expected = " or ".join(sorted(check.accepted))
        self._tcp[number] = Problem("nat", f"seen{by} as {as_what} instead of {expected} (NAT)")

    def _problem(self, number: int) -> Optional[Problem]:
        echo, tcp = self._telling(number, "ICMP", self._echo), self._telling(number, "TCP", self._tcp)
        if echo is None and number in self._unseen:
            echo = Problem("identity", "answered, but not by the pod")
        if tcp is None:
            return None if echo is None else Problem(echo.cause, f"ICMP {echo.reason}")
        if tcp.cause in ("nat", "identity"):
            return Problem(tcp.cause, tcp.reason + (f"; ICMP {echo.reason}" if echo else ""))
        if echo is None:
            return Problem(tcp.cause, f"TCP {tcp.reason}")
        if echo == tcp == _SILENT:
            return Problem("timeout", "no answer (ICMP, TCP)")
        return Problem(tcp.cause if echo is _SILENT else echo.cause, f"ICMP {echo.reason}, TCP {tcp.reason}")

    def _telling(self, number: int, protocol: str, now: Mapping[int, Problem]) -> Optional[Problem]:
        """This round's problem, or what an earlier round was told where this one heard nothing: nodes limit how
        often they explain themselves (net.ipv4.icmp_ratelimit)."""
        problem = now.get(number)
        if problem is None or problem is not _SILENT:
            if problem is not None:
                self._said[number, protocol] = problem
            return problem
        return self._said.get((number, protocol), problem)


def _tcp_problem(code: int) -> Problem:
    if code == errno.ECONNREFUSED:
        return Problem("refused", "refused")
    if code == errno.ETIMEDOUT:
        return _SILENT
    if code in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return Problem("unreachable", os.strerror(code).lower())
    return Problem("failed", os.strerror(code).lower())


def _open_files() -> int:
    """Raise the soft limit of open files to the hard one; how many more may be opened."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    limit: int = 1 << 20 if hard == resource.RLIM_INFINITY else hard
    return limit - len(os.listdir("/proc/self/fd")) - _SPARE_FDS
