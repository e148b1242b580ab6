"""os and os.path as far as plugins need them: what posix has, and a few names more.

The real ones make abstract base classes, which takes 1 ms; they come as soon as any other name is looked for.
"""

from __future__ import annotations

import posix
import sys

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

globals().update({**vars(posix), **globals()})  # import * takes 0.05 ms
del globals()["environ"]  # it has bytes
pathsep = ":"


def makedirs(name: str, mode: int = 0o777, exist_ok: bool = False) -> None:
    """os.makedirs."""
    head, _, tail = name.rstrip("/").rpartition("/")
    try:
        posix.mkdir(name, mode)
    except FileNotFoundError:
        if not head or not tail:
            raise
        makedirs(head, exist_ok=True)
        makedirs(name, mode, exist_ok)  # another first ADD may be as far
    except FileExistsError:
        if not exist_ok or posix.stat(name).st_mode & 0o170000 != 0o040000:
            raise


def __getattr__(name: str) -> Any:
    if name[:2] == "__":
        raise AttributeError(name)
    del sys.modules["os"]
    import os

    globals().update(vars(os))
    return getattr(os, name)


class _Path(type(sys)):  # type: ignore[misc]
    """os.path."""

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__":
            raise AttributeError(name)
        import posixpath

        self.__dict__.update(vars(posixpath))
        return getattr(posixpath, name)

    @staticmethod
    def join(path: str, *more: str) -> str:
        """os.path.join, for text."""
        for each in more:
            path = each if each[:1] == "/" or not path else path + each if path[-1] == "/" else f"{path}/{each}"
        return path


path = sys.modules["os.path"] = _Path("os.path")
