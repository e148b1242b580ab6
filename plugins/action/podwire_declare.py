"""Read the intent from the variables of all hosts, whatever the run is limited to."""

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
from podwire.stages import answer, controller
from podwire.stages.arguments import ARGUMENTS

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
        # What break.yml is told on the command line is on every host then, and no part of the inventory.
        commanded = set(COMMAND_VARIABLES) & set(load_extra_vars(self._loader))
        wanted = {
            host: {key: values[key] for key in values if ours(key) and key not in commanded}
            for host, values in hosts.items()
        }
        lists: Set[str] = set()
        left = set(variables.get("ansible_play_hosts") or names)
        lost = [str(name) for name in variables.get("ansible_play_hosts_all") or names if name not in left]
        told = {host: (values.get("ansible_facts") or {}).get("podwire") for host, values in hosts.items()}
        return answer(
            controller.declare,
            {host: plain(values) for host, values in wanted.items()},
            {host: plain(each) for host, each in told.items() if each},
            source,
            {(host, key): place for host, values in wanted.items() for key, place in places(values, lists)},
            C.DEFAULT_LOCAL_TMP,
            bool(self._task.check_mode),
            [str(name) for name in options["leaving"] or ()],
            lost,
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


def places(values: Mapping[str, Any], lists: Set[str]) -> Iterator[Tuple[str, str]]:
    """Where each variable was written, as far as Ansible remembers (it tags what comes from files since 2.19).

    An entry of a list that has a name is ``variable.name``, said once for all hosts that share the list: ``lists``
    holds where those lists stand that were gone through.
    """
    try:
        from ansible._internal._datatag._tags import Origin
    except ImportError:
        return

    def place(*tagged: Any) -> str:
        origin = next(filter(None, map(Origin.get_tag, tagged)), None)
        if origin is None or not origin.path:
            return ""
        near = os.path.relpath(origin.path)
        line = f":{origin.line_num}" if origin.line_num else ""
        return f"{origin.path if near.startswith('..') else near}{line}"

    for key, value in values.items():
        where = place(value, key)  # booleans and null carry no tag; their key does
        if where:
            yield str(key), where
        if not isinstance(value, (list, tuple)) or where in lists:
            continue
        lists.add(where)
        for each in value:
            name = each.get("name") if isinstance(each, Mapping) else each
            if isinstance(name, str) and place(each, name):
                yield f"{key}.{name}", place(each, name)
