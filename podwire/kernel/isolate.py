"""New namespaces: of a machine, of a pod, of a moment's trial."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from contextlib import suppress

from .namespaces import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    Namespace,
    mount,
    sethostname,
    setns,
    unshare,
)

_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1  # linux/sockios.h, linux/if.h
#: Of devices to come. A router asks for its neighbours from its link-local address, which would be
#: tentative for a second or two of duplicate address detection: as long a new lab would lose packets.
_DAD = "/proc/sys/net/ipv6/conf/default/accept_dad"


def new_machine(hostname: str) -> None:
    """Give the calling process what a machine has of its own, PIDs apart (see ``fork_as_init``). /proc and /sys show
    it; mounts from now on are private."""
    unshare(CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC)
    sethostname(hostname)
    mount("none", "/", flags=MS_REC | MS_PRIVATE)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount_sysfs()


def mount_sysfs() -> None:
    """Have /sys show the devices of the caller's network namespace."""
    mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)


def skip_address_detection() -> None:
    """Have IPv6 addresses of devices to come be of use at once."""
    with suppress(FileNotFoundError), open(_DAD, "w") as sysctl:
        sysctl.write("0")


def new_pod(hostname: str) -> None:
    """Give the calling process a network namespace with its loopback up, and a host name."""
    unshare(CLONE_NEWNET | CLONE_NEWUTS)
    sethostname(hostname)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))


def has_ipv6() -> bool:
    """Whether the kernel has IPv6, in the caller's network namespace."""
    return os.path.exists("/proc/net/if_inet6")


def leave_network() -> None:
    """Give the calling process a network namespace with nothing in it."""
    unshare(CLONE_NEWNET)


def fresh_namespace(name: str) -> Namespace:
    """A network namespace that goes with this handle; the caller stays where it is. KernelError."""
    with Namespace.current() as home:
        unshare(CLONE_NEWNET)
        try:
            return Namespace.current(name)
        finally:
            setns(home.fd, CLONE_NEWNET)


def fork_as_init() -> int:
    """fork(2), whose child is PID 1 of a new PID namespace; 0 in the child."""
    home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    child = -1
    try:
        unshare(CLONE_NEWPID)
        child = os.fork()
        return child
    finally:
        if child:
            setns(home, CLONE_NEWPID)  # one cannot leave a PID namespace for children twice in a row
        os.close(home)
