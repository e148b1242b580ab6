"""Who pinged this namespace: the sources of echo requests that carry a nonce. The kernel answers them."""

from __future__ import annotations

import socket
import struct
from array import array
from collections import OrderedDict
from contextlib import suppress
from typing import Optional, Tuple

TAG = b"podwire"
NONCE_LENGTH = 8
_ECHO_HEADER = 8
_REMEMBERED = 1 << 15  # nonces, the oldest forgotten first
_AT_ONCE = 1024  # packets heard before others get their turn
_BUFFER = 4 << 20  # bytes: a whole lab may ping at once

# linux/icmp.h, linux/icmpv6.h; a set bit blocks the type.
_SOL_RAW, _ICMP_FILTER, _ICMPV6_FILTER = 255, 1, 1
_ECHO, _ECHO6 = 8, 128
_SO_RCVBUFFORCE = 33
_SO_ATTACH_FILTER = 26
_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter, linux/filter.h


class Pings:
    """The raw sockets of a namespace, and what they heard."""

    def __init__(self) -> None:
        self._sources: OrderedDict[bytes, str] = OrderedDict()
        self.sockets: Tuple[socket.socket, ...] = (self._socket4(),)
        with suppress(OSError):  # a kernel without IPv6
            self.sockets += (self._socket6(),)

    @staticmethod
    def _socket4() -> socket.socket:
        opened = _raw(socket.AF_INET, socket.IPPROTO_ICMP)
        opened.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", 0xFFFFFFFF & ~(1 << _ECHO)))
        return opened

    @staticmethod
    def _socket6() -> socket.socket:
        opened = _raw(socket.AF_INET6, socket.IPPROTO_ICMPV6)
        blocked = [0xFFFFFFFF] * 8
        blocked[_ECHO6 // 32] &= ~(1 << _ECHO6 % 32)
        opened.setsockopt(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, struct.pack("=8I", *blocked))
        return opened

    def hear(self, ear: socket.socket) -> None:
        """Take in what has arrived on one of the sockets."""
        for _ in range(_AT_ONCE):
            try:
                packet, address = ear.recvfrom(256)
            except OSError:  # nothing more, or an error that an earlier packet left on the socket
                return
            header = (packet[0] & 15) * 4 if ear.family == socket.AF_INET else 0
            at = header + _ECHO_HEADER
            if packet[at : at + len(TAG)] == TAG:
                nonce = packet[at + len(TAG) : at + len(TAG) + NONCE_LENGTH]
                self._sources[nonce] = address[0].partition("%")[0]
                if len(self._sources) > _REMEMBERED:
                    self._sources.popitem(last=False)

    def source(self, nonce: bytes) -> Optional[str]:
        """The source of the echo request with a nonce, also if it arrived only just now."""
        if nonce not in self._sources:
            for ear in self.sockets:
                self.hear(ear)
        return self._sources.get(nonce)


def _raw(family: int, protocol: int) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
    opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    # An IPv6 socket gets packets without their IP header (rawv6_rcv).
    program = array("B", _only_tagged(header=family == socket.AF_INET))
    instructions = len(program) // _INSTRUCTION.size
    opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", instructions, program.buffer_info()[0]))
    return opened


def _only_tagged(header: bool) -> bytes:
    """A filter (classic BPF) that drops packets without the tag, so that other pings do not even wake the server."""
    word, half, byte = struct.unpack("!IHB", TAG)
    # X becomes the length of the IPv4 header, or 0.
    program = [(0xB1, 0, 0, 0) if header else (0x01, 0, 0, 0)]
    for load, at, value, to_the_end in ((0x40, 0, word, 5), (0x48, 4, half, 3), (0x50, 6, byte, 1)):
        program += [(load, 0, 0, _ECHO_HEADER + at), (0x15, 0, to_the_end, value)]
    program += [(0x06, 0, 0, 0xFFFF), (0x06, 0, 0, 0)]
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)
