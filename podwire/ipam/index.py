"""Which addresses has this container's interface? Answered without reading every lease.

The index is a directory of ours beside host-local's: a symbolic link named by a digest of the lease's content to
the addresses. It may be removed at any time, and a hit is a hint to be verified against the lease files. A
miss is believed only if nobody else has changed the lease directory since the index was complete: we then
set that directory's mtime to a stamp in the past, which the next link or unlink by anybody overwrites. The
stamp holds for one boot, so that the index needs no flushing. Otherwise all leases are read once.
"""

from __future__ import annotations

import os

from ..boot import boot_id
from ..model.objects import IPAddress
from ..startup_typing import TYPE_CHECKING, sha256
from .ranges import parse_address

if TYPE_CHECKING:
    from typing import Iterable, List, Mapping

_STAMP = "stamp"


class Index:
    """The index at ``folder`` of the leases in ``leases``. All methods need the store's lock."""

    def __init__(self, folder: str, leases: str) -> None:
        self._folder = folder
        self._leases = leases

    def make(self) -> None:
        """Make the directory if it is not there."""
        os.makedirs(self._folder, 0o700, exist_ok=True)

    def path(self, name: str) -> str:
        """A path in the directory; everything there but entries and the stamp goes when the index is rebuilt."""
        return os.path.join(self._folder, name)

    def entry(self, key: bytes) -> str:
        """The path of a key's entry."""
        return self.path(sha256(key).hexdigest())

    def read(self, key: bytes) -> List[IPAddress]:
        """The addresses under a key, to be verified."""
        try:
            listed = os.readlink(self.entry(key)).split(",")
        except OSError:
            return []
        return [ip for ip in map(parse_address, listed) if ip is not None]

    def write(self, key: bytes, ips: Iterable[IPAddress]) -> None:
        """Set the addresses under a key."""
        path = self.entry(key)
        unlink(path)
        os.symlink(",".join(map(str, ips)), path)

    def remove(self, key: bytes) -> None:
        """Forget a key."""
        unlink(self.entry(key))

    def rebuild(self, leases: Mapping[bytes, Iterable[IPAddress]]) -> None:
        """Begin anew with these leases."""
        for name in os.listdir(self._folder):
            unlink(self.path(name))
        for key, ips in leases.items():
            self.write(key, ips)

    # --- whether a miss can be believed ----------------------------------------------------------

    def is_complete(self) -> bool:
        """Whether every lease has its entry."""
        try:
            stamp = os.readlink(self.path(_STAMP))
            return stamp == f"{os.stat(self._leases).st_mtime_ns}.{boot_id()}"
        except OSError:
            return False

    def begin(self) -> None:
        """From here on the index counts as incomplete."""
        unlink(self.path(_STAMP))

    def complete(self) -> None:
        """From here on, until anybody changes the lease directory, every lease has its entry."""
        past = 10**18 + int.from_bytes(os.urandom(7), "big")  # in 2001 to 2003, never now
        os.utime(self._leases, ns=(past, past))
        os.symlink(f"{os.stat(self._leases).st_mtime_ns}.{boot_id()}", self.path(_STAMP))


def unlink(path: str) -> None:
    """Remove a file that may be gone already."""
    try:  # noqa: SIM105 - contextlib costs a plugin's start 3 ms
        os.unlink(path)
    except FileNotFoundError:
        pass
