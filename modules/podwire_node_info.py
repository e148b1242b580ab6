#!/usr/bin/python
"""Look at the interfaces of a node that exists already."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_node_info
short_description: Look at the interfaces of a node that exists already
description:
  - Tells a node's interfaces, their MTU and addresses, and by which of them it sends to its peers. M(podwire_declare)
    finds each node's external interface in that, unless the inventory declares all of it.
  - Does nothing for nodes of a lab, and for nodes that declare interface, address and MTU.
author: podwire
attributes:
  check_mode:
    support: full
    description: Changes nothing in any mode.
  diff_mode:
    support: none
    description: Changes nothing.
options:
  peers:
    description: Addresses or names of peers. Default is where the inventory says that some of them are reached.
    type: list
    elements: str
  library:
    description: Digest of the controller's podwire, which the action plugin knows. Default is whatever the node has.
    type: str
  archive:
    description: Path on the node of the controller's podwire, which the action plugin puts there if it has another.
    type: path
"""

EXAMPLES = r"""
- name: Look at the nodes' interfaces
  podwire_node_info:
"""

RETURN = r"""
ansible_facts:
  description: Under C(podwire) the interfaces with MTU and addresses, and a route for each way to peers.
  returned: for nodes that do not declare all of it
  type: dict
  sample:
    podwire:
      interfaces: [[eth0, 1500, [192.0.2.11/24]]]
      routes: [[192.0.2.12, eth0, 192.0.2.11]]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.podwire_stage import run

ARGUMENTS = {
    "peers": {"type": "list", "elements": "str"},
    "library": {"type": "str"},
    "archive": {"type": "path"},
}


def main() -> None:
    run("node_info", AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True))


if __name__ == "__main__":
    main()
