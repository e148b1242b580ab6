"""Servers in sandboxes that have none of ours: one process a node, for as long as the cluster is being probed.

It enters each sandbox's network namespace to open the sockets, which stay there, and answers as the server of a
lab's pods does. It ends when it is told to, or with its time: nothing stays behind in the sandboxes.
"""

from __future__ import annotations

import json
import os
import select
import socket
import time
from contextlib import suppress
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

from ..errors import KernelError
from ..kernel import Namespace
from ..lab import spawn
from ..lab.process import Process, kill
from ..lab.server import Server, listen

RECORD = "/run/podwire/responders.json"
#: Seconds after which responders end by themselves, whatever became of the run.
LIFETIME = 900
#: Ports that are tried; the first that is free in a sandbox is its server's.
_PORTS = range(41112, 41132)


def start(node: str, sandboxes: Mapping[str, str]) -> Dict[str, int]:
    """Start answering in sandboxes (name -> path of the namespace); the ports of those where that works."""
    stop()
    ports: Dict[str, int] = {}
    for name, path in sandboxes.items():
        with suppress(KernelError), Namespace.open(path, name) as inside, inside.entered():
            port = _free_port()
            if port:
                ports[name] = port
    if not ports:
        return {}
    pods = [[name, sandboxes[name], port] for name, port in ports.items()]
    os.makedirs(os.path.dirname(RECORD), exist_ok=True)
    request = {"node": node, "pods": pods}
    spawned = spawn.spawned("podwire.prove.responders", f"responders of {node}", [request])
    with spawned as pids, open(RECORD, "w", encoding="utf-8") as file:
        json.dump(Process.of(pids[0]), file)
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
    with suppress(OSError):  # others live there
        os.rmdir(os.path.dirname(RECORD))


def _free_port() -> int:
    for port in _PORTS:
        opened: List[socket.socket] = []
        try:
            opened = [listen(port), listen(port, socket.SOCK_DGRAM)]
            return port
        except OSError:
            continue
        finally:
            for each in opened:
                each.close()
    return 0


def main() -> None:
    """The starter's side, see ``spawn``."""
    for index, request in enumerate(spawn.requests()):
        if os.fork() == 0:
            spawn.child(index, lambda request=request: prepare(request))  # type: ignore[misc]


def prepare(request: Mapping[str, Any]) -> Callable[[], None]:
    """Open all servers' sockets."""
    servers = [_open(request["node"], each) for each in request["pods"]]
    return lambda: serve(servers)


def _open(node: str, pod: Sequence[Any]) -> Server:
    name, path, port = pod
    with Namespace.open(path, name) as inside, inside.entered():
        return Server(name, node, listen(port), listen(port, socket.SOCK_DGRAM))


def serve(servers: Sequence[Server], lifetime: float = LIFETIME) -> None:
    """One loop around the loops of all servers: an epoll in an epoll, epoll(7)."""
    ends = time.monotonic() + lifetime
    by_fd = {server.fileno(): server for server in servers}
    poll = select.epoll()
    for descriptor in by_fd:
        poll.register(descriptor, select.EPOLLIN)
    while time.monotonic() < ends:
        ready: List[Tuple[int, int]] = poll.poll(min(1.0, max(0.0, ends - time.monotonic())))
        for descriptor, _ in ready:
            by_fd[descriptor].step(0)
