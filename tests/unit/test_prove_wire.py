"""The prober's packets and requests, byte by byte."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.prove import packets

RUN = 0xDEADBEEF
numbers = st.integers(0, 2**32 - 1)
versions = st.sampled_from((4, 6))
purposes = st.sampled_from((packets.REACH, packets.FITS, packets.EXCEEDS))


def as_reply(version: int, echo: bytes) -> bytes:
    """The echo as its answer arrives: behind an IPv4 header with options, or bare for IPv6."""
    kind = {4: 0, 6: 129}[version]
    return (bytes([0x46]) + bytes(23) if version == 4 else b"") + bytes([kind]) + echo[1:]


def as_error(version: int, kind: int, code: int, rest: int, echo: bytes) -> bytes:
    """An ICMP error about the echo: header, then the packet it complains about."""
    inner = {4: b"\x45" + bytes(8) + b"\x01" + bytes(10), 6: b"\x60" + bytes(5) + b"\x3a" + bytes(33)}[version]
    outer = bytes([0x45]) + bytes(19) if version == 4 else b""
    return outer + struct.pack("!BBHI", kind, code, 0, rest) + inner + echo


def parse(version: int, packet: bytes, run: int = RUN) -> object:
    return packets.parse_echo(version, run, bytearray(packet), len(packet))


@given(versions, purposes, numbers, st.integers(packets.SMALLEST, 9000))
def test_a_reply_leads_back_to_its_check(version: int, purpose: int, number: int, size: int) -> None:
    echo = bytes(packets.EchoTemplate(version, purpose, RUN, size).packet(number))
    assert len(echo) == size
    assert parse(version, as_reply(version, echo)) == packets.Answer("reply", purpose, number)
    assert parse(version, as_reply(version, echo), run=RUN + 1) is None


@given(st.lists(numbers, min_size=1, max_size=5), st.integers(packets.SMALLEST, 100))
def test_checksums_hold_for_every_number(chosen: list[int], size: int) -> None:
    template = packets.EchoTemplate(4, packets.REACH, RUN, size)
    for number in chosen:
        assert packets.checksum_part(template.packet(number)) == 0xFFFF  # RFC 1071: the sum over itself


def test_only_echoes_that_reach_are_remembered_by_servers() -> None:
    """A server remembers what carries its tag; size probes must not fill its memory."""
    tags = {purpose: bytes(packets.EchoTemplate(4, purpose, RUN).packet(1))[8:15] for purpose in (1, 2, 3)}
    assert tags == {packets.REACH: packets.TAG, packets.FITS: packets.SIZE_TAG, packets.EXCEEDS: packets.SIZE_TAG}


@pytest.mark.parametrize(
    ("version", "kind", "code", "rest", "meaning", "mtu"),
    [
        (4, 3, 4, 1400, "too-big", 1400),
        (4, 3, 1, 0, "unreachable", 0),
        (4, 11, 0, 0, "expired", 0),
        (6, 2, 0, 1280, "too-big", 1280),
        (6, 1, 0, 0, "unreachable", 0),
        (6, 3, 0, 0, "expired", 0),
    ],
)
def test_errors_lead_back_to_their_check(version: int, kind: int, code: int, rest: int, meaning: str, mtu: int) -> None:
    echo = bytes(packets.EchoTemplate(version, packets.FITS, RUN, 1400).packet(77))
    packet = as_error(version, kind, code, rest, echo[:64])
    assert parse(version, packet) == packets.Answer(meaning, packets.FITS, 77, mtu)
    for cut in range(len(packet) - 64 + packets.SMALLEST):
        assert parse(version, packet[:cut]) is None


@given(versions, st.binary(max_size=200))
def test_other_peoples_icmp_is_nothing_to_us(version: int, data: bytes) -> None:
    assert parse(version, data) is None


def test_an_echo_without_room_for_its_nonce_is_refused() -> None:
    with pytest.raises(ValueError, match="no room"):
        packets.EchoTemplate(4, packets.FITS, RUN, packets.SMALLEST - 1)


def test_the_request_carries_the_nonce_of_the_echo() -> None:
    echo = bytes(packets.EchoTemplate(4, packets.REACH, RUN).packet(5))
    assert f"nonce={echo[15:23].hex()} ".encode() in packets.request(RUN, 5)


def test_a_response_is_read_when_it_is_whole() -> None:
    body = json.dumps({"pod": "a", "icmp": None}).encode()
    whole = b"HTTP/1.1 200 OK\r\nContent-Type: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    for cut in range(len(whole)):
        assert packets.parse_response(whole[:cut]) is None
    assert packets.parse_response(whole) == {"pod": "a", "icmp": None}


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{x}",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + b"x" * 70000,
    ],
)
def test_what_is_none_of_our_servers_is_said_to_be(data: bytes) -> None:
    with pytest.raises(ValueError):
        packets.parse_response(data)


@given(versions, numbers)
def test_a_closed_port_is_told_apart_from_other_errors(version: int, number: int) -> None:
    """The error carries our datagram behind its UDP header."""
    udp = struct.pack("!HHHH", 40000, 8080, 23, 0) + packets.datagram(RUN, number)
    kind, closed, other = {4: (3, 3, 1), 6: (1, 4, 0)}[version]
    for code, meaning in ((closed, "refused"), (other, "unreachable")):
        packet = bytearray(as_error(version, kind, code, 0, udp))
        packet[37 if version == 4 else 14] = 17  # the inner packet's protocol
        assert parse(version, bytes(packet)) == packets.Answer(meaning, packets.DATAGRAM, number)


@given(numbers)
def test_a_servers_answer_to_a_datagram_is_read(number: int) -> None:
    answer = packets.datagram(RUN, number) + b"pod-a 10.244.1.2 -"
    assert packets.parse_datagram(RUN, answer) == packets.Answer(
        "reply", packets.DATAGRAM, number, 0, ["pod-a", "10.244.1.2", "-"]
    )
    assert packets.parse_datagram(RUN + 1, answer) is None
    assert packets.parse_datagram(RUN, answer[:20]) is None
    assert packets.parse_datagram(RUN, packets.datagram(RUN, number)) is None, "nobody's echo service counts"
