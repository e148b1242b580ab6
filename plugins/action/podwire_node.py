"""Run a stage on a node. The plugins of other stages are symbolic links to this file.

A netns node is entered from this process: that takes 0.03 s per node, a module 0.4 s. Every other node gets the module
of the same name, the intent as a file beside it, and podwire itself if its version is not the controller's.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Callable, Dict, Optional

from ansible import constants as C
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

from podwire.errors import LabError
from podwire.intent.cluster import Cluster
from podwire.intent.ids import cluster_id, inventory_option, inventory_source
from podwire.lab.registry import node_pid
from podwire.stages import facts, library, task_result
from podwire.stages.arguments import ARGUMENTS
from podwire.stages.controller import nodes
from podwire.stages.controller.results import pod_addresses, store, stored
from podwire.stages.node import WITHOUT_INTENT, load


class ActionModule(ActionBase):  # type: ignore[misc]
    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        super().run(tmp, task_vars)
        return task_result(self._run, self._options(), task_vars or {})

    def _options(self) -> Dict[str, Any]:
        """The task's arguments by the module's own specification, without those that are not given."""
        _, options = self.validate_argument_spec(ARGUMENTS[self._name()])
        return {name: value for name, value in options.items() if value is not None}

    def _name(self) -> str:
        """The module's name: that of the symbolic link."""
        return "podwire_" + str(self._task.action).rpartition("podwire_")[2]

    def _run(self, options: Dict[str, Any], variables: Dict[str, Any]) -> Dict[str, Any]:
        stage = self._name()[len("podwire_") :]
        if stage == "reset":  # without an intent: it may not be readable any more
            return self._by_module(options, variables) if variables.get("node_kind") == "ssh" else {"changed": False}
        if stage == "node_info":
            return self._node_info(options, variables)
        name = str(options.get("node") or variables["inventory_hostname"])
        if name not in variables["hostvars"]:
            raise LabError(f"failed to run podwire_{stage} on {name}: it is not in the inventory", "check option node")
        # The intent has the kind too, but reading it for each of thousands of hosts takes the square of their number.
        kind = str(variables["hostvars"][name].get("node_kind") or "netns")
        source = inventory_source(variables["ansible_inventory_sources"])
        missing = kind == "docker" and node_pid(cluster_id(source), name) is None
        options["which"] = inventory_option(source)
        if stage in WITHOUT_INTENT:
            return self._without_intent(name, kind, missing, options, variables)
        began = time.time()
        result = self._run_stage(stage, name, kind, missing, options, variables)
        if "findings" in result:  # with the times between which the node read its clock
            result["findings"]["asked"] = began, time.time()
        return store(result, str(options.get("results")), name)

    def _without_intent(
        self, name: str, kind: str, missing: bool, options: Dict[str, Any], variables: Dict[str, Any]
    ) -> Dict[str, Any]:
        if missing and not self._task.check_mode:
            raise nodes.not_running_error(name, options)
        if kind == "netns" or missing:
            return {"changed": missing}
        return self._by_module(options, variables)

    def _run_stage(
        self, stage: str, name: str, kind: str, missing: bool, options: Dict[str, Any], variables: Dict[str, Any]
    ) -> Dict[str, Any]:
        check = bool(self._task.check_mode)
        probes = stage in ("probe", "evidence")
        if kind == "netns" or missing or probes:
            cluster = load(str(options["intent"]))
        if options.pop("together", False) and kind == "netns":
            return self._converge_all(cluster, name, options, variables)
        options["node"] = name
        if probes:
            options.setdefault("addresses", pod_addresses(str(options["results"]), cluster))
            if cluster.discovered or options.get("throughput"):
                options.setdefault("found", stored("found", str(options["results"]), cluster))
        if missing:
            return nodes.not_running(cluster, stage, name, options, check)
        if kind == "netns":
            return nodes.run_on_node(cluster, stage, name, options, check, progress(name))
        return self._by_module(options, variables)

    def _converge_all(
        self, cluster: Cluster, name: str, options: Dict[str, Any], variables: Dict[str, Any]
    ) -> Dict[str, Any]:
        """The first of the play's netns nodes converges all of them."""
        hosts = [str(host) for host in variables["ansible_play_hosts_all"]]
        names = [host for host in hosts if cluster.node(host).kind == "netns"]
        if name != names[0]:
            return {"changed": False}
        options = {**options, "diff": self._task.diff}
        return nodes.converge_all(cluster, names, options, bool(self._task.check_mode))

    def _node_info(self, options: Dict[str, Any], variables: Dict[str, Any]) -> Dict[str, Any]:
        if not facts.wanted(variables):
            return {"changed": False}
        options.setdefault("peers", facts.peers_of(str(variables["inventory_hostname"]), variables["hostvars"]))
        result = self._by_module(options, variables)
        if "facts" in result:
            result["ansible_facts"] = {"podwire": result.pop("facts")}
        return result

    def _by_module(self, options: Dict[str, Any], variables: Dict[str, Any]) -> Dict[str, Any]:
        arguments = {name: value for name, value in options.items() if name in ARGUMENTS[self._name()]}
        arguments["library"] = library.digest()
        if "intent" in options:
            arguments["intent"] = self._send(options["intent"], "intent.json")
        result: Dict[str, Any] = self._execute_module(module_args=arguments, task_vars=variables)
        if result.pop("library_differs", False):
            arguments["archive"] = self._send(library.pack(C.DEFAULT_LOCAL_TMP), "podwire.zip")
            result = self._execute_module(module_args=arguments, task_vars=variables)
        return result

    def _send(self, path: str, name: str) -> str:
        shell = self._connection._shell
        if not shell.tmpdir:
            self._make_tmp_path()
        remote: str = self._transfer_file(path, shell.join_path(shell.tmpdir, name))
        return remote


def progress(node: str) -> Callable[[int, int], None]:
    """Prints how many of a node's probes are sent."""

    def display(done: int, of: int) -> None:
        Display().display(f"podwire: {node} has sent {done:,} of {of:,} probes")

    return display
