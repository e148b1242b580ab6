#!/usr/bin/python
"""Remove from a node what podwire made there."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_reset
short_description: Remove from a node what podwire made there
description:
  - Detaches and stops the node's pods, removes the backend's devices, routes, rules and files, podwire's CNI plugins
    and configuration, and at last podwire itself. Whatever is not podwire's stays as it is.
  - Needs nothing but what the node itself remembers, so that it works after a crash and with variables that are wrong.
  - Does nothing for nodes that podwire_lab removes as a whole.
author: podwire
attributes:
  check_mode:
    support: full
    description: The list is made and shown, and nothing is touched.
  diff_mode:
    support: full
    description: One line an object.
options:
  directory:
    description: Where podwire's CNI plugins were installed.
    type: path
    default: /opt/cni/bin
  library:
    description: Digest of the controller's podwire, which the action plugin knows. Default is whatever the node has.
    type: str
  archive:
    description: Path on the node of the controller's podwire, which the action plugin puts there if it has another.
    type: path
"""

EXAMPLES = r"""
- name: Remove what podwire made on the node
  podwire_reset:
"""

RETURN = r"""
# Only changed and diff.
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.podwire_stage import run

ARGUMENTS = {
    "directory": {"type": "path", "default": "/opt/cni/bin"},
    "library": {"type": "str"},
    "archive": {"type": "path"},
}


def main() -> None:
    run("reset", AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True))


if __name__ == "__main__":
    main()
