"""Inject, repair or list faults: each node has its own faults, and does nothing about those of others."""

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
from podwire.stages import task_result
from podwire.stages.controller import faults
from podwire.stages.controller.results import pod_addresses
from podwire.stages.node import load


class ActionModule(action_loader.get("podwire_node", class_only=True)):  # type: ignore[misc]
    """Like the other stages on nodes that get a module."""

    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        ActionBase.run(self, tmp, task_vars)
        self._variables = task_vars or {}
        return task_result(self._act, self._options(), str(self._variables["inventory_hostname"]))

    def _act(self, options: Dict[str, Any], host: str) -> Dict[str, Any]:
        cluster = load(str(options["intent"]))
        hosts = [str(name) for name in self._variables["ansible_play_hosts_all"]]
        options.setdefault("addresses", pod_addresses(str(options["results"]), cluster))
        options["which"] = inventory_option(inventory_source(self._variables["ansible_inventory_sources"]))
        if options.get("fault") == faults.LIST or options["state"] == "listed":
            return self._list(cluster, host, options, hosts)
        if options["state"] == "absent":
            if not faults.is_repaired(host, cluster, options, hosts):
                return {"changed": False, "skipped": True}
            return self._show(host, self._run_state("absent", cluster, host, options))
        selected = faults.selected_by(host, cluster, options, hosts)
        local = [fault for fault in selected if fault.node == host]
        if not local:
            return {"changed": False, "skipped": True}
        # The faults of one node may hide the effect of those of the next.
        options = {**options, "faults": local, "blind": options["blind"] or len(selected) > 1}
        result = self._show(host, self._run_state("present", cluster, host, options))
        last = max(hosts.index(fault.node) for fault in selected) == hosts.index(host)
        if last and not self._task.check_mode and not result.get("failed"):
            Display().display(f"explain  ./run explain{options['which']}\nundo     ./run mend{options['which']}\n")
        return result

    def _list(self, cluster: Any, host: str, options: Dict[str, Any], hosts: List[str]) -> Dict[str, Any]:
        if not faults.is_listed(host, options, hosts):
            return {"changed": False, "skipped": True}
        result = self._run_state("listed", cluster, host, options)
        if result.get("failed"):
            return result
        Display().display(faults.table(result.get("lacking"), host))
        return {"changed": False, "lacking": result.get("lacking") or {}}

    def _run_state(self, state: str, cluster: Any, host: str, options: Dict[str, Any]) -> Dict[str, Any]:
        check = bool(self._task.check_mode)
        if cluster.node(host).kind == "netns":
            return task_result(faults.run_on_node, state, cluster, host, options, check)
        if cluster.node(host).kind == "docker" and node_pid(cluster.id, host) is None:
            return task_result(faults.not_running, state, host, options, check)
        listed = [vars(fault) for fault in options.get("faults", ())]
        result: Dict[str, Any] = self._by_module(
            {**options, "node": host, "state": state, "faults": listed}, self._variables
        )
        return result

    def _show(self, host: str, result: Dict[str, Any]) -> Dict[str, Any]:
        """Print in any case what was done: Ansible shows a diff only with --diff."""
        if not self._play_context.diff:
            lines: List[str] = [line for diff in result.get("diff", ()) for line in diff["prepared"].splitlines()[1:]]
            if lines:
                Display().display("\n".join(f"{host}: {line}" for line in lines) + "\n")
        return result
