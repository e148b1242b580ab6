"""Netlink, as fast as Python can: many messages a system call, replies parsed from one buffer.

Sources: RFC 3549, include/uapi/linux/netlink.h, net/netlink/af_netlink.c. ``ip -batch`` pays two
system calls an object; here a batch of messages shares one, and only the last asks for an answer:
the kernel reports every failed message by itself, with its sequence number, whatever was asked.
"""

from __future__ import annotations

import _socket  # socket itself costs a plugin's start 8 ms
import os
import struct

from ...errors import KernelError
from ...model.wire import attributes
from ...startup_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...model.wire import Message

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12
SOL_NETLINK = 270
NETLINK_EXT_ACK = 11
NETLINK_GET_STRICT_CHK = 12
NETLINK_CAP_ACK = 10
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33

NLMSG_ERROR = 2
NLMSG_DONE = 3
NLM_F_REQUEST = 1
NLM_F_ACK = 4
NLM_F_DUMP = 0x300
NLM_F_DUMP_INTR = 0x10
NLM_F_CAPPED = 0x100
NLM_F_ACK_TLVS = 0x200
NLMSGERR_ATTR_MSG = 1

#: What the kernel answers where an object is not there: ENOENT, ESRCH, ENODEV, EADDRNOTAVAIL.
ABSENT = (2, 3, 19, 99)

HEADER = struct.Struct("=IHHII")
_ERRNO = struct.Struct("=i").unpack_from
#: Bytes sent by one system call. The kernel copies it into one skb; larger buys nothing.
BATCH_BYTES = 1 << 16
_BUFFER_BYTES = 1 << 20
#: One recv takes at most one skb; dumps come in 32 KiB ones (NLMSG_GOODSIZE, netlink_recvmsg).
_RECEIVE_BYTES = 1 << 16


class NetlinkError(NamedTuple):
    """The kernel's answer to message number ``number`` of a batch. ``errno`` is positive."""

    number: int
    errno: int
    text: str


class NetlinkSocket:
    """A netlink socket of the namespace in which it is made."""

    def __init__(self, family: int) -> None:
        try:
            self._socket = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, family)
        except OSError as error:
            raise KernelError(f"failed to open a netlink socket: {error.strerror}", error.errno or 0) from error
        self._socket.bind((0, 0))
        for option in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):
            try:
                self._socket.setsockopt(_socket.SOL_SOCKET, option, _BUFFER_BYTES)
            except PermissionError:  # reading works without CAP_NET_ADMIN, in smaller bites
                break
        for option in (NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK):
            self._socket.setsockopt(SOL_NETLINK, option, 1)
        self._sequence = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def fileno(self) -> int:
        """The descriptor, for select."""
        return self._socket.fileno()

    def dump(self, kind: int, payload: bytes) -> list[tuple[int, bytes]]:
        """All answers to a dump request, as (type, payload).

        A dump that the kernel marks as interrupted (NLM_F_DUMP_INTR: the table changed between two
        of its parts) is asked for again; KernelError if that goes on ten times.
        """
        for _ in range(10):
            messages = self._dump_once(kind, payload)
            if messages is not None:
                return messages
        raise KernelError("failed to read the kernel's tables: they keep changing while they are read", 4)

    def _dump_once(self, kind: int, payload: bytes) -> list[tuple[int, bytes]] | None:
        self._sequence += 1
        sequence = self._sequence
        self._socket.send(HEADER.pack(16 + len(payload), kind, NLM_F_REQUEST | NLM_F_DUMP, sequence, 0) + payload)
        messages: list[tuple[int, bytes]] = []
        interrupted = False
        unpack = HEADER.unpack_from
        append = messages.append
        while True:
            data = self._socket.recv(_RECEIVE_BYTES)
            offset, end = 0, len(data)
            while offset < end:
                length, answer, flags, number, _ = unpack(data, offset)
                if number == sequence:
                    interrupted = interrupted or bool(flags & NLM_F_DUMP_INTR)
                    if answer in (NLMSG_DONE, NLMSG_ERROR):  # both hold an errno (netlink_dump_done)
                        errno = -_ERRNO(data, offset + 16)[0]
                        if errno > 0:
                            text = extended(data[offset : offset + length], flags, answer)
                            raise KernelError(f"failed to read the kernel's tables: {os.strerror(errno)}{text}", errno)
                        return None if interrupted else messages
                    append((answer, data[offset + 16 : offset + length]))
                offset += (length + 3) & ~3

    def get(self, kind: int, payload: bytes) -> bytes | None:
        """The one object that a request names; None if there is no such object. KernelError for other refusals."""
        try:
            return self.ask(kind, payload)
        except KernelError as error:
            if error.errno in ABSENT:
                return None
            raise

    def ask(self, kind: int, payload: bytes) -> bytes:
        """The answer to a request whose refusal says something as well: KernelError with its errno."""
        self._sequence += 1
        self._socket.send(HEADER.pack(16 + len(payload), kind, NLM_F_REQUEST, self._sequence, 0) + payload)
        while True:
            data = self._socket.recv(_RECEIVE_BYTES)
            length, answer, flags, number, _ = HEADER.unpack_from(data)
            if number == self._sequence and answer == NLMSG_ERROR:
                errno = -_ERRNO(data, 16)[0]
                text = extended(data[:length], flags)
                raise KernelError(f"failed to ask the kernel: {os.strerror(errno)}{text}", errno)
            if number == self._sequence:
                return data[16:length]

    def batch(self, messages: Sequence[Message]) -> list[NetlinkError]:
        """Send all messages in as few system calls as possible; what the kernel refused, in order.

        Messages after a refused one of the same call are executed all the same (netlink_rcv_skb):
        whoever calls this must be able to go back, which ``converge`` does by planning again.
        """
        refusals: list[NetlinkError] = []
        index = 0
        while index < len(messages):
            start = index
            parts: list[bytes] = []
            size = 0
            first = self._sequence + 1
            while index < len(messages) and size < BATCH_BYTES:
                kind, flags, payload = messages[index]
                self._sequence += 1
                index += 1
                last = index == len(messages) or size + len(payload) + 16 >= BATCH_BYTES
                parts.append(
                    HEADER.pack(
                        16 + len(payload), kind, flags | NLM_F_REQUEST | (NLM_F_ACK if last else 0), self._sequence, 0
                    )
                )
                parts.append(payload)
                size += 16 + len(payload)
            self._socket.send(b"".join(parts))
            refusals += self._answers(first, self._sequence, start)
        return refusals

    def _answers(self, first: int, last: int, start: int) -> list[NetlinkError]:
        refusals: list[NetlinkError] = []
        while True:
            data = self._socket.recv(_RECEIVE_BYTES)
            offset, end = 0, len(data)
            while offset < end:
                length, kind, flags, number, _ = HEADER.unpack_from(data, offset)
                if kind == NLMSG_ERROR and first <= number <= last:
                    errno = -_ERRNO(data, offset + 16)[0]
                    if errno:
                        text = extended(data[offset : offset + length], flags)
                        refusals.append(NetlinkError(start + number - first, errno, text))
                    if number == last:
                        return refusals
                offset += (length + 3) & ~3


def extended(message: bytes, flags: int, kind: int = NLMSG_ERROR) -> str:
    """The extended acknowledgement's text (NLMSGERR_ATTR_MSG), as ``": text"``, or nothing."""
    if not flags & NLM_F_ACK_TLVS:
        return ""
    start = 16 + 4
    if kind == NLMSG_ERROR:  # has the header of the request, and without NLM_F_CAPPED the whole of it
        start += 16
    if kind == NLMSG_ERROR and not flags & NLM_F_CAPPED:
        start += struct.unpack_from("=I", message, 20)[0] - 16
    for kind, value in attributes(message, start, len(message)):
        if kind == NLMSGERR_ATTR_MSG:
            return ": " + value.rstrip(b"\0").decode(errors="replace")
    return ""
