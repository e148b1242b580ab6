"""Evaluate the observations of all nodes, and print the verdict."""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, Optional

from ansible.plugins.action import ActionBase
from ansible.utils.color import ANSIBLE_COLOR
from ansible.utils.display import Display

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

from podwire.intent.ids import inventory_source
from podwire.stages import task_result
from podwire.stages.arguments import ARGUMENTS
from podwire.stages.controller import verdict
from podwire.stages.controller.declare import origins
from podwire.stages.node import load


class ActionModule(ActionBase):  # type: ignore[misc]
    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(ARGUMENTS["podwire_verdict"])
        result = task_result(self._evaluate, options, task_vars or {})
        if "text" in result:
            Display().display(result.pop("text"))
        return result

    def _evaluate(self, options: Dict[str, Any], variables: Dict[str, Any]) -> Dict[str, Any]:
        intent, results, began = str(options["intent"]), str(options["results"]), float(options["began"])
        cluster = load(intent)
        if self._task.check_mode:
            return verdict.declared(cluster)
        hosts = [str(host) for host in variables["ansible_play_hosts"]]
        lost = [str(host) for host in variables["ansible_play_hosts_all"] if str(host) not in hosts]
        source = inventory_source(variables["ansible_inventory_sources"])
        # Ansible knows whether its output is a terminal, and of NO_COLOR.
        lines = origins(intent, source, cluster)
        return verdict.verdict(cluster, hosts, lost, results, source, began, ANSIBLE_COLOR, lines)
