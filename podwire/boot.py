"""Which boot of the machine this is."""

from __future__ import annotations

import os

_known: list[str] = []


def boot_id() -> str:
    """The kernel's random id of this boot."""
    if not _known:
        file = os.open("/proc/sys/kernel/random/boot_id", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _known.append(os.read(file, 64).decode().strip())
        finally:
            os.close(file)
    return _known[0]
