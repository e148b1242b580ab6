#!/usr/bin/python
"""Read the interfaces of an existing node."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_node_info
short_description: Read the interfaces of an existing node
description:
  - Returns a node's interfaces, their MTU and addresses, and the route to its peers. M(podwire_declare)
    finds the external interface of the node in it, unless the inventory declares interface, address and MTU.
  - Does nothing for nodes of a lab, and for nodes that declare all of these.
author: podwire
extends_documentation_fragment:
  - podwire.library
  - podwire.read_only
options:
  peers:
    description: Addresses or names of peers. Default is some of those in the inventory.
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Read the interfaces of the nodes
  podwire_node_info:
"""

RETURN = r"""
ansible_facts:
  description: Under C(podwire) the interfaces with MTU and addresses, and one peer for each route to peers.
  returned: for nodes that do not declare interface, address and MTU
  type: dict
  sample:
    podwire:
      interfaces: [[eth0, 1500, [192.0.2.11/24]]]
      routes: [[192.0.2.12, eth0, 192.0.2.11]]
"""

from ansible.module_utils.podwire_stage import run


def main() -> None:
    run("podwire_node_info")


if __name__ == "__main__":
    main()
