"""What runs in every pod: a tiny server that tells clients their own address, by HTTP and by UDP, and an ear for pings.

``GET /`` answers ``{"pod": "web-1", "node": "node-1", "client": "10.244.1.2"}``, the client as this
end of the connection sees it, so that NAT on the path shows at once. ``GET /?nonce=<16 hex digits>``
adds ``"icmp"``: the source address of the echo request that came with that nonce, or null. ``POST /`` swallows
a body of any size first. A datagram is answered with the same JSON; one that begins with pings' tag and a nonce
with these and ``<pod> <client> <icmp, or ->``.

One process and one thread serve everything without ever waiting for a single client: sockets do not
block, a request has limited size and time, and when there are too many clients the oldest goes.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections import OrderedDict
from contextlib import suppress
from typing import Any, Callable, Dict, Optional

from ..errors import LabError
from ..kernel.isolate import has_ipv6, new_pod
from . import spawn
from .pings import NONCE_LENGTH, TAG, Pings

_BACKLOG = 1024
_LONGEST_REQUEST = 8192  # bytes
_LARGEST_BODY = 1 << 24
_AT_ONCE = 64  # datagrams answered before others get their turn
_UDP_BUFFER = 1 << 20
_SO_RCVBUFFORCE = 33
_IP_PKTINFO = 8  # linux/in.h
_PATIENCE = 10.0  # seconds a client has for its request, and for taking the answer
_MOST_CLIENTS = 512
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 431: "Request Too Large"}


def main() -> None:
    """The starter: one server a request ``{"pod", "node", "port", "host_network"}``."""
    for index, request in enumerate(spawn.requests()):
        if os.fork() == 0:
            spawn.child(index, lambda request=request: prepare(request))  # type: ignore[misc]


def prepare(request: Dict[str, Any]) -> Callable[[], None]:
    """Make the sandbox around this process, and listen. Addresses may come later."""
    if not request["host_network"]:
        new_pod(request["pod"])
    with open("/proc/self/comm", "w") as comm:
        comm.write(request["pod"][:15])
    try:
        listener, datagrams = listen(request["port"]), listen(request["port"], socket.SOCK_DGRAM)
    except OSError as error:
        raise LabError(f"failed to start pod {request['pod']}: port {request['port']}: {error.strerror}") from error
    return Server(request["pod"], request["node"], listener, datagrams).serve


def listen(port: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A listening socket of both families, or of IPv4 where the kernel has no IPv6; with SOCK_DGRAM one for UDP."""
    if has_ipv6():
        listener = socket.socket(socket.AF_INET6, kind | socket.SOCK_NONBLOCK)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        pktinfo = (socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO)
    else:
        listener = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK)
        pktinfo = (socket.IPPROTO_IP, _IP_PKTINFO)
    if kind == socket.SOCK_STREAM:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("", port))
        listener.listen(_BACKLOG)
    else:
        # Answers leave from the address that was asked: a hostNetwork pod has several.
        listener.setsockopt(*pktinfo, 1)
        listener.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _UDP_BUFFER)
        listener.bind(("", port))
    return listener


class _Client:
    """A connection whose request or answer is under way. ``closing``: only waits for the other's end."""

    __slots__ = ("address", "closing", "deadline", "owing", "received", "sending", "socket")

    def __init__(self, connection: socket.socket, address: str) -> None:
        self.socket = connection
        self.address = address
        self.received = b""
        self.sending = b""
        self.closing = False
        self.owing = 0  # bytes of the body that are still to come
        self.deadline = time.monotonic() + _PATIENCE

    @property
    def waits_for(self) -> int:
        """The event that lets it go on."""
        return select.EPOLLOUT if self.sending and not self.owing else select.EPOLLIN


class Server:
    """The event loop of one pod."""

    def __init__(self, pod: str, node: str, listener: socket.socket, datagrams: Optional[socket.socket] = None) -> None:
        self._pod = pod.encode()
        # Names are RFC 1123: nothing in them needs JSON's escapes.
        self._head = f'{{"pod": "{pod}", "node": "{node}", "client": "'
        self._listener = listener
        self._datagrams = datagrams
        self._pings = Pings()
        self._clients: OrderedDict[int, _Client] = OrderedDict()
        self._ears = {ear.fileno(): ear for ear in self._pings.sockets}
        self._poll = select.epoll()
        for descriptor in (listener.fileno(), *self._ears):
            self._poll.register(descriptor, select.EPOLLIN)
        if datagrams is not None:
            self._poll.register(datagrams, select.EPOLLIN)

    def fileno(self) -> int:
        """The descriptor of its epoll: a loop around several servers waits for these."""
        return self._poll.fileno()

    def serve(self) -> None:
        """Serve until killed."""
        while True:
            self.step(self._patience())

    def step(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds (-1: for ever) for events, and handle them."""
        for descriptor, _ in self._poll.poll(timeout):
            if descriptor in self._ears:
                self._pings.hear(self._ears[descriptor])
            elif descriptor in self._clients:
                self._go_on(self._clients[descriptor])
            elif descriptor == self._listener.fileno():
                self._accept()
            elif self._datagrams is not None:
                self._answer_datagrams(self._datagrams)
        while self._clients and self._patience() == 0:
            self._drop_oldest()

    def _patience(self) -> float:
        """Seconds until the oldest client's time is up, or -1."""
        for client in self._clients.values():
            return max(0.0, client.deadline - time.monotonic())
        return -1

    def _accept(self) -> None:
        for _ in range(_BACKLOG):
            try:
                connection, address = self._listener.accept()[:2]
            except BlockingIOError:
                return
            except OSError:  # the client is gone again, or descriptors ran out
                self._drop_oldest()
                return
            connection.setblocking(False)
            client = _Client(connection, address[0])
            if _receive(client, self._answer):
                connection.close()
                continue
            if len(self._clients) >= _MOST_CLIENTS:
                self._drop_oldest()
            self._clients[connection.fileno()] = client
            self._poll.register(connection, client.waits_for)

    def _go_on(self, client: _Client) -> None:
        if _send(client) if client.sending and not client.owing else _receive(client, self._answer):
            del self._clients[client.socket.fileno()]
            client.socket.close()
        else:
            self._poll.modify(client.socket, client.waits_for)

    def _drop_oldest(self) -> None:
        if self._clients:
            self._clients.popitem(last=False)[1].socket.close()

    def _answer_datagrams(self, ear: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, asked, _, client = ear.recvmsg(256, 64)
            except OSError:  # nothing more, or an error that an earlier answer came back with
                return
            address = _plain(client[0])
            if data.startswith(TAG) and len(data) >= _TAGGED:
                source = self._pings.source(data[len(TAG) : _TAGGED])
                answer = b"%b%b %b %b" % (data[:_TAGGED], self._pod, address.encode(), (source or "-").encode())
            else:
                answer = f'{self._head}{address}"}}\n'.encode()
            with suppress(OSError):
                ear.sendmsg([answer], asked, 0, client)

    def _answer(self, request: bytes, client: str) -> bytes:
        line = request.split(b"\r\n", 1)[0].split(b" ")
        if len(line) != 3 or line[2] not in (b"HTTP/1.0", b"HTTP/1.1"):
            return _response(400)
        method, target, _ = line
        path, _, query = target.partition(b"?")
        if method not in (b"GET", b"HEAD", b"POST"):
            return _response(405, headers="Allow: GET, HEAD, POST\r\n")
        if path != b"/":
            return _response(404, body=method != b"HEAD")
        text = f'{self._head}{_plain(client)}"'
        nonce = _nonce(query)
        if nonce is not None:
            source = self._pings.source(nonce)
            text += f', "icmp": "{source}"' if source else ', "icmp": null'
        return _response(200, text + "}\n", body=method != b"HEAD")


_TAGGED = len(TAG) + NONCE_LENGTH


def _plain(address: str) -> str:
    """An address as its own family writes it, without a zone."""
    return address[7:] if address.startswith("::ffff:") else address.partition("%")[0]


def _receive(client: _Client, answer: Callable[[bytes, str], bytes]) -> bool:
    """Read what there is, and answer once the request is whole. True when the client is done with."""
    try:
        data = client.socket.recv(_LONGEST_REQUEST + 1)
    except BlockingIOError:
        return False
    except OSError:
        return True
    if not data:
        return True
    if client.closing:
        return False
    if client.owing:
        client.owing = max(0, client.owing - len(data))
        return False if client.owing else _send(client)
    client.received += data
    end = client.received.find(b"\r\n\r\n")
    if end < 0 and len(client.received) <= _LONGEST_REQUEST:
        return False
    body = _body_length(client.received[:end]) if end >= 0 else 0
    if body:
        client.owing = max(0, body - (len(client.received) - end - 4))
        client.sending = answer(client.received[:end], client.address)
        return False if client.owing else _send(client)
    # A close with data unread would reset the connection and take the answer with it (RFC 9112
    # section 9.6): a client that sent too much is let finish first.
    client.closing = end < 0 or end + 4 < len(client.received)
    client.sending = answer(client.received[:end], client.address) if end >= 0 else _response(431)
    return _send(client)


def _send(client: _Client) -> bool:
    """Write what can be written. True when the client is done with."""
    try:
        # MSG_MORE: the end of the answer leaves in one packet with the FIN of the close that follows.
        client.sending = client.sending[client.socket.send(client.sending, socket.MSG_MORE) :]
        if client.closing and not client.sending:
            client.socket.shutdown(socket.SHUT_WR)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return not client.sending and not client.closing


def _body_length(head: bytes) -> int:
    """Bytes of the body that a POST announces; 0 for other methods, and for what cannot be meant."""
    if not head.startswith(b"POST "):
        return 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and value.strip().isdigit():
            return min(int(value), _LARGEST_BODY)
    return 0


def _nonce(query: bytes) -> Optional[bytes]:
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        if name == b"nonce" and len(value) == 16:
            try:
                return bytes.fromhex(value.decode("ascii"))
            except ValueError:
                return None
    return None


def _response(status: int, content: str = "", headers: str = "", body: bool = True) -> bytes:
    content = content or f'{{"error": "{_REASONS[status]}"}}\n'
    return (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n{headers}"
        f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n{content if body else ''}"
    ).encode()
