"""What was broken on a node, written down before it is touched: all that an undo needs, and nothing but files.

``/var/lib/podwire/faults/<fault>.json``, one file a fault. It is flushed to the disk with its directory before the
first edit, again with the state after the last one, and unlinked when the node is mended.
"""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List

from ..errors import FaultError
from ..files import replace_file
from ..kernel.lock import locked
from ..model.objects import FAULT_JOURNAL

DIRECTORY = FAULT_JOURNAL
VERSION = 1

Entry = Dict[str, Any]
"""fault, number, node; expects; places: {name of a namespace: {identity, sysctls, before, after}}; cells (resources):
[{place, identity, cell, before, after}]; blocks; probe. ``after`` of a place is None until the injection is over."""


def taken() -> locked:
    """Hold the journal: one injection or repair of a node at a time."""
    return locked(os.path.join(DIRECTORY, "lock"))


def entries() -> List[Entry]:
    """What is written down, the oldest first. FaultError for a file that cannot be read."""
    try:
        names = [name for name in os.listdir(DIRECTORY) if name.endswith(".json")]
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        path = os.path.join(DIRECTORY, name)
        try:
            with open(path, encoding="utf-8") as file:
                entry: Entry = json.load(file)
        except ValueError as error:
            raise FaultError(
                f"failed to read {path}: {error}", "what it was to undo has to be undone by hand"
            ) from error
        if entry.get("version") != VERSION:
            raise FaultError(
                f"failed to read {path}: version {entry.get('version')}", "mend with the podwire that broke it"
            )
        found.append(entry)
    return sorted(found, key=lambda entry: entry["number"])


def write(entry: Entry) -> None:
    """Keep an entry, all of it and for good, before this returns."""
    content = json.dumps({"version": VERSION, **entry}, indent=1).encode()
    os.makedirs(os.path.dirname(_path(entry)), exist_ok=True)
    replace_file(_path(entry), content, 0o600)
    _flush()


def remove(entry: Entry) -> None:
    """Forget an entry."""
    os.unlink(_path(entry))
    _flush()


def sweep() -> None:
    """Remove what a death in the middle of ``write`` left."""
    for name in os.listdir(DIRECTORY):
        if name.startswith("."):
            os.unlink(os.path.join(DIRECTORY, name))


def _path(entry: Entry) -> str:
    return os.path.join(DIRECTORY, f"{entry['fault']}.json")


def _flush() -> None:
    directory = os.open(DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
