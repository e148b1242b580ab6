#!/usr/bin/python
"""Ask a node which addresses its pods have by CNI."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_pod_info
short_description: Ask a node which addresses its pods have by CNI
description:
  - Reads the results that CNI ADD left on the node. They may be newer than what M(podwire_attach) told, as after a
    restart of the node.
author: podwire
attributes:
  check_mode:
    support: full
    description: Changes nothing in any mode.
  diff_mode:
    support: none
    description: Changes nothing.
options:
  intent:
    description: Path on the controller of the intent, as M(podwire_declare) returns it.
    type: path
    required: true
  node:
    description: The node's name in the intent. Default is the host's name in the inventory.
    type: str
  results:
    description: Directory on the controller for what a run finds out, as M(podwire_declare) returns it.
    type: path
    required: true
  library:
    description: Digest of the controller's podwire, which the action plugin knows. Default is whatever the node has.
    type: str
  archive:
    description: Path on the node of the controller's podwire, which the action plugin puts there if it has another.
    type: path
"""

EXAMPLES = r"""
- name: Ask for the pods' addresses
  podwire_pod_info:
    intent: "{{ declare_result.intent }}"
    results: "{{ declare_result.results }}"
"""

RETURN = r"""
pods:
  description: Path on the controller of the addresses by pod.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.podwire_stage import run

ARGUMENTS = {
    "intent": {"type": "path", "required": True},
    "node": {"type": "str"},
    "results": {"type": "path", "required": True},
    "library": {"type": "str"},
    "archive": {"type": "path"},
}


def main() -> None:
    run("pod_info", AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True))


if __name__ == "__main__":
    main()
