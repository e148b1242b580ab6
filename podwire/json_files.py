"""JSON files of podwire's own: whole or not there."""

from __future__ import annotations

import json
from typing import Any

from .files import replace_file


def write_json(path: str, data: Any) -> None:
    """Write a JSON file by temporary file and rename."""
    replace_file(path, json.dumps(data).encode(), 0o644, fsync=False)


def read_json(path: str) -> Any:
    """What a JSON file holds; None if it is not there. ValueError for what is not JSON."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
