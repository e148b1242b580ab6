"""What passes between nodes, on the backend's own UDP port: datagrams of many sizes that may not be fragmented.

One process a node listens for a bounded time, on a raw socket: that hears what the firewall lets in, whoever holds
the port, so that a running VXLAN device is no obstacle (it ignores what has no VNI flag, vxlan_rcv). No answer is
needed: what the receiver heard is asked of it, over an abstract socket of its network namespace, and the size of
the largest datagram is the path MTU in that direction.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import time
from typing import Any, Dict, List, Sequence

from ..errors import ProofError
from ..intent.cluster import Cluster, Node

_MAGIC = b"podwire preflight "
#: Path MTUs that are met with, bytes: of the links themselves, and below tunnels.
_LADDER = (
    576,
    1024,
    1280,
    1372,
    1400,
    1420,
    1430,
    1440,
    1450,
    1460,
    1470,
    1480,
    1492,
    1500,
    4000,
    8850,
    8900,
    8950,
    9000,
)
_ROUNDS = 3
#: Seconds between the rounds, and after so many datagrams: a burst of thousands would overrun the receivers.
_PAUSE, _BURST = 0.05, 200
_HEADER = {4: 20, 6: 40}
_UDP_HEADER = 8
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
# linux/in.h, linux/in6.h, asm-generic/socket.h
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE, _IPV6_DONTFRAG, _SO_RCVBUFFORCE = 10, 23, 3, 62, 33

_TOLD_BY_RECEIVER = (
    errno.EMSGSIZE, errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EPERM,
    errno.ENOBUFS, errno.EACCES, errno.EINVAL, errno.EADDRNOTAVAIL  # of prohibit, of blackhole, no source address
)  # fmt: skip

#: What was heard: IP version to sender to bytes of its largest packet, IP header included.
Heard = Dict[str, Dict[str, int]]


def _name(run: str) -> str:
    return f"\0podwire-preflight-{run}"


def listen(cluster: Cluster, run: str, seconds: float) -> None:
    """Start the listener in the background. It ends when ``collect`` asks it, or after ``seconds``."""
    receivers = []
    for version in cluster.versions:
        try:
            receiver = socket.socket(_FAMILY[version], socket.SOCK_RAW, socket.IPPROTO_UDP)
        except PermissionError as error:
            raise ProofError(
                "failed to listen for peers: a raw socket needs root", "set ansible_become: true"
            ) from error
        receiver.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 4 << 20)
        receivers.append(receiver)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    control.bind(_name(run))
    control.listen(1)
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        for opened in (control, *receivers):
            opened.close()
        return
    try:
        _leave({control.fileno(), *(opened.fileno() for opened in receivers)})
        _hear(receivers, control, run.encode(), cluster.backend.port, time.monotonic() + seconds)
    finally:
        os._exit(0)


def _leave(kept_open: set[int]) -> None:
    """Out of the caller's session and of all its files: nobody waits for this process."""
    if os.fork():
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor > 2 and descriptor not in kept_open:
            try:
                os.close(descriptor)
            except OSError:  # the listing's own
                continue


def _hear(receivers: Sequence[socket.socket], control: socket.socket, run: bytes, port: int, deadline: float) -> None:
    heard: Heard = {}
    tag = _MAGIC + run + b" "
    buffer = bytearray(65536)
    while True:
        remaining = deadline - time.monotonic()
        ready = select.select([control, *receivers], [], [], max(0.0, remaining))[0]
        if remaining <= 0:
            return
        for receiver in ready:
            if receiver is control:
                continue
            version = 4 if receiver.family == socket.AF_INET else 6
            length = receiver.recv_into(buffer)
            at = (buffer[0] & 15) * 4 if version == 4 else 0
            body = at + _UDP_HEADER
            if buffer[at + 2 : at + 4] == port.to_bytes(2, "big") and buffer[body : body + len(tag)] == tag:
                sender = bytes(buffer[body + len(tag) : length]).partition(b" ")[0].decode(errors="replace")
                size = length + (0 if version == 4 else _HEADER[6])
                sizes = heard.setdefault(str(version), {})
                sizes[sender] = max(sizes.get(sender, 0), size)
        if ready == [control]:  # and nothing is waiting to be heard
            with control.accept()[0] as client:
                client.sendall(json.dumps(heard).encode())
            return


def send(cluster: Cluster, node: Node, run: str) -> None:
    """Send to every peer, by the route that the backend's packets will take."""
    for version in cluster.versions:
        targets = [peer.public_ip(version) for peer in cluster.nodes if peer.name != node.name]
        sizes = sorted({size for size in _LADDER if size < node.mtu} | {node.mtu, cluster.underlay_mtu})
        head = _MAGIC + run.encode() + b" " + node.name.encode() + b" "
        bodies = [head + bytes(max(0, size - _HEADER[version] - _UDP_HEADER - len(head))) for size in sizes]
        with _sender(version) as out:
            for _ in range(_ROUNDS):
                _round(out, [str(target) for target in targets if target is not None], bodies, cluster.backend.port)
                time.sleep(_PAUSE)


def _sender(version: int) -> socket.socket:
    out = socket.socket(_FAMILY[version], socket.SOCK_DGRAM)
    if version == 4:
        out.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
    else:
        out.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
        out.setsockopt(socket.IPPROTO_IPV6, _IPV6_DONTFRAG, 1)
    return out


def _round(out: socket.socket, targets: Sequence[str], bodies: List[bytes], port: int) -> None:
    sent = 0
    for target in targets:
        for body in bodies:
            try:
                out.sendto(body, (target, port))
            except OSError as error:
                # What the device does not take, and what an earlier datagram brought about: the receiver will tell.
                if error.errno not in _TOLD_BY_RECEIVER:
                    raise
            sent += 1
            if sent % _BURST == 0:
                time.sleep(_PAUSE)


def collect(run: str) -> Heard:
    """What the listener heard; it ends. ProofError if it is not there any more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(_name(run))
        except OSError as error:
            raise ProofError("failed to hear of peers: the listener on this node is gone", "run it again") from error
        data = b""
        while True:
            more = client.recv(65536)
            if not more:
                break
            data += more
    heard: Any = json.loads(data or b"{}")
    sizes: Heard = heard
    return sizes
