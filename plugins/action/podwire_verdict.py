"""Judge what the nodes observed, and say so in a form for people."""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, Optional

from ansible.plugins.action import ActionBase
from ansible.utils.color import ANSIBLE_COLOR
from ansible.utils.display import Display

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

from podwire.cluster_id import inventory_source
from podwire.doors import answer, summary
from podwire.doors.node import load


class ActionModule(ActionBase):  # type: ignore[misc]
    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = self._task.args
        cluster = load(str(arguments["intent"]))
        hosts = [str(host) for host in variables["ansible_play_hosts_all"]]
        source = inventory_source(variables["ansible_inventory_sources"])
        if self._task.check_mode:
            result = summary.declared(cluster)
        else:
            began = float(arguments["began"])
            # Ansible knows whether its output is a terminal, and of NO_COLOR.
            result = answer(summary.verdict, cluster, hosts, str(arguments["results"]), source, began, ANSIBLE_COLOR)
        if "text" in result:
            Display().display(result.pop("text"))
        return result
