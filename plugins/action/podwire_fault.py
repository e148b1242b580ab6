"""Break, mend or list: each node has its own faults, and does nothing about those of others."""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, List, Optional

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

from podwire.doors import answer, controller, faults
from podwire.doors.node import load


class ActionModule(ActionBase):  # type: ignore[misc]
    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        super().run(tmp, task_vars)
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
        self._make_tmp_path()
        there = self._connection._shell.join_path(self._connection._shell.tmpdir, "intent.json")
        state = {faults.inject: "present", faults.mend: "absent", faults.lacking: "listed"}[function]
        arguments = {
            "intent": self._transfer_file(str(options["intent"]), there),
            "node": host,
            "state": state,
            "fault": options.get("fault"),
            "host_wide": options.get("host_wide", False),
            "blind": options.get("blind", False),
            "addresses": options["addresses"],
            "faults": [vars(each) for each in options.get("faults", ())],
        }
        result: Dict[str, Any] = self._execute_module(module_args=arguments, task_vars=self._variables)
        return result

    def _tell(self, host: str, result: Dict[str, Any]) -> Dict[str, Any]:
        """Say in any case what was done: a diff is shown only to whoever asks for it."""
        if not self._play_context.diff:
            lines: List[str] = [line for each in result.get("diff", ()) for line in each["prepared"].splitlines()[1:]]
            Display().display("\n".join(f"{host}: {line}" for line in lines))
        return result
