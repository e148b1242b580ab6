"""What keeps a node's namespaces alive: PID 1 of the node, which does nothing but reap.

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
from contextlib import suppress
from typing import Any, Callable, Dict

from ..kernel.namespaces import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    mount,
    sethostname,
    setns,
    unshare,
)
from ..sandbox import spawn

#: Directories of each overlay that begin empty in every node.
_PRIVATE = {"/etc": ("cni/net.d", "podwire"), "/var/lib": ("cni", "podwire")}

#: Of devices to come. A router asks for its neighbours from its link-local address, which would be
#: tentative for a second or two of duplicate address detection: as long a new lab would lose packets.
_DAD = "/proc/sys/net/ipv6/conf/default/accept_dad"


def main() -> None:
    """The starter: one holder a request ``{"name": hostname, "files": bool, "plugins": directory or ""}``."""
    requests = spawn.requests()
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    for index, request in enumerate(requests):
        unshare(CLONE_NEWPID)
        if os.fork() == 0:
            os.close(own)
            spawn.child(index, lambda request=request: _prepare(request))  # type: ignore[misc]
        setns(own, CLONE_NEWPID)  # one cannot leave a PID namespace for children twice in a row


def _prepare(request: Dict[str, Any]) -> Callable[[], None]:
    unshare(CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC)
    sethostname(request["name"])
    mount("none", "/", flags=MS_REC | MS_PRIVATE)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    with suppress(FileNotFoundError), open(_DAD, "w") as sysctl:
        sysctl.write("0")
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
        for path in (*(f"{upper}/{each}" for each in empty), work):
            os.makedirs(path)
        for each in empty:
            os.setxattr(f"{upper}/{each.split('/')[0]}", "trusted.overlay.opaque", b"y")
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
