"""Servers in sandboxes of other runtimes: one process a node, while the cluster is probed.

The process enters each sandbox's network namespace to open sockets, which stay there, and answers as the server of a
lab's pod does. If throughput is measured it also discards what it receives. It ends when it is stopped, or after a
timeout; nothing remains in the sandboxes.
"""

from __future__ import annotations

import json
import os
import select
import socket
import time
from contextlib import suppress
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Sequence, Tuple, Union

from ..errors import KernelError
from ..kernel import Namespace
from ..sandbox import spawn
from ..sandbox.process import Process, kill
from ..sandbox.server import Server, listen

RECORD = "/run/podwire/responders.json"
#: Seconds after which responders end by themselves, in case the run was interrupted.
LIFETIME = 900
#: Candidate ports; the first that is free in a sandbox is used.
_PORTS = range(41112, 41132)
_SINK_PORTS = range(41132, 41152)
_DISCARDED = 1 << 20  # bytes at once


class Started(NamedTuple):
    """Ports of servers and of sinks by name, of those that could be started."""

    servers: Dict[str, int]
    sinks: Dict[str, int]


def start(node: str, sandboxes: Mapping[str, str], sinks: Mapping[str, str]) -> Started:
    """Start servers in sandboxes, and sinks in others (name -> path of the namespace)."""
    stop()
    started = Started(_ports(sandboxes, _PORTS), _ports(sinks, _SINK_PORTS))
    if not any(started):
        return started
    pods = [[name, sandboxes[name], port] for name, port in started.servers.items()]
    sink_ports = [[name, sinks[name], port] for name, port in started.sinks.items()]
    os.makedirs(os.path.dirname(RECORD), exist_ok=True)
    request = {"node": node, "pods": pods, "sinks": sink_ports}
    spawned = spawn.spawned("podwire.prove.responders", f"responders of {node}", [request])
    with spawned as pids, open(RECORD, "w", encoding="utf-8") as file:
        json.dump(Process.of(pids[0]), file)
    return started


def _ports(paths: Mapping[str, str], candidates: Sequence[int]) -> Dict[str, int]:
    """A free port for each namespace that can be entered and has one."""
    ports: Dict[str, int] = {}
    for name, path in paths.items():
        with suppress(KernelError), Namespace.open(path, name) as inside:
            port = inside.call(_free_port, candidates)
            if port:
                ports[name] = port
    return ports


def stop() -> None:
    """End the node's responders, if there are any."""
    try:
        with open(RECORD, encoding="utf-8") as file:
            process = Process(*json.load(file))
    except (FileNotFoundError, ValueError, TypeError):
        return
    kill([process])
    os.unlink(RECORD)
    with suppress(OSError):  # not empty
        os.rmdir(os.path.dirname(RECORD))


def _free_port(candidates: Sequence[int]) -> int:
    for port in candidates:
        opened: List[socket.socket] = []
        try:
            opened = [listen(port), listen(port, socket.SOCK_DGRAM)]
            return port
        except OSError:
            continue
        finally:
            for listener in opened:
                listener.close()
    return 0


def main() -> None:
    """Start a process for each request, see ``spawn``."""
    for index, request in enumerate(spawn.requests()):
        if os.fork() == 0:
            spawn.child(index, lambda request=request: prepare(request))  # type: ignore[misc]


def prepare(request: Mapping[str, Any]) -> Callable[[], None]:
    """Open all servers' and sinks' sockets."""
    loops: List[Union[Server, Sink]] = [_open(request["node"], pod) for pod in request["pods"]]
    for name, path, port in request["sinks"]:
        with Namespace.open(path, name) as inside:
            loops.append(Sink(inside.call(listen, port)))
    return lambda: serve(loops)


class Sink:
    """Accepts connections and discards what it receives."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._poll = select.epoll()
        self._poll.register(listener, select.EPOLLIN)
        self._clients: Dict[int, socket.socket] = {}
        self._buffer = bytearray(_DISCARDED)

    def fileno(self) -> int:
        """The descriptor of its epoll."""
        return self._poll.fileno()

    def step(self, timeout: float) -> None:
        """Handle what has arrived."""
        for descriptor, _ in self._poll.poll(timeout):
            client = self._clients.get(descriptor)
            if client is None:
                with suppress(OSError):
                    opened = self._listener.accept()[0]
                    opened.setblocking(False)
                    self._clients[opened.fileno()] = opened
                    self._poll.register(opened, select.EPOLLIN)
                continue
            try:
                # With MSG_TRUNC TCP drops the data without copying it, tcp(7).
                alive = client.recv_into(self._buffer, _DISCARDED, socket.MSG_TRUNC) > 0
            except BlockingIOError:
                continue
            except OSError:
                alive = False
            if not alive:
                del self._clients[descriptor]
                client.close()


def _open(node: str, pod: Sequence[Any]) -> Server:
    name, path, port = pod
    with Namespace.open(path, name) as inside:
        return inside.call(lambda: Server(name, node, listen(port), listen(port, socket.SOCK_DGRAM)))


def serve(servers: Sequence[Union[Server, Sink]], lifetime: float = LIFETIME) -> None:
    """Run all servers in one loop: an epoll of their epolls, epoll(7)."""
    ends = time.monotonic() + lifetime
    by_fd = {server.fileno(): server for server in servers}
    poll = select.epoll()
    for descriptor in by_fd:
        poll.register(descriptor, select.EPOLLIN)
    while time.monotonic() < ends:
        ready: List[Tuple[int, int]] = poll.poll(min(1.0, max(0.0, ends - time.monotonic())))
        for descriptor, _ in ready:
            by_fd[descriptor].step(0)
