"""Judge what preflight found out, and say so in a form for people."""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, Optional

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

from podwire.stages import answer, findings
from podwire.stages.node import load


class ActionModule(ActionBase):  # type: ignore[misc]
    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = self._task.args
        hosts = [str(host) for host in variables["ansible_play_hosts_all"]]
        cluster, run = load(str(arguments["intent"])), str(arguments["run"])
        result = answer(findings.verdict, cluster, hosts, str(arguments["results"]), run)
        if "text" in result:
            Display().display(result.pop("text"))
        return result
