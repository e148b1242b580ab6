"""Processes that faults leave behind, as resources: found again by the word in their command line, so none is lost."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, NamedTuple, Tuple

from ..errors import LabError
from ..intent.cluster import Pod
from ..kernel.isolate import leave_network
from ..sandbox import sandboxes, spawn
from ..sandbox.process import Process, kill

if TYPE_CHECKING:
    from ..kernel import Namespace

_WORD = "podwire-ghost"


class StrayProcess(NamedTuple):
    """A process nobody asked for: ``orphan`` keeps a network namespace of no name, ``impostor`` listens on a port.

    ``arguments`` are given to it as they are: the port, or nothing.
    """

    role: str
    token: str
    port: int = 0

    def read(self, namespace: Namespace) -> Any:
        return True if next(self._found(), None) else None

    def write(self, namespace: Namespace, value: Any) -> None:
        if value is None:
            kill(self._found())
            return
        with spawn.spawned("podwire.faults.processes", self._label, [{"role": self.role, "port": self.port}]):
            pass  # its command line is its record

    def pid(self) -> int:
        """Its process id. StopIteration if it does not run."""
        return next(self._found()).pid

    def describe(self, value: Any) -> str:
        return f"{self}: {'ended' if value is None else 'started'}"

    def __str__(self) -> str:
        return f"process {self.role}" + (f" on port {self.port}" if self.port else "")

    @property
    def _label(self) -> str:
        return f"{_WORD}-{self.role}-{self.token}"

    def _found(self) -> Iterator[Process]:
        for name in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError, LabError), open(f"/proc/{name}/cmdline", "rb") as file:
                if file.read().endswith(f"\0{self._label}\0".encode()):
                    yield Process.of(int(name))


class PodServer(NamedTuple):
    """The server of a hostNetwork pod: whether it runs."""

    pod: str
    node: str
    port: int

    def read(self, namespace: Namespace) -> Any:
        return True if self.pod in sandboxes.running() else None

    def write(self, namespace: Namespace, value: Any) -> None:
        if value is not None:
            sandboxes.start([Pod(self.pod, self.node, True, self.port)])
            return
        found = sandboxes.running()[self.pod]
        kill([Process(found.pid, found.start_time)])

    def describe(self, value: Any) -> str:
        return f"{self}: {'ended' if value is None else 'started'}"

    def __str__(self) -> str:
        return f"server of pod {self.pod} on port {self.port}"


def main() -> None:
    """The starter: one process a request."""
    for index, request in enumerate(spawn.requests()):
        if os.fork() == 0:
            spawn.child(index, lambda request=request: _prepare(request))  # type: ignore[misc]


def _prepare(request: Dict[str, Any]) -> Callable[[], None]:
    if request["role"] == "orphan":
        leave_network()
        return _wait
    listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", request["port"]))
    listener.listen(16)
    return lambda: _refuse(listener)


def _wait() -> None:
    while True:
        signal.pause()


def _refuse(listener: socket.socket) -> None:
    """Answer as something else than a pod's server does."""
    while True:
        connection: Tuple[socket.socket, Any] = listener.accept()
        with connection[0] as client, suppress(OSError):
            client.settimeout(1)
            client.recv(4096)
            client.sendall(b"HTTP/1.0 404 Not Found\r\nServer: somebody else\r\nContent-Length: 0\r\n\r\n")
