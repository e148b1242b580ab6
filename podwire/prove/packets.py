"""The format of probe packets: ICMP echo (RFC 792, RFC 4443) and one HTTP request. Pure.

An echo's payload is a tag of 7 bytes and a nonce of 8, then zeros. The nonce is the prober's run (4
bytes) and the number of the check (4 bytes), so an answer, or the copy of our packet inside an ICMP
error, leads straight to its check without a table. Pods' servers remember who sent ``podwire`` echoes;
echoes that need no memory carry another tag, so that servers are not even woken.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any, Dict, NamedTuple, Optional, Sequence, Union

from ..sandbox.pings import TAG

SIZE_TAG = b"podwmtu"
NONCE = struct.Struct("!II")
_NONCE_AT = 8 + len(TAG)
_ENOUGH = _NONCE_AT + NONCE.size
#: Bytes of the IP header, by version; an echo header is 8 more.
IP_HEADER = {4: 20, 6: 40}
ECHO_HEADER = 8
SMALLEST = _ENOUGH

#: What an echo is for; stands in the last bits of its identifier. The others are the run's, so that none belongs to an
#: earlier run's connection: conntrack keeps one for 30 s, with a translation whose rule is gone.
REACH, FITS, EXCEEDS, DATAGRAM, PASS = 1, 2, 3, 4, 5
_PURPOSES = 63

# linux/in.h, linux/in6.h, linux/icmp.h, linux/icmpv6.h: not in the socket module of Python 3.9.
IP_MTU_DISCOVER = 10
IPV6_MTU_DISCOVER = 23
PMTUDISC_PROBE = 3
IPV6_DONTFRAG = 62
SO_RCVBUFFORCE = 33
_SOL_RAW, _ICMP_FILTER = 255, 1
_ICMPV6_FILTER = 1

_REQUEST = {4: 8, 6: 128}
#: ICMP type -> meaning, by IP version.
_MEANING = {
    4: {0: "reply", 3: "unreachable", 11: "expired"},
    6: {129: "reply", 1: "unreachable", 2: "too-big", 3: "expired"},
}
_FRAGMENTATION_NEEDED = 4
_ICMP_PROTOCOL = {4: 1, 6: 58}
_UDP_PROTOCOL = 17
_PORT_UNREACHABLE = {4: 3, 6: 4}


class Answer(NamedTuple):
    """What a packet means for one of our echoes or datagrams: ``reply``, ``unreachable``, ``refused`` (a
    closed port), ``too-big`` or ``expired``. ``mtu`` is the next hop's, in bytes, if a too-big has it,
    else 0; ``payload`` is a server's answer to a datagram: pod, our address, and the echo's source or ``-``."""

    meaning: str
    purpose: int
    number: int
    mtu: int = 0
    payload: Sequence[str] = ()


class EchoTemplate:
    """Makes echo requests of one family, purpose and size; only nonce and checksum change."""

    def __init__(self, version: int, purpose: int, run: int, size: int = SMALLEST) -> None:
        """``size``: bytes of ICMP header and payload; raises ValueError if the nonce does not fit."""
        if size < SMALLEST:
            raise ValueError(f"an echo of {size} bytes has no room for its nonce")
        tag = TAG if purpose == REACH else SIZE_TAG
        self._packet = bytearray(size)
        struct.pack_into("!BBHHH", self._packet, 0, _REQUEST[version], 0, 0, _identifier(run, purpose), 0)
        self._packet[ECHO_HEADER:_NONCE_AT] = tag
        NONCE.pack_into(self._packet, _NONCE_AT, run, 0)
        # The kernel fills in ICMPv6 checksums itself (RFC 3542 §3.1): they cover addresses.
        self._sum = checksum_part(self._packet) if version == 4 else None
        self._run = run

    def packet(self, number: int) -> bytearray:
        """The echo of a check. The buffer is reused by the next call."""
        packet = self._packet
        NONCE.pack_into(packet, _NONCE_AT, self._run, number)
        if self._sum is not None:
            # The number stands at an odd offset: its first byte is the low half of a 16-bit word.
            total = self._sum + (number >> 24) + (number >> 8 & 0xFF00) + (number >> 8 & 0xFF) + ((number & 0xFF) << 8)
            total = (total & 0xFFFF) + (total >> 16)
            total = (total & 0xFFFF) + (total >> 16)
            packet[2] = ~total >> 8 & 0xFF
            packet[3] = ~total & 0xFF
        return packet


def checksum_part(data: Union[bytes, bytearray]) -> int:
    """The 16-bit one's complement sum of RFC 1071, before it is inverted."""
    padded = bytes(data) + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def parse_echo(version: int, run: int, data: Union[bytearray, memoryview], length: int) -> Optional[Answer]:
    """Read what a raw ICMP socket received: with IP header for IPv4, without for IPv6.

    None for anything that is not about an echo of this run: other processes' ICMP arrives here too.
    """
    at = (data[0] & 15) * 4 if version == 4 and length else 0
    if length < at + ECHO_HEADER:
        return None
    meaning = _MEANING[version].get(data[at])
    if meaning is None:
        return None
    if meaning == "reply":
        return _ours(run, data, at, length, meaning, 0)
    mtu = 0
    if version == 4 and meaning == "unreachable" and data[at + 1] == _FRAGMENTATION_NEEDED:
        meaning = "too-big"
        mtu = data[at + 6] << 8 | data[at + 7]  # RFC 1191 §4
    elif meaning == "too-big":
        mtu = int.from_bytes(data[at + 4 : at + 8], "big")
    inner = at + ECHO_HEADER
    if length < inner + IP_HEADER[version]:
        return None
    if version == 4:
        protocol, icmp = data[inner + 9], inner + (data[inner] & 15) * 4
    else:
        protocol, icmp = data[inner + 6], inner + 40
    if protocol == _UDP_PROTOCOL:
        if meaning == "unreachable" and data[at + 1] == _PORT_UNREACHABLE[version]:
            meaning = "refused"
        answer = _ours(run, data, icmp, length, meaning, mtu)
        return answer and answer._replace(purpose=DATAGRAM)
    if protocol != _ICMP_PROTOCOL[version] or length <= icmp or data[icmp] != _REQUEST[version]:
        return None
    return _ours(run, data, icmp, length, meaning, mtu)


def _ours(
    run: int, data: Union[bytearray, memoryview], at: int, length: int, meaning: str, mtu: int
) -> Optional[Answer]:
    if length < at + _ENOUGH or bytes(data[at + ECHO_HEADER : at + _NONCE_AT]) not in (TAG, SIZE_TAG):
        return None
    packet_run, number = NONCE.unpack_from(data, at + _NONCE_AT)
    if packet_run != run:
        return None
    return Answer(meaning, data[at + 5] & _PURPOSES, number, mtu)


def _identifier(run: int, purpose: int) -> int:
    return run << 6 & 0xFFFF | purpose


def datagram(run: int, number: int) -> bytes:
    """The UDP datagram of a check. Its nonce is the echo's, so that the server can report both."""
    return TAG + NONCE.pack(run, number)


def parse_datagram(run: int, data: Union[bytes, bytearray, memoryview]) -> Optional[Answer]:
    """A server's answer to a datagram of this run; None for anything else."""
    head = len(TAG) + NONCE.size
    if len(data) < head or bytes(data[: len(TAG)]) != TAG:
        return None
    packet_run, number = NONCE.unpack_from(data, len(TAG))
    payload = bytes(data[head:]).decode("ascii", "replace").split(" ")
    return Answer("reply", DATAGRAM, number, 0, payload) if packet_run == run and len(payload) == 3 else None


def datagram_socket(version: int) -> socket.socket:
    """A non-blocking UDP socket in the caller's network namespace, with a buffer for the answers of a window."""
    opened = socket.socket(
        socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    )
    opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 21)
    return opened


def echo_socket(version: int) -> socket.socket:
    """A raw, non-blocking ICMP socket in the caller's network namespace. It sends with DF at any size
    up to the device's MTU, ignoring cached path MTUs (IP_PMTUDISC_PROBE), and receives replies and errors."""
    if version == 4:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
        raw.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE)
        refused = 0xFFFFFFFF & ~sum(1 << kind for kind in _MEANING[4])
        raw.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", refused))
    else:
        raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6)
        raw.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)
        raw.setsockopt(socket.IPPROTO_IPV6, IPV6_DONTFRAG, 1)
        words = [0xFFFFFFFF] * 8
        for kind in _MEANING[6]:
            words[kind >> 5] &= ~(1 << (kind & 31)) & 0xFFFFFFFF
        raw.setsockopt(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, struct.pack("=8I", *words))
    raw.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 21)
    return raw


def request(run: int, number: int) -> bytes:
    """The HTTP request of a check; its nonce is the same as the echo's."""
    return b"GET /?nonce=%08x%08x HTTP/1.0\r\nHost: pod\r\n\r\n" % (run, number)


def bulk_request(length: int) -> bytes:
    """The head of an HTTP request whose body of ``length`` bytes the server discards before it answers."""
    return b"POST / HTTP/1.0\r\nHost: pod\r\nContent-Length: %d\r\n\r\n" % length


def parse_response(data: bytes) -> Optional[Dict[str, Any]]:
    """The JSON object a pod answered; None while it is incomplete. ValueError if it is not from one of our servers."""
    head, separator, body = data.partition(b"\r\n\r\n")
    if not data.startswith(b"HTTP/1."[: len(data)]) or len(data) > 65536:
        raise ValueError("the response is not HTTP")
    if not separator:
        return None
    status, _, fields = head.partition(b"\r\n")
    if status[9:12] != b"200":
        raise ValueError(f"the response is {status.decode('latin-1')!r}")
    lengths = [line[15:] for line in fields.split(b"\r\n") if line[:15].lower() == b"content-length:"]
    if not lengths:
        raise ValueError("the response has no Content-Length")
    if len(body) < int(lengths[0]):
        return None
    answer = json.loads(body)
    if not isinstance(answer, dict):
        raise ValueError("the response is not a JSON object")
    return answer
