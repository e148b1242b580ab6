"""What can be said of a sysctl without its value. ``show.read_sysctl`` reads one."""

from __future__ import annotations

import os

from .namespaces import Namespace
from .show import read_sysctl


def sysctl_exists(key: str, namespace: Namespace | None = None) -> bool:
    """Whether a network namespace (the caller's by default) has a sysctl, or a directory of them."""
    path = f"/proc/sys/{key}"
    return os.path.exists(path) if namespace is None else namespace.call(os.path.exists, path)


def sysctl_is_writable(key: str) -> bool:
    """Whether this process may write it: in a container /proc/sys is often mounted read-only."""
    return os.access(f"/proc/sys/{key}", os.W_OK)


def sysctl_or_none(key: str) -> str | None:
    """Its value in the caller's network namespace; None where there is none."""
    try:
        return read_sysctl(key)
    except OSError:
        return None
