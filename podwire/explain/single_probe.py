"""One probe, and whether it is answered."""

from __future__ import annotations

import os
import select
import socket
import time
from ipaddress import ip_address
from typing import Callable, Tuple

from ..prove import packets
from ..prove.reach import FAMILY
from .records import Ask

#: Seconds that an answer may take, on a loaded machine too. A probe that is traced to its end is not waited for.
_PATIENCE = 1.0
_STEP = 0.02

#: Whether an answer came, and the error that the sender got.
Outcome = Tuple[bool, str]


def send(ask: Ask, run: int, number: int, is_dropped: Callable[[], bool]) -> Outcome:
    """Send from the caller's network namespace. ``run`` and ``number`` identify the probe and its answer;
    ``is_dropped``: whether it was traced to its end."""
    version = ip_address(ask["address"]).version
    if ask["protocol"] == "icmp":
        probe: socket.socket = packets.echo_socket(version)
        size = ask["length"] - packets.IP_HEADER[version]
        payload = bytes(packets.EchoTemplate(version, packets.PASS, run, size).packet(number))
    elif ask["protocol"] == "udp":
        probe = packets.datagram_socket(version)
        payload = packets.datagram(run, number).ljust(ask["length"] - packets.IP_HEADER[version] - 8, b"\0")
    else:
        probe, payload = socket.socket(FAMILY[version], socket.SOCK_STREAM | socket.SOCK_NONBLOCK), b""
    with probe:
        probe.setblocking(False)
        try:
            if ask["protocol"] == "icmp":
                probe.sendto(payload, (ask["address"], 0))
            else:
                probe.connect((ask["address"], ask["port"]))
                probe.send(payload)
        except BlockingIOError:
            pass
        except OSError as error:
            return False, os.strerror(error.errno or 0)
        return _wait(probe, ask["protocol"], version, run, number, is_dropped)


def _wait(
    probe: socket.socket, protocol: str, version: int, run: int, number: int, is_dropped: Callable[[], bool]
) -> Outcome:
    until = time.monotonic() + _PATIENCE
    poll = select.poll()
    poll.register(probe, select.POLLOUT if protocol == "tcp" else select.POLLIN)
    while time.monotonic() < until:
        if not poll.poll(_STEP * 1000):
            if is_dropped():
                break
            continue
        refused = probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if refused:
            return False, os.strerror(refused)
        if protocol == "tcp":
            return True, ""
        try:
            data = bytearray(probe.recv(65536))
        except OSError as error:
            return False, os.strerror(error.errno or 0)
        if protocol == "udp":
            return True, ""
        answer = packets.parse_echo(version, run, data, len(data))
        if answer is not None and answer.number == number:
            return answer.meaning == "reply", "" if answer.meaning == "reply" else answer.meaning
    return False, ""
