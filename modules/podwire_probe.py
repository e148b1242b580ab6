#!/usr/bin/python
"""Probe from a node and its pods."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_probe
short_description: Probe the guarantees from a node and its pods
description:
  - From each pod of the node to every other pod by TCP and ICMP, from the node to its pods, and along the path MTU.
  - One call a node; all its probes run side by side.
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
  throughput:
    description: Whether to measure throughput, from the first node that M(podwire_discover) prepared.
    type: bool
    default: false
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
- name: Probe
  podwire_probe:
    intent: "{{ declare_result.intent }}"
    results: "{{ declare_result.results }}"
"""

RETURN = r"""
observations:
  description: Path on the controller of what was observed.
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
    "throughput": {"type": "bool", "default": False},
    "addresses": {"type": "dict"},
    "found": {"type": "dict"},
    "library": {"type": "str"},
    "archive": {"type": "path"},
}


def main() -> None:
    run("probe", AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True))


if __name__ == "__main__":
    main()
