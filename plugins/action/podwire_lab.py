"""Create or remove the lab's nodes and underlay, in one call, on the controller."""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, Optional

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

from podwire.errors import LabError
from podwire.intent.ids import inventory_source
from podwire.lab.image import BASE, Image
from podwire.stages import task_result
from podwire.stages.arguments import ARGUMENTS, REQUIRED_IF
from podwire.stages.controller import lab
from podwire.stages.node import load


class ActionModule(ActionBase):  # type: ignore[misc]
    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(ARGUMENTS["podwire_lab"], required_if=REQUIRED_IF["podwire_lab"])
        return task_result(self._run, options, task_vars or {})

    def _run(self, options: Dict[str, Any], variables: Dict[str, Any]) -> Dict[str, Any]:
        check = bool(self._task.check_mode)
        hosts = [str(host) for host in variables["ansible_play_hosts_all"]]
        if options["state"] == "absent":
            if set(hosts) != set(variables["groups"]["all"]):
                raise LabError("failed to remove the lab: it is removed as a whole", "run without --limit")
            return lab.absent(inventory_source(variables["ansible_inventory_sources"]), check)
        cluster = load(str(options["intent"]))
        if options["leaving"] is not None:
            return lab.leave(cluster, [str(name) for name in options["leaving"]], check)
        image = Image(str(options["image"] or ""), str(options["base"] or BASE))
        return lab.present(cluster, hosts, image, check, lambda text: Display().display(f"podwire: {text}"))
