"""The cluster that an inventory declares, for the command line."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Dict, Optional

from ..errors import PodwireError
from ..intent.cluster import Cluster
from ..intent.cluster_json import cluster_from_json
from ..intent.ids import cluster_id
from ..lab import registry

_CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def load(inventory: Optional[str]) -> Cluster:
    """The cluster of the last run if its lab is running, else as the inventory declares it now."""
    source = inventory or default_source()
    if not os.path.exists(source) and "," not in source:
        raise PodwireError(f"failed to read inventory {source}: there is no such file", "name one: -i INVENTORY")
    identity = cluster_id(source)
    lab = registry.read(identity)
    known = registry.intent(identity) if lab and lab.nodes() else None
    return cluster_from_json(known) if known else _read(source, identity)


def default_source() -> str:
    """The default inventory: $ANSIBLE_INVENTORY, or the one that ./run site uses."""
    return os.environ.get("ANSIBLE_INVENTORY") or os.path.join(_CHECKOUT, "inventories", "lab")


def _read(source: str, identity: str) -> Cluster:
    from ..intent.inventory import read
    from ..intent.leases import Record

    try:
        with open(os.path.join(registry.state_dir(identity), "record.json"), encoding="utf-8") as file:
            record = Record.from_json(json.load(file))
    except FileNotFoundError:
        record = None
    return read(_hosts(source), source=source, record=record)


def _hosts(source: str) -> Dict[str, Dict[str, Any]]:
    """Variables by host, as Ansible itself reads them."""
    import subprocess

    environment = {**os.environ}
    environment.setdefault("ANSIBLE_CONFIG", os.path.join(_CHECKOUT, "ansible.cfg"))
    # A module and not a script: scripts are not in PATH if the virtual environment is not active.
    command = [sys.executable, "-m", "ansible", "inventory", "-i", source, "--list"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        cause = (done.stderr.strip() or "ansible-inventory failed").splitlines()[-1]
        raise PodwireError(f"failed to read inventory {source}: {cause}")
    data = json.loads(done.stdout)
    variables: Dict[str, Dict[str, Any]] = data["_meta"]["hostvars"]
    names = _members(data, "all", [])
    return {name: variables.get(name, {}) for name in names}


def _members(data: Dict[str, Any], group: str, names: list[str]) -> list[str]:
    """The hosts of a group and its children, in the inventory's order, each once."""
    for name in data.get(group, {}).get("hosts", ()):
        if name not in names:
            names.append(name)
    for child in data.get(group, {}).get("children", ()):
        _members(data, child, names)
    return names
