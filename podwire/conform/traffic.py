"""Real packets between containers, the node, and a host outside of it."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, closing, contextmanager
from typing import ContextManager, Iterator, Optional

from ..kernel.namespaces import Namespace

_PATIENCE_S = 0.25


@contextmanager
def listening(namespace: Namespace, port: int, kind: int = socket.SOCK_STREAM) -> Iterator[socket.socket]:
    """A server of both families in a namespace."""
    with namespace.entered():
        server = socket.socket(socket.AF_INET6, kind)
    with closing(server):
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("::", port))
        if kind == socket.SOCK_STREAM:
            server.listen(64)
        server.settimeout(_PATIENCE_S)
        yield server


def reach(
    client: Namespace,
    server: Namespace,
    address: str,
    port: int,
    *,
    at: int = 0,
    within: float = 3.0,
    kind: int = socket.SOCK_STREAM,
) -> Optional[str]:
    """Send from ``client`` to ``address`` and ``port`` until it arrives at ``server``'s port ``at`` (default the same).

    Gives the source address that the server saw, or None if nothing arrived within so many seconds.
    """
    deadline = time.monotonic() + within
    with listening(server, at or port, kind) as receiver:
        while True:
            source = _try(client.entered(), receiver, address, port, kind)
            if source is not None or time.monotonic() > deadline:
                return source


def _try(inside: ContextManager[None], receiver: socket.socket, address: str, port: int, kind: int) -> Optional[str]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with ExitStack() as stack:
        with inside:
            sender = stack.enter_context(closing(socket.socket(family, kind)))
        sender.settimeout(_PATIENCE_S)
        started = time.monotonic()
        try:
            sender.connect((address, port))
            if kind == socket.SOCK_DGRAM:
                sender.send(b"conform")
                source = receiver.recvfrom(100)[1][0]
            else:
                accepted, peer = receiver.accept()
                accepted.close()
                source = peer[0]
        except OSError:
            # Refused or unreachable comes at once: do not spin.
            time.sleep(max(0.0, 0.02 - (time.monotonic() - started)))
            return None
    return str(source).replace("::ffff:", "")
