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
"""

EXAMPLES = r"""
- name: Converge the backend
  podwire_node:
    intent: "{{ declare_result.intent }}"
"""

RETURN = r"""
# Only changed and diff.
"""

import sys

from ansible.module_utils.basic import AnsibleModule

ARGUMENTS = {
    "intent": {"type": "path", "required": True},
    "node": {"type": "str"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    sys.path.insert(0, "/opt/podwire/lib")
    try:
        from podwire.doors.node import at_home
    except ImportError as error:
        module.fail_json(msg=f"failed to import podwire on the node: {error}; it belongs in /opt/podwire/lib")

    result = at_home("node", module.params, module.check_mode, module._diff)
    (module.fail_json if result.get("failed") else module.exit_json)(**result)


if __name__ == "__main__":
    main()
