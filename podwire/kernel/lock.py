"""A lock between processes that dies with its holder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import KernelError


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold the exclusive flock(2) of a file, made if need be; waits for whoever holds it."""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        lock = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise KernelError(f"failed to lock {path}: {error.strerror}", error.errno or 0) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
