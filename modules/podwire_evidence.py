#!/usr/bin/python
"""Gather a node's evidence for a diagnosis."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_evidence
short_description: Gather a node's evidence for a diagnosis
description:
  - Reads all of the node's network, compares it with intent, and probes from the node and its pods.
  - One call a node; M(podwire_explain) makes a diagnosis of what all of them found.
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
  pairs:
    description:
      - Which pairs of pods are probed. V(classes) are one pair for each two nodes, and for each pod one away and one
        back; what a failed one stands for is probed then. V(auto) is V(all) up to 10,000 pairs.
    type: str
    choices: [auto, all, classes]
    default: auto
  addresses:
    description: Addresses of all pods by pod. Default is what M(podwire_attach) stored in O(results).
    type: dict
  found:
    description: What M(podwire_find) found, by node. Default is what it stored in O(results).
    type: dict
"""

EXAMPLES = r"""
- name: Look and probe
  podwire_evidence:
    intent: "{{ declare_result.intent }}"
    results: "{{ declare_result.results }}"
"""

RETURN = r"""
evidence:
  description: Path on the controller of what was found.
  returned: success
  type: str
"""

import sys

from ansible.module_utils.basic import AnsibleModule

ARGUMENTS = {
    "intent": {"type": "path", "required": True},
    "node": {"type": "str"},
    "results": {"type": "path", "required": True},
    "pairs": {"type": "str", "choices": ["auto", "all", "classes"], "default": "auto"},
    "addresses": {"type": "dict"},
    "found": {"type": "dict"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    sys.path.insert(0, "/opt/podwire/lib")
    try:
        from podwire.doors.node import at_home
    except ImportError as error:
        module.fail_json(msg=f"failed to import podwire on the node: {error}; it belongs in /opt/podwire/lib")

    result = at_home("evidence", module.params, module.check_mode)
    (module.fail_json if result.get("failed") else module.exit_json)(**result)


if __name__ == "__main__":
    main()
