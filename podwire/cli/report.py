"""``podwire report``: write the report of a results.json again, or compare two."""

from __future__ import annotations

import os
import sys
from typing import Optional

from ..errors import ReportError
from ..intent.ids import cluster_id
from ..lab.registry import state_dir
from ..report.compare import broke, compare, text
from ..report.files import DOCUMENT, load, write
from .intent import default_source


def report(document: Optional[str], output: Optional[str], inventory: Optional[str]) -> int:
    """Write all files of a report, by default of the inventory's last run."""
    path = document or _latest(inventory)
    read = load(path)
    directory = output or os.path.dirname(os.path.abspath(path))
    write(read, directory)
    print(os.path.join(directory, "index.html"))
    return 0


def compared(old: str, new: str) -> int:
    """Print what broke and what was repaired; 1 if anything broke."""
    before, after = load(old), load(new)
    changes = compare(before, after)
    sys.stdout.write(text(before, after, changes))
    return 1 if broke(changes) else 0


def _latest(inventory: Optional[str]) -> str:
    source = inventory or default_source()
    path = os.path.join(state_dir(cluster_id(source)), "results", "report", DOCUMENT)
    if not os.path.exists(path):
        raise ReportError(
            f"failed to find a report of {source}: there is no {path}", "run site.yml or verify.yml first"
        )
    return path
