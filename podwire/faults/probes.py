"""Targeted probes: one word about one path, within a second. What ``prove`` measures whole, these look at once.

Words: ``ok``, ``lost``, ``unreachable``, ``too big`` (says somebody on the way), ``too large`` (says the sender's own
device), ``refused``, ``wrong pod``, ``nat``, ``fragmented``, ``slow``; of CNI ``failed`` and ``foreign address``.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from typing import TYPE_CHECKING, Any, Dict, NamedTuple, Optional

from ..errors import FaultError
from ..kernel import Namespace
from ..kernel.queries import fragments_made
from ..prove import packets

if TYPE_CHECKING:
    from .namespaces import Namespaces

#: Echoes of a probe, seconds between two, and seconds after the last one.
_ECHOES, _PAUSE, _PATIENCE = 3, 0.05, 0.3
_CONNECT = 1.2  # longer than the first SYN retransmission
_BURST, _BURST_BYTES, _BURST_S = 100, 1200, 0.3


class Aim(NamedTuple):
    """A probe that knows where it goes. ``pod``: who must answer, ``client``: which address it may see; ``size``: bytes
    of the IP packet; ``block`` and ``plugin_dirs`` are ADD's. ``before`` and ``after``: what the probe says without and
    with the fault."""

    probe: str
    place: str
    address: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    size: int = 0
    port: int = 0
    pod: str = ""
    client: str = ""
    block: str = ""
    plugin_dirs: tuple[str, ...] = ()


#: Probes as people call them.
NAMES = {
    "echo": "echo",
    "fragments": "echo",
    "fetch": "HTTP request",
    "burst": "burst of echoes",
    "add": "ADD as a runtime does it",
    "flannel": "ADD of a list of flannel's",
}


def describe(aim: Aim) -> str:
    """What a probe does, for people: ``echo of 1450 bytes from pod-a to 10.244.1.2``."""
    name = NAMES[aim.probe]
    if aim.probe in ("add", "flannel"):
        return name
    size = f" of {aim.size} bytes" if aim.size else ""
    to = f"{aim.address} port {aim.port}" if aim.probe == "fetch" else aim.address
    return f"{name}{size} from {aim.place.partition(':')[2] or 'the node'} to {to}"


def ask(aim: Aim, namespaces: Namespaces) -> str:
    """Run a probe once; its word."""
    namespace = namespaces[aim.place]
    if aim.probe == "echo":
        return echo(namespace, aim.address, aim.size)
    if aim.probe == "fragments":
        before = _fragments(namespaces["node"])
        said = echo(namespace, aim.address, aim.size)
        return "fragmented" if _fragments(namespaces["node"]) > before else said
    if aim.probe == "fetch":
        return fetch(namespace, aim)
    if aim.probe == "burst":
        return burst(namespace, aim.address)
    from . import attach

    return attach.attach(aim.block, aim.plugin_dirs, flannel=aim.probe == "flannel")


def settle(aim: Aim, namespaces: Namespaces, wanted: tuple[str, ...], seconds: float) -> str:
    """Ask until the answer is among ``wanted``, or ``seconds`` are over: neighbours may have to be learnt again."""
    deadline = time.monotonic() + seconds
    while True:
        said = ask(aim, namespaces)
        if said in wanted or time.monotonic() > deadline:
            return said


def echo(namespace: Namespace, address: str, size: int = 0) -> str:
    """ICMP echoes of ``size`` bytes, which must not be fragmented; the first answer decides."""
    version = 6 if ":" in address else 4
    raw = namespace.call(packets.echo_socket, version)
    run = int.from_bytes(os.urandom(4), "big")
    template = packets.EchoTemplate(
        version, packets.FITS, run, max(size - packets.IP_HEADER[version], packets.SMALLEST)
    )
    word = "lost"
    with raw:
        for number in range(_ECHOES):
            try:
                raw.sendto(template.packet(number), (address, 0))
            except OSError as error:
                if error.errno == errno.EMSGSIZE:
                    return "too large"
                word = "unreachable"
            heard = _hear(raw, version, run, _PATIENCE if number == _ECHOES - 1 else _PAUSE)
            if heard == "ok":
                return heard
            word = heard or word
    return word


def _hear(raw: socket.socket, version: int, run: int, seconds: float) -> Optional[str]:
    deadline = time.monotonic() + seconds
    buffer = bytearray(65536)
    word = None
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([raw], [], [], left)[0]:
            return word
        answer = packets.parse_echo(version, run, buffer, raw.recv_into(buffer))
        if answer is not None and answer.meaning == "reply":
            return "ok"
        if answer is not None:
            word = "too big" if answer.meaning == "too-big" else "unreachable"


def fetch(namespace: Namespace, aim: Aim) -> str:
    """One HTTP request to a pod's server: who answers, and as whom does it see us?"""
    client = namespace.call(socket.socket, socket.AF_INET6 if ":" in aim.address else socket.AF_INET)
    with client:
        client.settimeout(_CONNECT)
        try:
            client.connect((aim.address, aim.port))
            client.sendall(packets.request(1, 1))
            data = b""
            while True:
                part = client.recv(65536)
                data += part
                answer = packets.parse_response(data)
                if answer is not None:
                    break
                if not part:
                    return "wrong pod"
        except ValueError:
            return "wrong pod"
        except ConnectionRefusedError:
            return "refused"
        except socket.timeout:
            return "lost"
        except OSError as error:
            return "unreachable" if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH) else "lost"
    return _judge(answer, aim)


def _judge(answer: Dict[str, Any], aim: Aim) -> str:
    if answer.get("pod") != aim.pod:
        return "wrong pod"
    return "nat" if aim.client and answer.get("client") != aim.client else "ok"


def burst(namespace: Namespace, address: str) -> str:
    """A burst of echoes: ``ok`` if all come back at once, ``slow`` if most are late or lost."""
    version = 6 if ":" in address else 4
    run = int.from_bytes(os.urandom(4), "big")
    template = packets.EchoTemplate(version, packets.FITS, run, _BURST_BYTES)
    raw = namespace.call(packets.echo_socket, version)
    heard, buffer = 0, bytearray(65536)
    with raw:
        for number in range(_BURST):
            try:
                raw.sendto(template.packet(number), (address, 0))
            except OSError:
                continue
        deadline = time.monotonic() + _BURST_S
        while heard < _BURST:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([raw], [], [], left)[0]:
                break
            answer = packets.parse_echo(version, run, buffer, raw.recv_into(buffer))
            heard += answer is not None and answer.meaning == "reply"
    return "ok" if heard > _BURST // 2 else "slow" if heard else "lost"


def _fragments(namespace: Namespace) -> int:
    """Ip.FragCreates (RFC 4293's ipIfStatsOutFragCreates) of a namespace."""
    try:
        return fragments_made(namespace)
    except ValueError as error:
        raise FaultError("failed to read Ip.FragCreates") from error
