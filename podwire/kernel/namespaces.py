"""Namespaces and mounts by system call (Python's own os.setns and os.unshare exist since 3.12 only).

A CNI plugin calls setns(2) alone, and a start with all of ctypes costs it 3 ms: so setns goes by itself.
"""

from __future__ import annotations

import os
import sys

from ..errors import KernelError
from ..startup_typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    import ctypes
    from typing import TypeVar

    from .netlink.socket import NetlinkSocket
    from .nftables.transaction import NfTablesSocket

    T = TypeVar("T")

# linux/sched.h
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# linux/mount.h
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MNT_DETACH = 2
#: System calls that libc of Debian 11 has no function for; the numbers are the same on all machines (Linux 5.2).
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_FSCONFIG_CMD_CREATE = 6
_CLOEXEC = 1
PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15

_loaded: list[ctypes.CDLL] = []


def _libc() -> ctypes.CDLL:
    if not _loaded:
        import ctypes

        _loaded.append(ctypes.CDLL(None, use_errno=True))
    return _loaded[0]


def _check(result: int, doing: str, hint: str = "") -> None:
    if result != 0:
        import ctypes

        raise _refused(ctypes.get_errno(), doing, hint)


def _refused(errno: int, doing: str, hint: str = "") -> KernelError:
    return KernelError(f"failed to {doing}: {os.strerror(errno)}", errno, hint)


def setns(fd: int, kind: int) -> None:
    """Join the namespace behind ``fd`` (setns(2)); for ``CLONE_NEWPID`` it counts for children only."""
    try:
        _setns(fd, kind)
    except OSError as error:
        raise _refused(error.errno or 0, "join a namespace", "podwire needs root for this") from error


if sys.version_info >= (3, 12):
    _setns = os.setns
else:

    def _setns(fd: int, kind: int) -> None:
        """os.setns, by what ctypes itself stands on."""
        if not _functions:
            import _ctypes

            kinds = {"_type_": "i"}
            returns = {
                "_flags_": _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO,
                "_restype_": type("Int", (_ctypes._SimpleCData,), kinds),
            }
            function = type("Function", (_ctypes.CFuncPtr,), returns)
            library = type("Library", (), {"_handle": _ctypes.dlopen(None, os.RTLD_NOW)})  # type: ignore[arg-type]
            _functions.extend((function(("setns", library)), _ctypes.get_errno))
        call, get_errno = _functions
        if call(fd, kind) != 0:
            errno = get_errno()
            raise OSError(errno, os.strerror(errno))

    _functions: list[Callable[..., int]] = []


def unshare(flags: int) -> None:
    """Leave namespaces for new ones (unshare(2))."""
    _check(_libc().unshare(flags), "make a namespace", "podwire needs root for this")


def mount(source: str, target: str, fstype: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    import ctypes

    done = _libc().mount(
        source.encode(), target.encode(), fstype.encode() or None, ctypes.c_ulong(flags), data.encode() or None
    )
    _check(done, f"mount {target}")


def umount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2)."""
    _check(_libc().umount2(target.encode(), flags), f"unmount {target}")


def mounted(fstype: str) -> int:
    """A descriptor of a file system's top, mounted nowhere: it goes with its last descriptor. OSError."""
    top = -1
    context = _system_call(_FSOPEN, fstype.encode(), _CLOEXEC)
    try:
        _system_call(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        top = _system_call(_FSMOUNT, context, _CLOEXEC, 0)
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=top)
    finally:
        for descriptor in (context, top):
            if descriptor >= 0:
                os.close(descriptor)


def _system_call(number: int, *arguments: object) -> int:
    import ctypes

    result: int = _libc().syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def prctl(option: int, value: int) -> None:
    """prctl(2) with one number, such as ``PR_SET_PDEATHSIG``."""
    import ctypes

    _check(_libc().prctl(option, ctypes.c_ulong(value), 0, 0, 0), "set a process attribute")


def sethostname(name: str) -> None:
    """sethostname(2), in the caller's UTS namespace."""
    encoded = name.encode()
    _check(_libc().sethostname(encoded, len(encoded)), f"set the host name {name}")


class _Entered:
    """In a network namespace from ``with`` to its end; they are per thread, and this one comes back."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._home = -1

    def __enter__(self) -> None:
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(self._fd, CLONE_NEWNET)
        except BaseException:
            os.close(self._home)
            raise

    def __exit__(self, *_: object) -> None:
        try:
            setns(self._home, CLONE_NEWNET)
        finally:
            os.close(self._home)


class Namespace:
    """An open network namespace. ``name`` is what operations and error messages call it.

    Its rtnetlink socket is opened once and stays bound to the namespace (a socket keeps the
    namespace it was made in, net/core/sock.c), so most work needs no setns at all.
    """

    def __init__(self, fd: int, name: str) -> None:
        self.fd = fd
        self.name = name
        self._socket: NetlinkSocket | None = None
        self._nftables: dict[int, NfTablesSocket] = {}

    @classmethod
    def open(cls, path: str, name: str) -> Namespace:
        """Open ``/proc/PID/ns/net`` or a bind mount such as ``/run/netns/x``."""
        try:
            # O_NONBLOCK: a path may lead to a FIFO, where nobody writes
            return cls(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), name)
        except OSError as error:
            raise KernelError(
                f"failed to open the network namespace of {name} at {path}: {error.strerror}", error.errno or 0
            ) from error

    @classmethod
    def current(cls, name: str = "node") -> Namespace:
        """The caller's own. Its socket is made at once, while the caller is here: that takes no setns."""
        from .netlink.socket import NETLINK_ROUTE, NetlinkSocket

        namespace = cls.open("/proc/thread-self/ns/net", name)
        namespace._socket = NetlinkSocket(NETLINK_ROUTE)
        return namespace

    def entered(self) -> _Entered:
        """Run the block inside. Network namespaces are per thread, and this one comes back after."""
        return _Entered(self.fd)

    def call(self, function: Callable[..., T], *arguments: object) -> T:
        """``function(*arguments)``, run inside. A socket that it opens stays inside (net/core/sock.c)."""
        with self.entered():
            return function(*arguments)

    @property
    def socket(self) -> NetlinkSocket:
        """The namespace's rtnetlink socket."""
        if self._socket is None:
            from .netlink.socket import NETLINK_ROUTE, NetlinkSocket

            with self.entered():
                self._socket = NetlinkSocket(NETLINK_ROUTE)
        return self._socket

    def nftables(self, family: int) -> NfTablesSocket:
        """A socket for nf_tables, kept until the namespace is closed: closing one waits for what was removed
        by it to be freed, an RCU grace period (nft_rcv_nl_event), which may as well pass beside other work."""
        socket = self._nftables.get(family)
        if socket is None:
            socket = self._nftables[family] = self.open_nftables(family)
        return socket

    def open_nftables(self, family: int = 1) -> NfTablesSocket:
        """A socket for nf_tables of the caller's own, to be closed by it. Family 1 is inet, 0 all of them."""
        from .nftables.transaction import NfTablesSocket

        with self.entered():
            return NfTablesSocket(family)

    def close(self) -> None:
        """Close the descriptor and the sockets; the namespace lives as long as others hold it."""
        for nftable in self._nftables.values():
            nftable.close()
        self._nftables.clear()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Namespace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Namespace({self.name!r})"
