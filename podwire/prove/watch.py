"""Packet loss, and the longest gap, while a cluster changes.

One pair of pods for every two nodes is pinged at short intervals from the pods' namespaces. A namespace that is
replaced meanwhile is entered again; time without a source counts as its absence, not as loss.
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

#: Seconds between two packets of a pair; longer if there are many pairs, which limits the total rate.
INTERVAL = 0.01
_MOST_A_SECOND = 4000
#: Seconds between checks whether a namespace is still the same, and seconds that the last packets have to arrive.
_LOOK, _GRACE = 0.2, 0.5
_SEQUENCE_BITS = 20
_MASK = (1 << _SEQUENCE_BITS) - 1


class PairLoss(NamedTuple):
    """Packets and seconds of a pair. ``gap``: the longest time without an answer; ``away``: time without a source."""

    pair: Pair
    sent: int
    lost: int
    gap: float
    away: float


class _Probe:
    """The state of one pair."""

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
) -> List[PairLoss]:
    """Ping along ``pairs`` until ``done``; the worst comes first.

    ``locate`` gives the path of a pod's network namespace, or None while there is none.
    """
    interval = max(interval, len(pairs) / _MOST_A_SECOND)
    run = int.from_bytes(os.urandom(4), "big")
    now = time.monotonic()
    probes = [_Probe(pair, now) for pair in pairs]
    templates = {version: packets.EchoTemplate(version, packets.PASS, run) for version in (4, 6)}
    poll = select.epoll()
    by_fd: Dict[int, _Probe] = {}
    try:
        tick = look = now
        while not done():
            now = time.monotonic()
            if now >= look:
                look = now + _LOOK
                for probe in probes:
                    _follow(probe, locate(probe.pair.source.pod), poll, by_fd, now)
            for number, probe in enumerate(probes):
                _send(probe, templates[probe.pair.source.version], number, now)
            tick = max(tick + interval, now)
            _receive(poll, by_fd, probes, run, tick)
        _receive(poll, by_fd, probes, run, time.monotonic() + _GRACE)
        end = time.monotonic() - _GRACE
        return sorted((_loss(probe, end) for probe in probes), key=lambda loss: (-loss.gap, -loss.lost))
    finally:
        for probe in probes:
            if probe.socket is not None:
                probe.socket.close()
        poll.close()


def _follow(probe: _Probe, path: Optional[str], poll: select.epoll, by_fd: Dict[int, _Probe], now: float) -> None:
    """Open the source's socket if there is none, or if its namespace was replaced."""
    try:
        inode = os.stat(path).st_ino if path else 0
    except OSError:
        inode = 0
    if inode == probe.inode:
        return
    if probe.socket is not None:
        del by_fd[probe.socket.fileno()]
        probe.socket.close()
        probe.socket, probe.away_since = None, now
        probe.gap = max(probe.gap, now - probe.last)
    probe.inode = 0
    if not inode or path is None:
        return
    try:
        with Namespace.open(path, probe.pair.source.pod) as inside:
            probe.socket = inside.call(packets.echo_socket, probe.pair.source.version)
    except KernelError:
        return
    probe.inode = inode
    probe.away += now - probe.away_since
    probe.last = now
    probe.waiting.clear()
    by_fd[probe.socket.fileno()] = probe
    poll.register(probe.socket, select.EPOLLIN)


def _send(probe: _Probe, template: packets.EchoTemplate, number: int, now: float) -> None:
    if probe.socket is None:
        return
    sequence = probe.sent & _MASK
    probe.sent += 1
    probe.waiting[sequence] = now
    with suppress(OSError):  # unreachable, or a full queue: lost
        probe.socket.sendto(template.packet(number << _SEQUENCE_BITS | sequence), (probe.pair.target.address, 0))


def _receive(poll: select.epoll, by_fd: Dict[int, _Probe], probes: Sequence[_Probe], run: int, until: float) -> None:
    """Read answers until a time."""
    buffer = bytearray(2048)
    while True:
        remaining = until - time.monotonic()
        if remaining <= 0:
            return
        for descriptor, _ in poll.poll(remaining):
            opened = by_fd[descriptor].socket
            version = by_fd[descriptor].pair.source.version
            while opened is not None:
                try:
                    length = opened.recv_into(buffer)
                except OSError:
                    break
                answer = packets.parse_echo(version, run, buffer, length)
                if answer is not None and answer.meaning == "reply":
                    _note(probes[answer.number >> _SEQUENCE_BITS], answer.number & _MASK)


def _note(probe: _Probe, sequence: int) -> None:
    sent = probe.waiting.pop(sequence, None)
    if sent is None:
        return
    probe.answered += 1
    if sent > probe.last:
        probe.gap = max(probe.gap, sent - probe.last)
        probe.last = sent


def _loss(probe: _Probe, end: float) -> PairLoss:
    away = probe.away + (end - probe.away_since if probe.socket is None else 0.0)
    gap = probe.gap if probe.socket is None else max(probe.gap, end - probe.last)
    return PairLoss(probe.pair, probe.sent, probe.sent - probe.answered, gap, away)


def text(losses: Sequence[PairLoss]) -> str:
    """One line for each pair with losses, and one for all."""
    lines = []
    for pair, sent, lost, gap, away in losses:
        if lost or away > 1:
            where = f"{pair.source.pod} -> {pair.target.pod} ({pair.source.node} -> {pair.target.node})"
            absent = f", not running for {away:.2f} s" if away > 1 else ""
            lines.append(f"{where}: {lost} of {sent} lost, longest gap {gap:.2f} s{absent}")
    sent, lost = sum(loss.sent for loss in losses), sum(loss.lost for loss in losses)
    longest = max((loss.gap for loss in losses), default=0.0)
    return "\n".join([*lines, f"{lost} of {sent} packets lost on {len(losses)} pairs, longest gap {longest:.2f} s"])
