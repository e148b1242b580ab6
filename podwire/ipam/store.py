"""Leases on disk, in host-local's format, readable and writable by Go's host-local at the same time.

::

    <data dir>/<network>/10.244.1.2           "<container id>\\r\\n<ifname>", one file a lease, mode 0600
    <data dir>/<network>/last_reserved_ip.0   where the range set of that index goes on
    <data dir>/<network>/lock                 flock(2), also host-local's
    <data dir>/.podwire/<network>/            our index (see index.py), and leases in the making

Crash safety. A lease's content is written and flushed under another name, and then linked: link(2)
is exclusive and shows the file whole or not at all. Everything happens under the lock, and the answer is
given after the directory is flushed. An empty lease file is what a killed host-local leaves behind (it writes
under the lock, so nobody is writing it now): it counts as free and is removed.
"""

from __future__ import annotations

import fcntl
import os
import stat

from ..errors import IpamError
from ..files import write_all
from ..model.objects import IPAddress
from ..startup_typing import TYPE_CHECKING, NamedTuple
from .index import Index, unlink
from .ranges import parse_address

if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Optional

DATA_DIR = "/var/lib/cni/networks"
_LAST_RESERVED = "last_reserved_ip."
#: More than a lease file has: a container's id has at most 128 bytes or so.
_LARGEST = 1 << 16


def _at_once(path: str, flags: int, mode: int = 0) -> int:
    """open(2) that waits for nobody, as for the other end of a FIFO that stands where a file should."""
    return os.open(path, flags | os.O_NONBLOCK, mode)


class Claim(NamedTuple):
    """Who holds an address: a container's interface. ``ifname`` is empty in leases of old host-locals."""

    container_id: str
    ifname: str

    @property
    def content(self) -> bytes:
        """What the lease file holds."""
        return f"{self.container_id}\r\n{self.ifname}".encode() if self.ifname else self.container_id.encode()

    @classmethod
    def parse(cls, content: bytes) -> Claim:
        """The claim in a lease file."""
        container_id, _, ifname = content.decode(errors="replace").strip().partition("\r\n")
        return cls(container_id.strip(), ifname.strip())


class Store:
    """The leases of one network. A context manager: all methods need the lock that it holds.

    With ``read_only`` nothing is written, not even the lock file or the index.
    """

    def __init__(self, data_dir: str, network: str, *, read_only: bool = False) -> None:
        self.directory = os.path.join(data_dir, network)
        self._index = Index(os.path.join(data_dir, ".podwire", network), self.directory)
        self._read_only = read_only
        self._lock = -1
        self._complete = False
        self._changed = False
        self._all: Optional[Dict[bytes, List[IPAddress]]] = None

    def __enter__(self) -> Store:
        try:
            if not self._read_only:
                os.makedirs(self.directory, 0o755, exist_ok=True)
                self._index.make()
            self._take_lock()
        except OSError as error:
            raise IpamError(f"failed to lock {self.directory}: {error.strerror}") from error
        self._all = None
        self._changed = False
        self._complete = self._index.is_complete()
        return self

    def _take_lock(self) -> None:
        path = os.path.join(self.directory, "lock")
        try:
            self._lock = _at_once(path, os.O_RDONLY | os.O_CLOEXEC | (0 if self._read_only else os.O_CREAT), 0o750)
        except FileNotFoundError:
            if not self._read_only:
                raise
            return  # nothing was ever reserved
        fcntl.flock(self._lock, fcntl.LOCK_SH if self._read_only else fcntl.LOCK_EX)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if self._changed and kind is None:
                self._flush()
        finally:
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1

    def _flush(self) -> None:
        directory = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        except OSError as error:
            raise IpamError(f"failed to flush {self.directory}: {error.strerror}") from error
        finally:
            os.close(directory)
        if self._complete:
            self._index.complete()

    # --- reading ---------------------------------------------------------------------------------

    def find(self, claim: Claim) -> List[IPAddress]:
        """The addresses that a container's interface holds, also by an old lease without ifname."""
        keys = (claim.content, claim.container_id.encode())
        doubtful = not self._complete
        for key in keys:
            listed = self._index.read(key)
            if listed and all(self.content(ip) == key for ip in listed):
                return listed
            doubtful |= bool(listed)
        if not doubtful:
            return []
        leases = self._read_all()
        return leases.get(keys[0]) or leases.get(keys[1]) or []

    def leases(self) -> Dict[IPAddress, Claim]:
        """Every lease, from its file."""
        return {ip: Claim.parse(content) for content, ips in self._read_all().items() for ip in ips}

    def content(self, ip: IPAddress) -> Optional[bytes]:
        """What a lease file holds, stripped; None if there is none that can be read."""
        return self._read(str(ip))

    def names(self) -> List[str]:
        """The names of everything in the directory."""
        try:
            return os.listdir(self.directory)
        except FileNotFoundError:
            return []

    def last_reserved(self, index: int) -> Optional[IPAddress]:
        """The address that the range set of this index reserved last."""
        content = self._read(f"{_LAST_RESERVED}{index}")
        return None if content is None else parse_address(content.decode(errors="replace"))

    def _read(self, name: str) -> Optional[bytes]:
        """A small file, stripped; None for what is none. Python's file objects take four more system calls."""
        try:
            file = _at_once(os.path.join(self.directory, name), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            content = os.read(file, _LARGEST).strip()
            return content if content or stat.S_ISREG(os.fstat(file).st_mode) else None
        except OSError:
            return None
        finally:
            os.close(file)

    def _read_all(self) -> Dict[bytes, List[IPAddress]]:
        """All leases by content; forgets empty ones, and makes the index complete again."""
        if self._all is not None:
            return self._all
        found: Dict[bytes, List[IPAddress]] = {}
        for name in self.names():
            ip = parse_address(name)
            content = self.content(ip) if ip is not None else None
            if ip is None or content is None:
                continue
            if content:
                found.setdefault(content, []).append(ip)
            elif not self._read_only:
                self.remove(ip)
        self._all = found
        if not self._read_only:
            self.begin()
            self._index.rebuild(found)
            self._complete = True
        return found

    # --- writing ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """Has to come before the first change: from here to the end the index counts as incomplete."""
        if not self._changed:
            self._changed = True
            self._index.begin()

    def prepare(self, claims: Iterable[Claim]) -> None:
        """Write and flush the contents of coming leases. All flushes cost little more than one."""
        self.begin()
        self._all = None
        pending = list(claims)
        for start in range(0, len(pending), 256):  # each is an open file until it is flushed
            files = []
            try:
                for claim in pending[start : start + 256]:
                    files.append(self._write_new(self._prepared(claim), claim.content))
                for file in files:  # starts writing back, so that one journal commit serves all
                    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
                for file in files:
                    os.fsync(file)
            finally:
                for file in files:
                    os.close(file)

    def take(self, claim: Claim, ip: IPAddress) -> bool:
        """Make the prepared content the lease of ``ip``; False if that is taken."""
        try:
            os.link(self._prepared(claim), os.path.join(self.directory, str(ip)))
        except FileExistsError:
            return False
        return True

    def settle(self, claim: Claim, ips: List[IPAddress]) -> None:
        """Forget the prepared content; index the addresses that came of it."""
        unlink(self._prepared(claim))
        if ips:
            self._index.write(claim.content, ips)

    def remove(self, ip: IPAddress) -> None:
        """Remove a lease file."""
        self.begin()
        unlink(os.path.join(self.directory, str(ip)))

    def forget(self, claim: Claim) -> None:
        """Take a container's interface out of the index."""
        for key in (claim.content, claim.container_id.encode()):
            self._index.remove(key)

    def set_last_reserved(self, index: int, ip: IPAddress) -> None:
        """Remember where the range set of this index goes on."""
        self.begin()
        path = self._index.path("last")
        os.close(self._write_new(path, str(ip).encode()))
        os.rename(path, os.path.join(self.directory, f"{_LAST_RESERVED}{index}"))

    def _write_new(self, path: str, content: bytes) -> int:
        """A new file, open. What an earlier run left may be a lease's other name: never write into that."""
        unlink(path)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            write_all(file, content)
        except BaseException:
            os.close(file)
            raise
        return file

    def _prepared(self, claim: Claim) -> str:
        return self._index.entry(claim.content) + ".new"
