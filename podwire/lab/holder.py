"""PID 1 of a node: it keeps the node's namespaces, and reaps.

The node's file system is the host's with private parts. /etc and /var/lib are overlays whose upper
layer is in memory, so that directories such as /etc/cni can be private to the node although the host
has none: a plain mount would need the mount point to stand on the host, and to stay. What the host
itself keeps for CNI and podwire is hidden (an overlay's opaque directories). /run is a fresh tmpfs;
/opt/cni/bin, where there is an /opt, shows the CNI plugins that are installed once for all nodes of a lab;
/proc and /sys show the node's own PID and network namespaces.
"""

from __future__ import annotations

import os
import signal
from typing import Any, Callable, Dict

from ..kernel.isolate import fork_as_init, new_machine, skip_address_detection
from ..kernel.namespaces import MS_BIND, MS_NODEV, MS_NOSUID, MS_RDONLY, MS_REMOUNT, mount
from ..sandbox import spawn

#: Directories of each overlay that begin empty in every node.
_PRIVATE = {"/etc": ("cni/net.d", "podwire"), "/var/lib": ("cni", "podwire")}


def main() -> None:
    """The starter: one holder a request ``{"name": hostname, "files": bool, "plugins": directory or ""}``."""
    for index, request in enumerate(spawn.requests()):
        if fork_as_init() == 0:
            spawn.child(index, lambda request=request: _prepare(request))  # type: ignore[misc]


def _prepare(request: Dict[str, Any]) -> Callable[[], None]:
    new_machine(request["name"])
    skip_address_detection()
    if request["files"]:
        if request["plugins"] and os.path.isdir("/opt"):
            _show_plugins(request["plugins"])
        _private_files(request["name"])
    with open("/proc/self/comm", "w") as comm:
        comm.write(request["name"][:15])
    return _reap


def _show_plugins(directory: str) -> None:
    """Read-only: one node's plugins are all nodes' plugins. Comes before the private files, which hide it."""
    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    os.makedirs("/run/upper/cni/bin")
    os.setxattr("/run/upper/cni", "trusted.overlay.opaque", b"y")
    os.mkdir("/run/work")
    mount("overlay", "/opt", "overlay", data="lowerdir=/opt,upperdir=/run/upper,workdir=/run/work")
    mount(directory, "/opt/cni/bin", flags=MS_BIND)
    mount("none", "/opt/cni/bin", flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def _private_files(hostname: str) -> None:
    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    for target, empty in _PRIVATE.items():
        base = "/run/" + target.replace("/", "-")
        upper, work = base + "/upper", base + "/work"
        for path in (*(f"{upper}/{directory}" for directory in empty), work):
            os.makedirs(path)
        for directory in empty:
            os.setxattr(f"{upper}/{directory.split('/')[0]}", "trusted.overlay.opaque", b"y")
        if target == "/etc":
            with open(f"{upper}/hostname", "w") as file:
                file.write(hostname + "\n")
        mount("overlay", target, "overlay", data=f"lowerdir={target},upperdir={upper},workdir={work}")
    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")  # covers the layers
    for path in ("/run/podwire", "/run/netns", "/run/lock"):
        os.mkdir(path)


def _reap() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps for whoever ignores it (POSIX)
    while True:
        signal.pause()
