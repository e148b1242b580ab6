"""Run a stage on a node. podwire_attach, podwire_evidence, podwire_find and podwire_probe are links to this file.

A netns node is entered from this very process: that costs 0.03 s a node, a module 0.4 s. Every
other node gets the module of the same name, and the intent as a file beside it.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Callable, Dict, Optional

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

from podwire.doors import answer, controller
from podwire.doors.node import load


class ActionModule(ActionBase):  # type: ignore[misc]
    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        stage = self._task.action.rpartition("podwire_")[2]
        options = dict(self._task.args)
        name = options["node"] = str(options.get("node") or variables["inventory_hostname"])
        cluster = load(str(options["intent"]))
        if stage in ("probe", "evidence"):
            told = controller.kept("pods", str(options["results"]), cluster)
            options["addresses"] = {pod: addresses for pods in told.values() for pod, addresses in pods.items()}
            if cluster.discovered or options.get("throughput"):
                options["found"] = controller.kept("found", str(options["results"]), cluster)
        if cluster.node(name).kind == "netns":
            check = bool(self._task.check_mode)
            result = answer(controller.visit, cluster, stage, name, options, check, progress(name))
        else:
            result = self._by_module(options, variables)
        return controller.keep(result, str(options.get("results")), name)

    def _by_module(self, options: Dict[str, Any], variables: Dict[str, Any]) -> Dict[str, Any]:
        self._make_tmp_path()
        there = self._connection._shell.join_path(self._connection._shell.tmpdir, "intent.json")
        arguments = {**options, "intent": self._transfer_file(options["intent"], there)}
        result: Dict[str, Any] = self._execute_module(module_args=arguments, task_vars=variables)
        return result


def progress(node: str) -> Callable[[int, int], None]:
    """Says how far a node's probes are."""

    def say(done: int, of: int) -> None:
        Display().display(f"podwire: {node} has sent {done:,} of {of:,} probes")

    return say
