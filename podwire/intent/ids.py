"""The cluster's id, a function of its inventory's path: labs of two inventories never collide."""

from __future__ import annotations

import hashlib
import os
import re
from typing import Sequence


def inventory_source(sources: Sequence[str]) -> str:
    """One name for what was given with ``-i``, as often as it was given (ansible_inventory_sources).

    Molecule puts an inventory of its own beside the one that it is given, in a directory that changes with the user.
    """
    names = sorted(map(str, sources))
    molecule = os.environ.get("MOLECULE_EPHEMERAL_DIRECTORY")
    return ",".join([name for name in names if not molecule or not name.startswith(molecule)] or names)


def inventory_option(source: str) -> str:
    """`` -i`` and the inventory as a person would name it from here; nothing for the default one."""
    near = os.path.relpath(source) if os.path.exists(source) else source
    return "" if near == "inventories/lab" else f" -i {source if near.startswith('..') else near}"


def cluster_id(source: str) -> str:
    """The id of the cluster that the inventory at ``source`` declares, such as ``lab-1f0c9a2e``.

    It is the inventory's name (the folder's for ``hosts.*``, else the file's stem) and the start of
    the SHA-256 of its real path. A folder and the ``hosts.*`` in it are the same inventory. Host lists
    (``-i a,b,c,``) and several inventories have no path; their text takes its place.
    """
    if "," in source and not os.path.exists(source):
        return f"list-{hashlib.sha256(source.encode()).hexdigest()[:8]}"
    path = os.path.realpath(source)
    folder, file = os.path.split(path)
    stem = os.path.splitext(file)[0]
    if stem == "hosts" and not os.path.isdir(path):
        path, stem = folder, os.path.basename(folder)
    elif os.path.isdir(path):
        stem = file
    name = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-") or "lab"
    return f"{name[:32]}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"
