"""The throw-away node that a case runs on, and network namespaces as its containers."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import Dict, Iterator, List

from ..errors import KernelError, LabError
from ..kernel.isolate import fresh_namespace, new_machine
from ..kernel.namespaces import (
    MS_BIND,
    MS_NODEV,
    MS_NOSUID,
    Namespace,
    mount,
    umount,
)
from .tools import ip

#: The suite's own corner of the node's /run.
HOME = "/run/podwire-conform"
LAYERS = HOME + "/layers"
#: Private by overlays: they can hold directories that the machine does not have. What it keeps for CNI is hidden.
_OVERLAID: Dict[str, str] = {"/etc": "cni", "/var/lib": "cni", "/var/log": ""}


def become(directory: str) -> None:
    """Make the calling process (PID 1 of a new PID namespace) a node that sees the plugins in ``directory``."""
    plugins = os.open(directory, os.O_PATH | os.O_CLOEXEC)
    new_machine("conform")
    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    for target, hidden in _OVERLAID.items():
        if os.path.isdir(target):
            _overlay(target, hidden)
    if not os.path.isdir(directory):  # it lies below /run
        os.makedirs(directory)
        mount(f"/proc/self/fd/{plugins}", directory, flags=MS_BIND)
    os.close(plugins)
    os.makedirs("/run/netns")
    ip("link set lo up")


def _overlay(target: str, hidden: str) -> None:
    base = LAYERS + target
    upper, work = base + "/upper", base + "/work"
    os.makedirs(upper)
    os.makedirs(work)
    if hidden:
        os.mkdir(f"{upper}/{hidden}", 0o755)
        os.setxattr(f"{upper}/{hidden}", "trusted.overlay.opaque", b"y")
    try:
        mount("overlay", target, "overlay", data=f"lowerdir={target},upperdir={upper},workdir={work}")
    except KernelError as error:
        raise LabError(f"failed to make a private {target}: {error.message}", "the suite needs overlayfs") from error


class Container:
    """A container: an id, an interface name, and a network namespace bound at ``/run/netns/<name>``."""

    def __init__(self, name: str, ifname: str = "eth0") -> None:
        self.name = name
        self.id = f"conform-{name}"
        self.ifname = ifname
        self.netns = f"/run/netns/{name}"
        self.prev_result: Dict[str, object] = {}
        self.result: Dict[str, object] = {}
        self.namespace = new_namespace(name)

    def remove(self) -> None:
        """Let the namespace die, as if the container had crashed: the path is gone too."""
        self.namespace.close()
        umount(self.netns)
        os.unlink(self.netns)

    def ip(self, *lines: str) -> List[str]:
        """``ip`` inside."""
        with self.namespace.entered():
            return ip(*lines)

    @contextmanager
    def entered(self) -> Iterator[None]:
        with self.namespace.entered():
            yield

    def sysctl(self, name: str, value: str = "") -> str:
        """Read a sysctl inside, or write it first. ``name`` is a path below /proc/sys."""
        with self.namespace.entered():
            return sysctl(name, value)


def new_namespace(name: str) -> Namespace:
    """A new network namespace bound at ``/run/netns/<name>``, with ``lo`` down as the kernel makes it."""
    path = f"/run/netns/{name}"
    with open(path, "w"):
        pass
    with fresh_namespace(name) as made:
        mount(f"/proc/self/fd/{made.fd}", path, flags=MS_BIND)
    return Namespace.open(path, name)


def sysctl(name: str, value: str = "") -> str:
    """Read a sysctl of the current namespace, or write it first; empty where there is none."""
    with suppress(FileNotFoundError):
        if value:
            with open(f"/proc/sys/{name}", "w") as file:
                file.write(value)
        with open(f"/proc/sys/{name}") as file:
            return file.read().strip()
    return ""
