"""Path MTU: whether exactly the expected size passes, and the real size where it does not.

All packets have DF set and ignore cached path MTUs (IP_PMTUDISC_PROBE), so that a reply
to ``size`` proves ``size``. Failures share their timeouts: a search takes as long for one as for all.
"""

from __future__ import annotations

import errno
import os
import time
from typing import Dict, List, Optional, Sequence, Set, Tuple

from . import packets
from .sockets import PATIENCE, WINDOW, Check, Problem, Sockets, in_rounds

BLACK_HOLE = "mtu black hole"
#: The real MTU is searched for up to so many failing paths.
SEARCHED = 256
#: Seconds after which a size counts as lost in a search.
_LOST = 0.25
#: Patience of a quick run's rounds.
_QUICK = PATIENCE / 2
_LARGEST = 65535
#: Identifiers of a search's echoes begin here, one a round, so that late answers count for their own.
_FIRST_ROUND = 16


def search(sockets: Sockets, checks: Sequence[Check], numbers: Sequence[int], expected: int) -> Dict[int, int]:
    """The largest size that passes, in bytes, for each of ``numbers``; 0 where none does.

    Binary search (RFC 8899 §5.3), between the smallest echo and the expected size first, above it where that passes.
    """
    low = dict.fromkeys(numbers, 0)
    high = dict.fromkeys(numbers, _LARGEST + 1)
    next_size = dict.fromkeys(numbers, expected)
    round_number = 0
    while True:
        sizes = {number: next_size[number] for number in numbers if high[number] - low[number] > 1}
        if not sizes:
            return low
        passed, router_mtus = _try(sockets, checks, sizes, _FIRST_ROUND + round_number)
        round_number += 1
        for number, size in sizes.items():
            if number in passed:
                low[number] = size
            else:
                high[number] = size
            smallest = packets.SMALLEST + packets.IP_HEADER[checks[number].version]
            next_size[number] = _next(low[number], high[number], smallest, router_mtus.get(number, 0))
            if high[number] <= smallest:
                low[number], high[number] = 0, 1


def _next(low: int, high: int, smallest: int, router_mtu: int) -> int:
    """The next size: what a router reported, the smallest, just above what passed, else the middle."""
    if max(low, smallest - 1) < router_mtu < high:
        return router_mtu
    if not low:
        return smallest
    if high > _LARGEST:
        return min(max(low + 1, low * 2), _LARGEST)
    return (low + high) // 2


def _try(
    sockets: Sockets, checks: Sequence[Check], sizes: Dict[int, int], purpose: int
) -> Tuple[Set[int], Dict[int, int]]:
    """Send one size each, in parallel: which passed, and the MTU that routers reported for the others."""
    passed: Set[int] = set()
    router_mtus: Dict[int, int] = {}
    templates: Dict[Tuple[int, int], packets.EchoTemplate] = {}
    waiting: Set[int] = set()
    numbers: List[int] = list(sizes)
    for start in range(0, len(numbers), WINDOW):
        for number in numbers[start : start + WINDOW]:
            version, size = checks[number].version, sizes[number]
            if (version, size) not in templates:
                packet = size - packets.IP_HEADER[version]
                templates[version, size] = packets.EchoTemplate(version, purpose, sockets.run, packet)
            if not sockets.send(checks[number], templates[version, size].packet(number)):
                waiting.add(number)
        until = time.monotonic() + _LOST
        last = start + WINDOW >= len(numbers)
        while waiting:
            events = sockets.poll.poll(max(0.0, until - time.monotonic()) if last else 0)
            if not events:
                break
            for fd, _ in events:
                for answer, _sender in sockets.received(fd) or ():
                    if answer.purpose != purpose or answer.number not in waiting:
                        continue
                    waiting.discard(answer.number)
                    if answer.meaning == "reply":
                        passed.add(answer.number)
                    elif answer.meaning == "too-big":
                        router_mtus[answer.number] = answer.mtu
    return passed, router_mtus


class PathMtu:
    """Whether packets of exactly ``size`` bytes pass, and those of one byte more are refused.

    Only an answer to ``size`` on the same pair makes a refusal of ``size`` + 1 count: a pair
    without answers proves nothing.
    """

    def __init__(self, sockets: Sockets, checks: Sequence[Check], size: int) -> None:
        """``size``: bytes of the whole IP packet."""
        self._sockets = sockets
        self._checks = checks
        self._size = size
        self._passed: Set[int] = set()
        self._too_big: Dict[int, str] = {}
        self._exceeded: Dict[int, bool] = {}
        self._patience = PATIENCE
        self._templates = {
            (version, purpose): packets.EchoTemplate(version, purpose, sockets.run, total - packets.IP_HEADER[version])
            for version in (4, 6)
            for purpose, total in ((packets.FITS, size), (packets.EXCEEDS, size + 1))
        }

    def measure(self, quick: bool = False) -> Dict[int, Problem]:
        """The numbers of the checks that failed, and why, with the real path MTU where it could be found. ``quick``:
        fewer and shorter rounds."""
        self._patience = _QUICK if quick else PATIENCE
        problems = in_rounds(len(self._checks), self._once, 1 if quick else None)
        wrong = {number: problem for number, problem in problems.items() if problem.cause != BLACK_HOLE}
        for number, size in search(self._sockets, self._checks, list(wrong)[:SEARCHED], self._size).items():
            problem = problems[number]
            measured = f"the path MTU is {size}" if size else "packets of no size pass"
            problems[number] = problem._replace(reason=f"{problem.reason}; {measured}")
        return problems

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
            heard = self._receive(self._patience)
            if not heard:  # late echoes of the previous pass are not progress
                return
            waiting -= {number for number in heard if self._settled(number)}

    def _receive(self, timeout: float) -> Set[int]:
        """Record the first answers within ``timeout`` seconds; the checks that they belong to."""
        heard: Set[int] = set()
        for fd, _ in self._sockets.poll.poll(timeout):
            for answer, sender in self._sockets.received(fd) or ():
                self._note(answer, sender)
                heard.add(answer.number)
        return heard

    def _send(self, number: int) -> None:
        check = self._checks[number]
        for purpose in (packets.FITS, packets.EXCEEDS):
            refused = self._sockets.send(check, self._templates[check.version, purpose].packet(number))
            if not refused:
                continue
            if purpose == packets.EXCEEDS:
                self._exceeded.setdefault(number, False)
            elif refused == errno.EMSGSIZE:
                self._too_big[number] = "by the sender's own device"
            else:
                self._too_big[number] = f"by the sender ({os.strerror(refused)})"

    def _note(self, answer: packets.Answer, sender: str) -> None:
        if answer.purpose == packets.FITS:
            if answer.meaning == "reply":
                self._passed.add(answer.number)
            elif answer.meaning == "too-big":
                self._too_big[answer.number] = f"by {sender}, which reports an MTU of {answer.mtu}"
        elif answer.purpose == packets.EXCEEDS and answer.meaning in ("reply", "too-big"):
            self._exceeded[answer.number] = answer.meaning == "reply"

    def _settled(self, number: int) -> bool:
        return (number in self._passed or number in self._too_big) and number in self._exceeded

    def _problem(self, number: int) -> Optional[Problem]:
        size = self._size
        if number not in self._passed:
            if number in self._too_big:
                return Problem("mtu smaller", f"{size} bytes refused {self._too_big[number]}")
            return Problem("mtu smaller", f"{size} bytes are dropped without an ICMP error")
        if number not in self._exceeded:
            return Problem(BLACK_HOLE, f"{size} bytes pass, {size + 1} are dropped without an ICMP error")
        if self._exceeded[number]:
            return Problem("mtu larger", f"{size + 1} bytes pass too; expected {size} at most")
        return None
