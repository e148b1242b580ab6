"""Connect to a container with ``docker exec``, without the collection community.docker."""

from __future__ import annotations

from typing import List

from ansible.plugins.loader import connection_loader

DOCUMENTATION = """
name: docker_exec
short_description: run tasks in a running container
description:
  - Runs C(docker exec) on the controller, with pipelining. DOCKER_HOST is respected.
  - Like C(community.docker.docker), and needs only the C(docker) command.
author: podwire
options:
  node:
    description: Name or id of the container.
    type: str
    vars:
      - name: inventory_hostname
      - name: ansible_host
  become_success_timeout:
    description: Seconds to wait for become to succeed.
    type: int
    default: 10
    vars:
      - name: ansible_docker_exec_become_success_timeout
  become_strip_preamble:
    description: Remove what become prints before the output of the command.
    type: bool
    default: true
    vars:
      - name: ansible_docker_exec_become_strip_preamble
extends_documentation_fragment:
  - connection_pipelining
"""

EXAMPLES = """
- name: Inspect a running container
  hosts: my-container
  gather_facts: false
  connection: docker_exec
  tasks:
    - name: Show its routes
      ansible.builtin.command: ip route
      changed_when: false
"""


class Connection(connection_loader.get("netns", class_only=True)):  # type: ignore[misc]
    """Like the connection to nodes of kind netns, with another command to enter the node."""

    transport = "docker_exec"

    def _enter(self) -> List[str]:
        return ["docker", "exec", "-i", self._node()]
