"""Judge what the nodes observed, and say so in a form for people."""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, Optional

from ansible.plugins.action import ActionBase
from ansible.utils.color import ANSIBLE_COLOR
from ansible.utils.display import Display

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

from podwire.intent.ids import inventory_source
from podwire.stages import answer, controller, summary
from podwire.stages.node import load


class ActionModule(ActionBase):  # type: ignore[misc]
    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = self._task.args
        cluster = load(str(arguments["intent"]))
        hosts = [str(host) for host in variables["ansible_play_hosts"]]
        lost = [str(host) for host in variables["ansible_play_hosts_all"] if host not in hosts]
        source = inventory_source(variables["ansible_inventory_sources"])
        if self._task.check_mode:
            result = summary.declared(cluster)
        else:
            began = float(arguments["began"])
            origins = controller.origins(str(arguments["intent"]), source, cluster)
            # Ansible knows whether its output is a terminal, and of NO_COLOR.
            result = answer(
                summary.verdict, cluster, hosts, lost, str(arguments["results"]), source, began, ANSIBLE_COLOR, origins
            )
        if "text" in result:
            Display().display(result.pop("text"))
        return result
