"""A running probe: what is lost, and for how long at a stretch, while a cluster changes.

One pair of pods for each two nodes is pinged at short intervals from the pods' own namespaces. A namespace that is
replaced meanwhile is entered anew; time in which a source does not exist is its absence, and no loss.
"""

from __future__ import annotations

import os
import select
import socket
import time
from contextlib import suppress
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence

from ..errors import KernelError
from ..kernel import Namespace
from . import packets
from .expect import Pair

#: Seconds between two packets of a pair; longer where there are so many pairs that it would be a flood.
INTERVAL = 0.01
_MOST_A_SECOND = 4000
#: Seconds between looks at whether a namespace is still the same, and what the last packets get for their way.
_LOOK, _GRACE = 0.2, 0.5
_SEQUENCE_BITS = 20
_MASK = (1 << _SEQUENCE_BITS) - 1


class Seen(NamedTuple):
    """What came of a pair: packets, and seconds. ``gap`` is the longest stretch without an answer."""

    pair: Pair
    sent: int
    lost: int
    gap: float
    away: float


class _Way:
    """A pair under watch."""

    def __init__(self, pair: Pair, now: float) -> None:
        self.pair = pair
        self.socket: Optional[socket.socket] = None
        self.inode = 0
        self.sent = 0
        self.answered = 0
        self.waiting: Dict[int, float] = {}
        self.last = self.away_since = now
        self.gap = self.away = 0.0


def watch(
    pairs: Sequence[Pair], locate: Callable[[str], Optional[str]], done: Callable[[], bool], interval: float = INTERVAL
) -> List[Seen]:
    """Ping along ``pairs`` until ``done``; the worst comes first.

    ``locate`` gives the path of a pod's network namespace, or None while there is none.
    """
    interval = max(interval, len(pairs) / _MOST_A_SECOND)
    run = int.from_bytes(os.urandom(4), "big")
    now = time.monotonic()
    ways = [_Way(pair, now) for pair in pairs]
    templates = {version: packets.EchoTemplate(version, packets.PASS, run) for version in (4, 6)}
    poll = select.epoll()
    by_fd: Dict[int, _Way] = {}
    try:
        tick = look = now
        while not done():
            now = time.monotonic()
            if now >= look:
                look = now + _LOOK
                for way in ways:
                    _follow(way, locate(way.pair.source.pod), poll, by_fd, now)
            for number, way in enumerate(ways):
                _send(way, templates[way.pair.source.version], number, now)
            tick = max(tick + interval, now)
            _hear(poll, by_fd, ways, run, tick)
        _hear(poll, by_fd, ways, run, time.monotonic() + _GRACE)
        end = time.monotonic() - _GRACE
        return sorted((_seen(way, end) for way in ways), key=lambda each: (-each.gap, -each.lost))
    finally:
        for way in ways:
            if way.socket is not None:
                way.socket.close()
        poll.close()


def _follow(way: _Way, path: Optional[str], poll: select.epoll, by_fd: Dict[int, _Way], now: float) -> None:
    """Open the source's socket where there is none, or another namespace has taken the place of the old one."""
    try:
        inode = os.stat(path).st_ino if path else 0
    except OSError:
        inode = 0
    if inode == way.inode:
        return
    if way.socket is not None:
        del by_fd[way.socket.fileno()]
        way.socket.close()
        way.socket, way.away_since = None, now
        way.gap = max(way.gap, now - way.last)
    way.inode = 0
    if not inode or path is None:
        return
    try:
        with Namespace.open(path, way.pair.source.pod) as inside:
            way.socket = inside.call(packets.echo_socket, way.pair.source.version)
    except KernelError:
        return
    way.inode = inode
    way.away += now - way.away_since
    way.last = now
    way.waiting.clear()
    by_fd[way.socket.fileno()] = way
    poll.register(way.socket, select.EPOLLIN)


def _send(way: _Way, template: packets.EchoTemplate, number: int, now: float) -> None:
    if way.socket is None:
        return
    sequence = way.sent & _MASK
    way.sent += 1
    way.waiting[sequence] = now
    with suppress(OSError):  # unreachable, or a full queue: lost
        way.socket.sendto(template.packet(number << _SEQUENCE_BITS | sequence), (way.pair.target.address, 0))


def _hear(poll: select.epoll, by_fd: Dict[int, _Way], ways: Sequence[_Way], run: int, until: float) -> None:
    """Take answers until a time."""
    buffer = bytearray(2048)
    while True:
        left = until - time.monotonic()
        if left <= 0:
            return
        for descriptor, _ in poll.poll(left):
            opened = by_fd[descriptor].socket
            version = by_fd[descriptor].pair.source.version
            while opened is not None:
                try:
                    length = opened.recv_into(buffer)
                except OSError:
                    break
                answer = packets.parse_echo(version, run, buffer, length)
                if answer is not None and answer.meaning == "reply":
                    _note(ways[answer.number >> _SEQUENCE_BITS], answer.number & _MASK)


def _note(way: _Way, sequence: int) -> None:
    sent = way.waiting.pop(sequence, None)
    if sent is None:
        return
    way.answered += 1
    if sent > way.last:
        way.gap = max(way.gap, sent - way.last)
        way.last = sent


def _seen(way: _Way, end: float) -> Seen:
    away = way.away + (end - way.away_since if way.socket is None else 0.0)
    gap = way.gap if way.socket is None else max(way.gap, end - way.last)
    return Seen(way.pair, way.sent, way.sent - way.answered, gap, away)


def text(seen: Sequence[Seen]) -> str:
    """One line a pair that lost something, and one for all."""
    lines = []
    for pair, sent, lost, gap, away in seen:
        if lost or away > 1:
            where = f"{pair.source.pod} -> {pair.target.pod} ({pair.source.node} -> {pair.target.node})"
            absent = f", not running for {away:.2f} s" if away > 1 else ""
            lines.append(f"{where}: {lost} of {sent} lost, longest gap {gap:.2f} s{absent}")
    sent, lost = sum(each.sent for each in seen), sum(each.lost for each in seen)
    longest = max((each.gap for each in seen), default=0.0)
    return "\n".join([*lines, f"{lost} of {sent} packets lost on {len(seen)} pairs, longest gap {longest:.2f} s"])
