"""Read the intent from the variables of all hosts, whatever the run is limited to."""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, Iterator, Mapping, Optional, Tuple

from ansible import constants as C
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

from podwire.cluster_id import inventory_source
from podwire.doors import answer, controller
from podwire.inventory.names import COMMAND_VARIABLES

#: Variables that Ansible itself puts on each host.
MAGIC = {
    "environment", "group_names", "groups", "hostvars", "inventory_dir", "inventory_file", "inventory_hostname",
    "inventory_hostname_short", "omit", "play_hosts", "playbook_dir", "role_name", "role_names", "role_path", "vars",
}  # fmt: skip


class ActionModule(ActionBase):  # type: ignore[misc]
    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        names = list(variables["groups"]["all"])
        hosts = {str(name): variables["hostvars"][name] for name in names}
        source = inventory_source(variables["ansible_inventory_sources"])
        # What break.yml is told on the command line is on every host then, and no part of the inventory.
        told = set(COMMAND_VARIABLES) & set(load_extra_vars(self._loader))
        wanted = {
            host: {key: values[key] for key in values if ours(key) and key not in told}
            for host, values in hosts.items()
        }
        return answer(
            controller.declare,
            {host: plain(values) for host, values in wanted.items()},
            source,
            {(host, key): place for host, values in wanted.items() for key, place in places(values)},
            C.DEFAULT_LOCAL_TMP,
            bool(self._task.check_mode),
        )


def ours(key: str) -> bool:
    """Is this a variable of the inventory's author? Ansible's own are left out, but for how to reach a host."""
    return key not in MAGIC and (not key.startswith("ansible_") or key in ("ansible_host", "ansible_connection"))


def plain(value: Any) -> Any:
    """Ansible's tagged and lazily templated values as plain Python."""
    if isinstance(value, Mapping):
        return {plain(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    return str(value)


def places(values: Mapping[str, Any]) -> Iterator[Tuple[str, str]]:
    """Where each variable was written, as far as Ansible remembers (it tags what comes from files since 2.19)."""
    try:
        from ansible._internal._datatag._tags import Origin
    except ImportError:
        return
    for key, value in values.items():
        # Booleans and null carry no tag; their key does.
        origin = Origin.get_tag(value) or Origin.get_tag(key)
        if origin is not None and origin.path:
            line = f":{origin.line_num}" if origin.line_num else ""
            near = os.path.relpath(origin.path)
            yield str(key), f"{origin.path if near.startswith('..') else near}{line}"
