"""A testinfra backend whose hosts are the nodes of a running namespace lab: ``netns://NODE@CLUSTER-ID``.

Each command is one fork that joins the node's namespaces and one shell; through Ansible it would be a
whole ``ansible`` run.
"""

from __future__ import annotations

import subprocess
from typing import Any, Tuple

from testinfra.backend.base import BaseBackend, CommandResult

from podwire.kernel import enter
from podwire.lab.registry import node_pid


class NetnsBackend(BaseBackend):
    """Runs commands inside one node."""

    NAME = "netns"

    def __init__(self, name: str, *args: Any, **kwargs: Any) -> None:
        node, _, self.cluster_id = name.partition("@")
        super().__init__(node, *args, **kwargs)
        self._encoding = "utf-8"

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:
        pid = node_pid(self.cluster_id, self.hostname)
        if pid is None:
            raise RuntimeError(f"node {self.hostname} of {self.cluster_id} is not running")
        text = self.get_command(command, *args)
        status, stdout, stderr = enter.call(pid, _shell, text)
        return self.result(status, self.encode(text), stdout, stderr)


def _shell(command: str) -> Tuple[int, bytes, bytes]:
    done = subprocess.run(["/bin/sh", "-c", command], stdin=subprocess.DEVNULL, capture_output=True)
    return done.returncode, done.stdout, done.stderr
