"""The container of a docker node, and the connection plugin for it."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, Dict, List, Optional

from ansible.plugins.lookup import LookupBase

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

from podwire.intent.ids import cluster_id, inventory_source
from podwire.lab.networks import container_name

DOCUMENTATION = """
name: docker_node
short_description: the container of a podwire node, and the connection to it
description:
  - Term C(container) returns the name of the host's container, which is a function of the inventory's path.
  - Term C(connection) returns C(community.docker.docker) if that collection is installed, and otherwise C(docker_exec),
    which comes with podwire and does the same.
author: podwire
options:
  _terms:
    description: C(container) or C(connection).
    required: true
"""

EXAMPLES = """
ansible_host: "{{ lookup('docker_node', 'container') }}"
ansible_connection: "{{ lookup('docker_node', 'connection') }}"
"""

RETURN = """
_raw:
  description: One string per term.
  type: list
  elements: str
"""


class LookupModule(LookupBase):  # type: ignore[misc]
    def run(self, terms: List[str], variables: Optional[Dict[str, Any]] = None, **kwargs: Any) -> List[str]:
        return [getattr(self, f"_{term}")(variables or {}) for term in terms]

    def _container(self, variables: Dict[str, Any]) -> str:
        identity = cluster_id(inventory_source(variables["ansible_inventory_sources"]))
        return container_name(identity, str(variables["inventory_hostname"]))

    def _connection(self, variables: Dict[str, Any]) -> str:
        try:  # Ansible's own loader prints a warning if it does not find the plugin
            import_module("ansible_collections.community.docker.plugins.connection.docker")
        except ImportError:
            return "docker_exec"
        return "community.docker.docker"
