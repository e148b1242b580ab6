"""Run a stage on a node. The other stages' plugins here are symbolic links to this file.

A netns node is entered from this very process: that costs 0.03 s a node, a module 0.4 s. Every
other node gets the module of the same name, the intent as a file beside it, and podwire itself if it has another.
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

from podwire.errors import IntentError
from podwire.intent.cluster import Cluster
from podwire.intent.ids import inventory_option, inventory_source
from podwire.lab.registry import node_pid
from podwire.stages import answer, controller, facts, library
from podwire.stages.arguments import ARGUMENTS
from podwire.stages.node import OWN, load


class ActionModule(ActionBase):  # type: ignore[misc]
    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        super().run(tmp, task_vars)
        return answer(self._run, self._options(), task_vars or {})

    def _options(self) -> Dict[str, Any]:
        """The task's arguments as the module's own specification has them, without those that are not given."""
        _, options = self.validate_argument_spec(ARGUMENTS[self._name()])
        return {name: value for name, value in options.items() if value is not None}

    def _name(self) -> str:
        """The module's name: that of the symbolic link."""
        return "podwire_" + str(self._task.action).rpartition("podwire_")[2]

    def _run(self, options: Dict[str, Any], variables: Dict[str, Any]) -> Dict[str, Any]:
        stage = self._name()[len("podwire_") :]
        if stage == "reset":
            there = variables.get("node_kind") == "ssh"  # without an intent: it may not be readable any more
            return self._by_module(options, variables) if there else {"changed": False}
        if stage == "node_info":
            return self._facts(options, variables)
        name = str(options.get("node") or variables["inventory_hostname"])
        if name not in variables["hostvars"]:
            raise IntentError([f"failed to find node {name}: it is not in the inventory; check the option node"])
        # The intent tells it too, but reading it for each of thousands of hosts takes the square of their number.
        kind = str(variables["hostvars"][name].get("node_kind") or "netns")
        is_netns = kind == "netns"
        gone = kind == "docker" and node_pid(load(str(options["intent"])).id, name) is None
        if stage in OWN and not gone:
            return {"changed": False} if is_netns else self._by_module(options, variables)
        together = options.pop("together", False) and is_netns
        if is_netns or gone or stage in ("probe", "evidence"):
            cluster = load(str(options["intent"]))
        if together:
            return self._together(cluster, name, options, variables)
        options["node"] = name
        if stage in ("probe", "evidence"):
            told = controller.kept("pods", str(options["results"]), cluster)
            options["addresses"] = {pod: addresses for pods in told.values() for pod, addresses in pods.items()}
            if cluster.discovered or options.get("throughput"):
                options["found"] = controller.kept("found", str(options["results"]), cluster)
        began = time.time()
        check = bool(self._task.check_mode)
        if is_netns or gone:
            options["which"] = inventory_option(inventory_source(variables["ansible_inventory_sources"]))
        if gone:
            result = answer(controller.not_running, cluster, stage, name, options, check)
        elif is_netns:
            result = answer(controller.visit, cluster, stage, name, options, check, progress(name))
        else:
            result = self._by_module(options, variables)
        if "findings" in result:  # with when the node was asked for the time
            result["findings"]["asked"] = began, time.time()
        return answer(controller.keep, result, str(options.get("results")), name)

    def _together(
        self, cluster: Cluster, name: str, options: Dict[str, Any], variables: Dict[str, Any]
    ) -> Dict[str, Any]:
        """The first of the play's netns nodes does it for all of them."""
        hosts = [str(host) for host in variables["ansible_play_hosts_all"]]
        names = [host for host in hosts if cluster.node(host).kind == "netns"]
        if name != names[0]:
            return {"changed": False}
        options = {**options, "diff": self._task.diff}
        return answer(controller.together, cluster, names, options, bool(self._task.check_mode))

    def _facts(self, options: Dict[str, Any], variables: Dict[str, Any]) -> Dict[str, Any]:
        if not facts.wanted(variables):
            return {"changed": False}
        options.setdefault("peers", facts.peers_of(str(variables["inventory_hostname"]), variables["hostvars"]))
        result = self._by_module(options, variables)
        if "facts" in result:
            result["ansible_facts"] = {"podwire": result.pop("facts")}
        return result

    def _by_module(self, options: Dict[str, Any], variables: Dict[str, Any]) -> Dict[str, Any]:
        arguments = {**options, "library": library.digest()}
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
        there: str = self._transfer_file(path, shell.join_path(shell.tmpdir, name))
        return there


def progress(node: str) -> Callable[[int, int], None]:
    """Says how far a node's probes are."""

    def say(done: int, of: int) -> None:
        Display().display(f"podwire: {node} has sent {done:,} of {of:,} probes")

    return say
