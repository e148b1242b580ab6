"""Files that are there whole or not at all."""

from __future__ import annotations

import os


def replace_file(path: str, content: bytes, mode: int, *, fsync: bool = True) -> None:
    """Write a file by a temporary one beside it, and rename. On OSError what was there stays, and nothing else.

    ``fsync``: whether it has to be whole after a power cut too, not only after a crash of the writer. Two writers of
    one path at a time are not for this: whoever calls has a lock, or a path of its own.
    """
    temporary = _temporary(path)
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            write_all(file, content)
            os.fchmod(file, mode)
            if fsync:
                os.fsync(file)
        finally:
            os.close(file)
        os.rename(temporary, path)
    except BaseException:
        _unlink(temporary)
        raise


def remove_file(path: str) -> None:
    """Remove a file, and what a writer left that was killed. Neither has to be there."""
    _unlink(path)
    _unlink(_temporary(path))


def flush(path: str) -> None:
    """fsync(2) of a file or directory by its path."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def write_all(file: int, content: bytes) -> None:
    """write(2) until everything is written; OSError if that cannot be, such as on a full disk."""
    while content:
        content = content[os.write(file, content) :]


def _temporary(path: str) -> str:
    """Always the same, so that the next writer takes the place of one that was killed. Names have 255 bytes at most."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/.{name[-200:]}.new" if folder or path.startswith("/") else f".{name[-200:]}.new"


def _unlink(path: str) -> None:
    try:  # noqa: SIM105 - contextlib costs a plugin's start 3 ms
        os.unlink(path)
    except FileNotFoundError:
        pass
