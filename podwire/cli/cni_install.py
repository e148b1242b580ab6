"""``podwire cni-install``: podwire's CNI plugins as executables in a directory."""

from __future__ import annotations

import os
from typing import Optional

from ..cni.install.executables import UNCHANGED, install, look


def cni_install(directory: str, *, python: Optional[str], force: bool, listing: bool) -> None:
    """Install, or with ``listing`` only look; print one line a plugin."""
    entries = look(directory, python=python) if listing else install(directory, python=python, force=force)
    for entry in entries:
        if listing or entry.state != UNCHANGED:
            print(f"{os.path.basename(entry.path):12} {entry.state}")
    if not listing and all(entry.state == UNCHANGED for entry in entries):
        print(f"nothing to do in {directory}")
