"""Break, mend or list: each node has its own faults, and does nothing about those of others."""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, List, Optional

from ansible.plugins.action import ActionBase
from ansible.plugins.loader import action_loader
from ansible.utils.display import Display

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

from podwire.intent.ids import inventory_option, inventory_source
from podwire.lab.registry import node_pid
from podwire.stages import answer, controller, faults
from podwire.stages.node import load


class ActionModule(action_loader.get("podwire_node", class_only=True)):  # type: ignore[misc]
    """As other stages where a module brings it to the node."""

    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        ActionBase.run(self, tmp, task_vars)
        self._variables = task_vars or {}
        return answer(self._act, self._options(), str(self._variables["inventory_hostname"]))

    def _act(self, options: Dict[str, Any], host: str) -> Dict[str, Any]:
        cluster = load(str(options["intent"]))
        state = options["state"]
        hosts = [str(each) for each in self._variables["ansible_play_hosts_all"]]
        told = controller.kept("pods", str(options["results"]), cluster)
        options["addresses"] = {pod: ips for pods in told.values() for pod, ips in pods.items()}
        options["which"] = inventory_option(inventory_source(self._variables["ansible_inventory_sources"]))
        if options.get("fault") == faults.LIST or state == "listed":
            return self._list(cluster, host, options, hosts)
        if state == "absent":
            if not faults.mends(host, cluster, options, hosts):
                return {"changed": False, "skipped": True}
            return self._tell(host, self._call(faults.mend, cluster, host, options))
        every = faults.asked_of(host, cluster, options, hosts)
        mine = [each for each in every if each.node == host]
        if not mine:
            return {"changed": False, "skipped": True}
        # Of a whole drill the faults of one node may hide how those of the next would show.
        blind = options["blind"] or len(every) > 1
        result = self._tell(host, self._call(faults.inject, cluster, host, {**options, "faults": mine, "blind": blind}))
        last = max(hosts.index(each.node) for each in every) == hosts.index(host)
        if last and not self._task.check_mode and not result.get("failed"):
            Display().display(f"explain  ./run explain{options['which']}\nundo     ./run mend{options['which']}\n")
        return result

    def _list(self, cluster: Any, host: str, options: Dict[str, Any], hosts: List[str]) -> Dict[str, Any]:
        if not faults.lists(host, options, hosts):
            return {"changed": False, "skipped": True}
        result = self._call(faults.lacking, cluster, host, options)
        if result.get("failed"):
            return result
        Display().display(faults.table(result.get("lacking"), host))
        return {"changed": False, "lacking": result.get("lacking") or {}}

    def _call(self, function: Any, cluster: Any, host: str, options: Dict[str, Any]) -> Dict[str, Any]:
        if cluster.node(host).kind == "netns":
            return answer(faults.visit, function, cluster, host, options, bool(self._task.check_mode))
        if cluster.node(host).kind == "docker" and node_pid(cluster.id, host) is None:
            return answer(faults.not_running, function, host, options, bool(self._task.check_mode))
        arguments = {
            "intent": options["intent"],
            "results": options["results"],
            "node": host,
            "state": {faults.inject: "present", faults.mend: "absent", faults.lacking: "listed"}[function],
            "fault": options.get("fault"),
            "host_wide": options["host_wide"],
            "blind": options["blind"],
            "addresses": options["addresses"],
            "faults": [vars(fault) for fault in options.get("faults", ())],
        }
        result: Dict[str, Any] = self._by_module(arguments, self._variables)
        return result

    def _tell(self, host: str, result: Dict[str, Any]) -> Dict[str, Any]:
        """Say in any case what was done: a diff is shown only to whoever asks for it."""
        if not self._play_context.diff:
            lines: List[str] = [line for each in result.get("diff", ()) for line in each["prepared"].splitlines()[1:]]
            if lines:
                Display().display("\n".join(f"{host}: {line}" for line in lines) + "\n")
        return result
