#!/usr/bin/python
"""Find pods that somebody else made."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_discover
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
  library:
    description: Digest of the controller's podwire, which the action plugin knows. Default is whatever the node has.
    type: str
  archive:
    description: Path on the node of the controller's podwire, which the action plugin puts there if it has another.
    type: path
"""

EXAMPLES = r"""
- name: Find pods
  podwire_discover:
    intent: "{{ declare_result.intent }}"
    results: "{{ declare_result.results }}"
"""

RETURN = r"""
found:
  description: Path on the controller of what was found, with a snapshot of the node.
  returned: when O(state=present)
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.podwire_stage import run

ARGUMENTS = {
    "intent": {"type": "path", "required": True},
    "node": {"type": "str"},
    "results": {"type": "path", "required": True},
    "throughput": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "library": {"type": "str"},
    "archive": {"type": "path"},
}


def main() -> None:
    run("discover", AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True))


if __name__ == "__main__":
    main()
