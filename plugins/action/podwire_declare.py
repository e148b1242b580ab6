"""Read the intent from the variables of all hosts, also with --limit."""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, Iterator, Mapping, Optional, Set, Tuple

from ansible import constants as C
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

from podwire.intent.ids import inventory_source
from podwire.intent.inventory.names import COMMAND_VARIABLES
from podwire.stages import task_result
from podwire.stages.arguments import ARGUMENTS
from podwire.stages.controller.declare import declare

#: Variables that Ansible itself puts on each host.
MAGIC = {
    "environment", "group_names", "groups", "hostvars", "inventory_dir", "inventory_file", "inventory_hostname",
    "inventory_hostname_short", "omit", "play_hosts", "playbook_dir", "role_name", "role_names", "role_path", "vars",
}  # fmt: skip


class ActionModule(ActionBase):  # type: ignore[misc]
    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        _, options = self.validate_argument_spec(ARGUMENTS["podwire_declare"])
        names = list(variables["groups"]["all"])
        hosts = {str(name): variables["hostvars"][name] for name in names}
        source = inventory_source(variables["ansible_inventory_sources"])
        # Extra variables of break.yml are variables of every host, and not part of the inventory.
        commanded = set(COMMAND_VARIABLES) & set(load_extra_vars(self._loader))
        wanted = {
            host: {key: values[key] for key in values if ours(key) and key not in commanded}
            for host, values in hosts.items()
        }
        lists: Set[str] = set()
        reached = set(variables.get("ansible_play_hosts") or names)
        lost = [str(name) for name in variables.get("ansible_play_hosts_all") or names if name not in reached]
        facts = {host: (values.get("ansible_facts") or {}).get("podwire") for host, values in hosts.items()}
        return task_result(
            declare,
            {host: plain(values) for host, values in wanted.items()},
            {host: plain(values) for host, values in facts.items() if values},
            source,
            {(host, key): location for host, values in wanted.items() for key, location in locations(values, lists)},
            C.DEFAULT_LOCAL_TMP,
            bool(self._task.check_mode),
            [str(name) for name in options["leaving"] or ()],
            lost,
        )


def ours(key: str) -> bool:
    """Is this a variable of the inventory's author? Not one of Ansible's own, except for how to connect to a host."""
    return key not in MAGIC and (not key.startswith("ansible_") or key in ("ansible_host", "ansible_connection"))


def plain(value: Any) -> Any:
    """Ansible's tagged and lazily templated values as plain Python."""
    if isinstance(value, Mapping):
        return {plain(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    return str(value)


def locations(values: Mapping[str, Any], lists: Set[str]) -> Iterator[Tuple[str, str]]:
    """File and line of each variable, as far as Ansible knows them (it tags values from files since 2.19).

    An entry of a list that has a name is ``variable.name``, returned once for all hosts that share the list: ``lists``
    has the locations of the lists that are done.
    """
    try:
        from ansible._internal._datatag._tags import Origin
    except ImportError:
        return

    def location(*tagged: Any) -> str:
        origin = next(filter(None, map(Origin.get_tag, tagged)), None)
        if origin is None or not origin.path:
            return ""
        relative = os.path.relpath(origin.path)
        line = f":{origin.line_num}" if origin.line_num else ""
        return f"{origin.path if relative.startswith('..') else relative}{line}"

    for key, value in values.items():
        where = location(value, key)  # booleans and null have no tag; their key has
        if where:
            yield str(key), where
        if not isinstance(value, (list, tuple)) or where in lists:
            continue
        lists.add(where)
        for entry in value:
            name = entry.get("name") if isinstance(entry, Mapping) else entry
            if isinstance(name, str) and location(entry, name):
                yield f"{key}.{name}", location(entry, name)
