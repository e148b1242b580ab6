"""Install the CNI plugins: for all netns nodes at once on the controller, on every other node by the module."""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, Optional

from ansible.plugins.action import ActionBase

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

from podwire.doors import answer, controller
from podwire.doors.node import load


class ActionModule(ActionBase):  # type: ignore[misc]
    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        options = dict(self._task.args)
        cluster = load(str(options.pop("intent")))
        kinds = {node.name: node.kind for node in cluster.nodes}
        name = str(variables["inventory_hostname"])
        if kinds[name] != "netns":
            result: Dict[str, Any] = self._execute_module(module_args=options, task_vars=variables)
            return result
        if name != next(str(host) for host in variables["ansible_play_hosts_all"] if kinds[str(host)] == "netns"):
            return {"changed": False}
        return answer(controller.plugins, cluster, bool(self._task.check_mode))
