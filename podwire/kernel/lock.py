"""A lock between processes that dies with its holder."""

from __future__ import annotations

import fcntl
import os

from ..errors import KernelError
from ..startup_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .namespaces import Namespace


class locked:
    """Hold the exclusive flock(2) of a file, made if need be; waits for whoever holds it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = -1

    def __enter__(self) -> None:
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            self._lock = os.open(self._path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise KernelError(f"failed to lock {self._path}: {error.strerror}", error.errno or 0) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        except BaseException:
            os.close(self._lock)
            raise

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)


class namespace_lock:
    """Hold the flock(2) of a network namespace itself, so that there is no file to leave."""

    def __init__(self, namespace: Namespace) -> None:
        self._lock = os.open(f"/proc/self/fd/{namespace.fd}", os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> None:
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)
