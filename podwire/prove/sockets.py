"""Raw ICMP and UDP sockets of many namespaces in one epoll, and the checks made with them.

A socket stays in the network namespace it was opened in (net/core/sock.c), so a namespace is entered
only to open sockets.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from contextlib import ExitStack
from typing import Callable, Dict, FrozenSet, Iterator, NamedTuple, Optional, Sequence, Tuple, Union

from ..kernel.namespaces import Namespace
from . import packets

#: Echoes or connections in flight at once.
WINDOW = 256
#: Seconds without any answer after which a round is over. Longer than TCP's first SYN retransmission (1 s).
PATIENCE = 1.3
#: Rounds after the first retry failures, which share one timeout. They end after so many rounds without
#: progress: a network that comes up slowly, or a busy machine, gets enough time.
_FRUITLESS = 2
_MOST_ROUNDS = 12


class Source(NamedTuple):
    """Where probes start: a pod's namespace, or the node's own."""

    name: str
    namespace: Namespace


#: Bits of ``Check.protocols``.
ICMP, UDP, TCP = 1, 2, 4
ALL = ICMP | UDP | TCP


class Check(NamedTuple):
    """One probe: ``source`` is an index into the run's sources, ``pod`` is the one that must answer, ``accepted``
    are the addresses the target may see as the sender's (None: not compared)."""

    source: int
    version: int
    address: str
    port: int
    pod: str
    accepted: Optional[FrozenSet[str]]
    protocols: int = ALL


class Problem(NamedTuple):
    """Why a check failed: ``cause`` groups failures, ``reason`` is for people."""

    cause: str
    reason: str


def in_rounds(
    count: int, once: Callable[[Sequence[int]], Dict[int, Problem]], most_fruitless: Optional[int] = None
) -> Dict[int, Problem]:
    """Call ``once`` with the numbers of all checks, then with those that failed; the remaining problems."""
    problems = once(range(count))
    fruitless = 0
    for _ in range(_MOST_ROUNDS - 1):
        if not problems or fruitless == (_FRUITLESS if most_fruitless is None else most_fruitless):
            break
        before = len(problems)
        problems = once(list(problems))
        fruitless = fruitless + 1 if len(problems) == before else 0
    return problems


class Sockets:
    """The ICMP and UDP sockets of one run, two of each a source at most. Use as a context manager."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.run = int.from_bytes(os.urandom(4), "big")
        self.sources = sources
        self.poll = select.epoll()
        self._stack = ExitStack()
        self._sockets: Dict[Tuple[int, int, int], socket.socket] = {}
        self._by_fd: Dict[int, Tuple[int, socket.socket]] = {}
        self._buffer = bytearray(65536)

    def __enter__(self) -> Sockets:
        self._stack.callback(self.poll.close)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open(self, source: int, version: int, protocol: int = ICMP) -> socket.socket:
        """The source's socket of a family and protocol, opened at first use."""
        opened = self._sockets.get((source, version, protocol))
        if opened is None:
            opener = packets.echo_socket if protocol == ICMP else packets.datagram_socket
            opened = self.sources[source].namespace.call(opener, version)
            self._stack.callback(opened.close)
            self._sockets[source, version, protocol] = opened
            self._by_fd[opened.fileno()] = version if protocol == ICMP else 0, opened
            self.poll.register(opened.fileno(), select.EPOLLIN)
        return opened

    def send(self, check: Check, packet: Union[bytes, bytearray], protocol: int = ICMP) -> int:
        """Send one echo or datagram; 0 or the errno of a refusal. A full queue counts as sent and lost."""
        try:
            # A raw socket takes no port (raw_sendmsg; IPv6 refuses any but 0 and its protocol).
            port = 0 if protocol == ICMP else check.port
            self.open(check.source, check.version, protocol).sendto(packet, (check.address, port))
        except BlockingIOError:
            return 0
        except OSError as error:
            return 0 if error.errno == errno.ENOBUFS else error.errno or errno.EIO
        return 0

    def received(self, fd: int) -> Optional[Iterator[Tuple[packets.Answer, str]]]:
        """All received answers to our echoes and datagrams, with the sender's address;
        None if ``fd`` is not one of ours."""
        known = self._by_fd.get(fd)
        return None if known is None else self._drain(*known)

    def _drain(self, version: int, opened: socket.socket) -> Iterator[Tuple[packets.Answer, str]]:
        buffer, run = self._buffer, self.run
        while True:
            try:
                length, sender = opened.recvfrom_into(buffer)
            except OSError:  # nothing more, or an error that an earlier datagram came back with
                return
            if version:
                answer = packets.parse_echo(version, run, buffer, length)
            else:
                answer = packets.parse_datagram(run, memoryview(buffer)[:length])
            if answer is not None:
                yield answer, sender[0]
