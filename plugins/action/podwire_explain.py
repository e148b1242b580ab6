"""Infer the root causes of failures, and print them."""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, Optional

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

from podwire.intent.ids import inventory_source
from podwire.stages import task_result
from podwire.stages.arguments import ARGUMENTS
from podwire.stages.controller import diagnosis
from podwire.stages.controller.declare import origins
from podwire.stages.node import load


class ActionModule(ActionBase):  # type: ignore[misc]
    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(ARGUMENTS["podwire_explain"])
        result = task_result(self._explain, options, task_vars or {})
        if "text" in result:
            Display().display(result.pop("text"))
        return result

    def _explain(self, options: Dict[str, Any], variables: Dict[str, Any]) -> Dict[str, Any]:
        intent, results, began = str(options["intent"]), str(options["results"]), float(options["began"])
        cluster = load(intent)
        ends = str(options["src"] or ""), str(options["dst"] or "")
        hosts = [str(host) for host in variables["ansible_play_hosts"]]  # without those that failed
        if options["ask"]:
            return diagnosis.select_traces(cluster, hosts, results, ends)
        lost = [str(host) for host in variables["ansible_play_hosts_all"] if str(host) not in hosts]
        source = inventory_source(variables["ansible_inventory_sources"])
        lines = origins(intent, source, cluster)
        return diagnosis.diagnosis(cluster, hosts, results, source, began, ends, lines, lost)
