"""Name the root causes of what fails, in a form for people."""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, Optional

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

from podwire.intent.ids import inventory_source
from podwire.stages import answer, controller, diagnosis
from podwire.stages.node import load


class ActionModule(ActionBase):  # type: ignore[misc]
    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        super().run(tmp, task_vars)
        variables, arguments = task_vars or {}, self._task.args
        cluster = load(str(arguments["intent"]))
        ends = str(arguments.get("src") or ""), str(arguments.get("dst") or "")
        hosts = [str(host) for host in variables["ansible_play_hosts"]]  # without those that failed
        if arguments.get("ask"):
            return answer(diagnosis.question, cluster, hosts, str(arguments["results"]), ends)
        lost = [str(host) for host in variables["ansible_play_hosts_all"] if str(host) not in hosts]
        source = inventory_source(variables["ansible_inventory_sources"])
        origins = controller.origins(str(arguments["intent"]), source, cluster)
        results, began = str(arguments["results"]), float(arguments["began"])
        result = answer(diagnosis.diagnosis, cluster, hosts, results, source, began, ends, origins, lost)
        if "text" in result:
            Display().display(result.pop("text"))
        return result
