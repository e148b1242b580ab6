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
    description: What M(podwire_discover) found, by node. Default is what it stored in O(results).
    type: dict
  library:
    description: Digest of the controller's podwire, which the action plugin knows. Default is whatever the node has.
    type: str
  archive:
    description: Path on the node of the controller's podwire, which the action plugin puts there if it has another.
    type: path
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

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.podwire_stage import run

ARGUMENTS = {
    "intent": {"type": "path", "required": True},
    "node": {"type": "str"},
    "results": {"type": "path", "required": True},
    "pairs": {"type": "str", "choices": ["auto", "all", "classes"], "default": "auto"},
    "addresses": {"type": "dict"},
    "found": {"type": "dict"},
    "library": {"type": "str"},
    "archive": {"type": "path"},
}


def main() -> None:
    run("evidence", AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True))


if __name__ == "__main__":
    main()
