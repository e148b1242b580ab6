"""Break, mend or list: each node has its own faults, and does nothing about those of others."""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, List, Optional

from ansible.plugins.action import ActionBase
from ansible.plugins.loader import action_loader
from ansible.utils.display import Display

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

from podwire.doors import answer, controller, faults
from podwire.doors.node import load
from podwire.lab.registry import node_pid


class ActionModule(action_loader.get("podwire_node", class_only=True)):  # type: ignore[misc]
    """As other stages where a module brings it to the node."""

    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        ActionBase.run(self, tmp, task_vars)
        self._variables = task_vars or {}
        return answer(self._act, dict(self._task.args), str(self._variables["inventory_hostname"]))

    def _act(self, options: Dict[str, Any], host: str) -> Dict[str, Any]:
        cluster = load(str(options["intent"]))
        state = options.get("state", "present")
        told = controller.kept("pods", str(options["results"]), cluster)
        options["addresses"] = {pod: ips for pods in told.values() for pod, ips in pods.items()}
        if options.get("fault") == faults.LIST or state == "listed":
            return self._list(cluster, host, options)
        if state == "absent":
            return self._tell(host, self._call(faults.mend, cluster, host, options))
        hosts = [str(each) for each in self._variables["ansible_play_hosts_all"]]
        if host not in hosts[:1]:  # what is wrong with the command line is said once
            mine = faults.asked_of(host, cluster, options)
        else:
            mine = [each for each in faults.asked(cluster, options, hosts) if each.node == host]
        if not mine:
            return {"changed": False, "skipped": True}
        return self._tell(host, self._call(faults.inject, cluster, host, {**options, "faults": mine}))

    def _list(self, cluster: Any, host: str, options: Dict[str, Any]) -> Dict[str, Any]:
        where = str(options.get("node") or next(iter(self._variables["ansible_play_hosts_all"])))
        if host != where:
            return {"changed": False, "skipped": True}
        result = self._call(faults.lacking, cluster, host, options)
        if result.get("failed"):
            return result
        Display().display(faults.table(result.get("lacking")))
        return {"changed": False, "lacking": result.get("lacking") or {}}

    def _call(self, function: Any, cluster: Any, host: str, options: Dict[str, Any]) -> Dict[str, Any]:
        if cluster.node(host).kind == "netns":
            return answer(faults.visit, function, cluster, host, options, bool(self._task.check_mode))
        if cluster.node(host).kind == "docker" and node_pid(cluster.id, host) is None:
            return answer(faults.not_running, function, host, bool(self._task.check_mode))
        arguments = {
            "intent": options["intent"],
            "node": host,
            "state": {faults.inject: "present", faults.mend: "absent", faults.lacking: "listed"}[function],
            "fault": options.get("fault"),
            "host_wide": options.get("host_wide", False),
            "blind": options.get("blind", False),
            "addresses": options["addresses"],
            "faults": [vars(each) for each in options.get("faults", ())],
        }
        result: Dict[str, Any] = self._by_module(arguments, self._variables)
        return result

    def _tell(self, host: str, result: Dict[str, Any]) -> Dict[str, Any]:
        """Say in any case what was done: a diff is shown only to whoever asks for it."""
        if not self._play_context.diff:
            lines: List[str] = [line for each in result.get("diff", ()) for line in each["prepared"].splitlines()[1:]]
            Display().display("\n".join(f"{host}: {line}" for line in lines))
        return result
