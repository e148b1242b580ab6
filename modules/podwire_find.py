#!/usr/bin/python
"""Find pods that somebody else made."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_find
short_description: Find the pods of a node that somebody else made, and have them answer for the time of the proof
description:
  - Finds sandboxes by their network namespaces, and runs one process on the node that answers probes in all of them.
  - That process ends with O(state=absent), or by itself after a quarter of an hour.
author: podwire
attributes:
  check_mode:
    support: full
    description: Changes nothing that lasts in any mode.
  diff_mode:
    support: none
    description: Changes nothing that lasts.
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
  throughput:
    description: Whether the node and one of its pods swallow what is sent to measure throughput.
    type: bool
    default: false
  state:
    description: Whether to find pods, or to end what answers in them.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Find pods
  podwire_find:
    intent: "{{ declare_result.intent }}"
    results: "{{ declare_result.results }}"
"""

RETURN = r"""
found:
  description: Path on the controller of what was found, with a snapshot of the node.
  returned: when O(state=present)
  type: str
"""

import sys

from ansible.module_utils.basic import AnsibleModule

ARGUMENTS = {
    "intent": {"type": "path", "required": True},
    "node": {"type": "str"},
    "results": {"type": "path", "required": True},
    "throughput": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    sys.path.insert(0, "/opt/podwire/lib")
    try:
        from podwire.doors.node import at_home
    except ImportError as error:
        module.fail_json(msg=f"failed to import podwire on the node: {error}; it belongs in /opt/podwire/lib")

    result = at_home("find", module.params, module.check_mode)
    (module.fail_json if result.get("failed") else module.exit_json)(**result)


if __name__ == "__main__":
    main()
