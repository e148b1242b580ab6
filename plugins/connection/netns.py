"""Connect to a lab's nodes of kind netns."""

from __future__ import annotations

import os
import shlex
import sys
from typing import Any, List, Optional, Tuple

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection.local import Connection as LocalConnection

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

from podwire.intent.ids import cluster_id, inventory_source
from podwire.lab.registry import node_pid

DOCUMENTATION = """
name: netns
short_description: run tasks inside a podwire lab's nodes
description:
  - Joins the network, mount, UTS, IPC and PID namespaces of a running node of kind C(netns) on the controller.
  - The lab has to be running (C(site.yml) builds it) and Ansible has to run as root.
author: podwire
options:
  node:
    description: Name of the node.
    type: str
    vars:
      - name: inventory_hostname
  inventory:
    description: The inventories that declare the node; they identify the lab.
    type: list
    elements: str
    vars:
      - name: ansible_inventory_sources
  become_success_timeout:
    description: Seconds to wait for become to succeed.
    type: int
    default: 10
    vars:
      - name: ansible_netns_become_success_timeout
  become_strip_preamble:
    description: Remove what become prints before the output of the command.
    type: bool
    default: true
    vars:
      - name: ansible_netns_become_strip_preamble
extends_documentation_fragment:
  - connection_pipelining
"""

EXAMPLES = """
- name: Inspect a running lab
  hosts: all
  gather_facts: false
  connection: netns
  tasks:
    - name: Show the node's routes
      ansible.builtin.command: ip route
      changed_when: false
"""


class Connection(LocalConnection):  # type: ignore[misc]
    """The local connection, with every command started inside the node."""

    transport = "netns"
    has_pipelining = True

    def _connect(self) -> Connection:
        self._enter()
        super()._connect()
        return self

    def exec_command(
        self, cmd: str, in_data: Optional[bytes] = None, sudoable: bool = True
    ) -> Tuple[int, bytes, bytes]:
        """Run a shell command inside the node: exit status, stdout, stderr."""
        command = shlex.join([*self._enter(), "/bin/sh", "-c", cmd])
        result: Tuple[int, bytes, bytes] = super().exec_command(command, in_data=in_data, sudoable=sudoable)
        return result

    def put_file(self, in_path: str, out_path: str) -> None:
        """Copy a file of the controller into the node."""
        with open(in_path, "rb") as file:
            self._copy(f"cat > {shlex.quote(out_path)}", out_path, file.read())

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Copy a file of the node to the controller."""
        content = self._copy(f"cat {shlex.quote(in_path)}", in_path, None)
        with open(out_path, "wb") as file:
            file.write(content)

    def _copy(self, command: str, path: str, content: Optional[bytes]) -> bytes:
        status, output, errors = self.exec_command(command, in_data=content, sudoable=False)
        if status != 0:
            raise AnsibleConnectionFailure(f"failed to copy {path} on {self._node()}: {errors.decode().strip()}")
        return output

    def _node(self) -> str:
        name: str = self.get_option("node") or self._play_context.remote_addr
        return name

    def _enter(self) -> List[str]:
        """The command that joins the node's namespaces. The process id of a node can change from run to run."""
        sources: Any = self.get_option("inventory")
        identity = cluster_id(inventory_source(sources)) if sources else ""
        pid = node_pid(identity, self._node()) if identity else None
        if pid is None:
            where = f"the lab {identity}" if identity else "its lab"
            raise AnsibleConnectionFailure(
                f"failed to connect to {self._node()}: {where} is not running; run ./run site"
            )
        return ["nsenter", "-t", str(pid), "-m", "-u", "-i", "-n", "-p", "--"]
