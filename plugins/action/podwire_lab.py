"""Make or remove the lab's nodes and underlay, in one go, on the controller."""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, Optional

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

from podwire.intent.ids import inventory_source
from podwire.lab.image import BASE, Image
from podwire.stages import answer, controller
from podwire.stages.node import load


class ActionModule(ActionBase):  # type: ignore[misc]
    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        check = bool(self._task.check_mode)
        if "leaving" in self._task.args:
            names = [str(name) for name in self._task.args["leaving"]]
            return answer(controller.leave, load(str(self._task.args["intent"])), names, check)
        if self._task.args.get("state", "present") == "absent":
            if set(variables["ansible_play_hosts_all"]) != set(variables["groups"]["all"]):
                return {"failed": True, "msg": "failed to remove the lab: it goes as a whole; run without --limit"}
            return answer(controller.remove, inventory_source(variables["ansible_inventory_sources"]), check)
        hosts = [str(host) for host in variables["ansible_play_hosts_all"]]
        image = Image(str(self._task.args.get("image") or ""), str(self._task.args.get("base") or BASE))
        cluster = load(str(self._task.args["intent"]))
        return answer(controller.lab, cluster, hosts, image, check, lambda text: Display().display(f"podwire: {text}"))
