#!/usr/bin/python
"""Converge a node's own network."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_node
short_description: Converge a node's own network
description:
  - Brings the backend's devices, addresses, neighbours, FDB entries, next hops, routes, sysctls, masquerading
    and files to what is declared, in one transaction.
  - On any failure the node is put back to what it was.
  - Routes of others are never touched; one to a wanted prefix is reported as a conflict.
author: podwire
attributes:
  check_mode:
    support: full
    description: The plan is made and shown, and nothing is touched. A node that is not there yet counts as empty.
  diff_mode:
    support: full
    description: The plan, one line an object, with C(+) for add, C(~) for change, C(-) for remove.
options:
  intent:
    description: Path on the controller of the intent, as M(podwire_declare) returns it.
    type: path
    required: true
  node:
    description: The node's name in the intent. Default is the host's name in the inventory.
    type: str
  together:
    description: Converge the play's nodes of kind netns in one call, that of the first of them; with C(run_once) where
      there are no others. Their plans are one diff then.
    type: bool
    default: false
  library:
    description: Digest of the controller's podwire, which the action plugin knows. Default is whatever the node has.
    type: str
  archive:
    description: Path on the node of the controller's podwire, which the action plugin puts there if it has another.
    type: path
"""

EXAMPLES = r"""
- name: Converge the backend
  podwire_node:
    intent: "{{ declare_result.intent }}"
"""

RETURN = r"""
nodes:
  description: The nodes that changed.
  returned: O(together), on the host that did it
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.podwire_stage import run

ARGUMENTS = {
    "intent": {"type": "path", "required": True},
    "node": {"type": "str"},
    "together": {"type": "bool", "default": False},
    "library": {"type": "str"},
    "archive": {"type": "path"},
}


def main() -> None:
    run("node", AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True))


if __name__ == "__main__":
    main()
