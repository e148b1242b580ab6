#!/usr/bin/python
"""Look closer at pairs that fail."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_trace
short_description: Look closer at pairs that fail
description:
  - Sends one probe for each of a few pairs, while the kernel tells by tracefs and nftables of its way and its end.
  - What to look at is what M(podwire_explain) asks for; it takes the answers into account.
  - Nothing that it sets up outlives it, a kill included.
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
  asked:
    description: What to look at, as M(podwire_explain) returns it for the node.
    type: list
    elements: dict
    required: true
  library:
    description: Digest of the controller's podwire, which the action plugin knows. Default is whatever the node has.
    type: str
  archive:
    description: Path on the node of the controller's podwire, which the action plugin puts there if it has another.
    type: path
"""

EXAMPLES = r"""
- name: Look closer
  podwire_trace:
    intent: "{{ declare_result.intent }}"
    results: "{{ declare_result.results }}"
    asked: "{{ explain_asked.asked[inventory_hostname] }}"
  when: inventory_hostname in explain_asked.asked
"""

RETURN = r"""
looks:
  description: Path on the controller of what was seen.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.podwire_stage import run

ARGUMENTS = {
    "intent": {"type": "path", "required": True},
    "node": {"type": "str"},
    "results": {"type": "path", "required": True},
    "asked": {"type": "list", "elements": "dict", "required": True},
    "library": {"type": "str"},
    "archive": {"type": "path"},
}


def main() -> None:
    run("trace", AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True))


if __name__ == "__main__":
    main()
