"""Bulk TCP in full-sized segments, one packet each: whether a path's MTU fits connections.

Segmentation offload hides wrong MTUs: a veth pair accepts a superframe of 64 KiB whatever its MTU is. Instead of
disabling offloads on devices that others use, each segment ends with MSG_EOR, after which the kernel
collapses nothing into it (tcp_skb_can_collapse_to) and sends it as one packet.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from typing import Dict, List, Sequence

from . import packets
from .reach import FAMILY, tcp_problem
from .sockets import Check, Problem, Sockets

#: Bytes of a transfer: some forty packets, more than any first window.
LENGTH = 1 << 16
#: Seconds without progress after which a transfer has failed: three retransmissions; in a quick run two.
_STUCK, _QUICK = 1.5, 0.7
TCP_CA_STATE_LOSS = 4  # include/uapi/linux/tcp.h; the second byte of struct tcp_info


class _Transfer:
    def __init__(self, number: int, opened: socket.socket) -> None:
        self.number, self.socket = number, opened
        self.segment = 0
        self.left = LENGTH
        self.received = b""


def bulk(sockets: Sockets, checks: Sequence[Check], quick: bool = False) -> Dict[int, Problem]:
    """Send to each check's server in parallel; the numbers of the checks that failed, and why."""
    problems: Dict[int, Problem] = {}
    transfers: Dict[int, _Transfer] = {}
    poll = select.epoll()
    try:
        for number, check in enumerate(checks):
            kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
            opened = sockets.sources[check.source].namespace.call(socket.socket, FAMILY[check.version], kind)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            refused = opened.connect_ex((check.address, check.port))
            if refused not in (0, errno.EINPROGRESS):
                opened.close()
                problems[number] = tcp_problem(refused)
                continue
            transfers[opened.fileno()] = _Transfer(number, opened)
            poll.register(opened.fileno(), select.EPOLLOUT | select.EPOLLIN)
        _pump(poll, transfers, problems, _QUICK if quick else _STUCK)
        for transfer in transfers.values():
            problems[transfer.number] = _stuck(transfer)
    finally:
        for transfer in transfers.values():
            transfer.socket.close()
        poll.close()
    return problems


def _pump(poll: select.epoll, transfers: Dict[int, _Transfer], problems: Dict[int, Problem], patience: float) -> None:
    moved = time.monotonic()
    while transfers and time.monotonic() - moved < patience:
        for fd, what in poll.poll(patience):
            transfer = transfers[fd]
            before = transfer.left
            try:
                done = _advance(transfer, what)
            except OSError as error:
                problems[transfer.number] = tcp_problem(error.errno or errno.EIO)
                done = True
            if done or transfer.left != before:
                moved = time.monotonic()
            if done:
                poll.unregister(fd)
                transfers.pop(fd).socket.close()
            elif not transfer.left:
                poll.modify(fd, select.EPOLLIN)


def _advance(transfer: _Transfer, what: int) -> bool:
    """Send what can be sent; whether the server has answered."""
    if what & (select.EPOLLERR | select.EPOLLHUP):
        failed = transfer.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        raise OSError(failed, "")
    if not transfer.segment:
        transfer.segment = transfer.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        transfer.socket.send(packets.bulk_request(LENGTH), socket.MSG_EOR)
    try:
        while transfer.left and what & select.EPOLLOUT:
            transfer.left -= transfer.socket.send(bytes(min(transfer.segment, transfer.left)), socket.MSG_EOR)
        data = transfer.socket.recv(65536)
    except BlockingIOError:
        return False
    transfer.received += data
    if not data and transfer.left:
        raise OSError(errno.ECONNRESET, "")
    return not data or packets.parse_response(transfer.received) is not None


def _stuck(transfer: _Transfer) -> Problem:
    """Why a transfer does not progress, by struct tcp_info."""
    info: List[int] = list(transfer.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104))
    if not transfer.segment:
        return Problem("timeout", "no connection")
    if info[1] == TCP_CA_STATE_LOSS or info[2]:
        return Problem("mtu black hole", f"segments of {transfer.segment} bytes are retransmitted and never arrive")
    return Problem("timeout", "the server does not accept the data")
