"""Combine the findings of all nodes, and print them."""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, List, Optional

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

from podwire.stages import task_result
from podwire.stages.arguments import ARGUMENTS
from podwire.stages.controller import findings
from podwire.stages.node import load


class ActionModule(ActionBase):  # type: ignore[misc]
    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(ARGUMENTS["podwire_findings"])
        hosts = [str(host) for host in (task_vars or {})["ansible_play_hosts_all"]]
        result = task_result(self._report, options, hosts)
        if "text" in result:
            Display().display(result.pop("text"))
        return result

    def _report(self, options: Dict[str, Any], hosts: List[str]) -> Dict[str, Any]:
        return findings.report(load(str(options["intent"])), hosts, str(options["results"]), str(options["run"]))
