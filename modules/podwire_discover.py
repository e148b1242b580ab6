#!/usr/bin/python
"""Find pods that other tools made."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_discover
short_description: Find pods that other tools made
description:
  - Finds sandboxes by their network namespaces, and starts one process on the node that answers probes in all of them.
  - The process ends with O(state=absent), or by itself after 15 minutes.
author: podwire
extends_documentation_fragment:
  - podwire.intent
  - podwire.node
  - podwire.results
  - podwire.library
  - podwire.read_only
options:
  throughput:
    description: Whether the node and one of its pods accept the data that measures throughput.
    type: bool
    default: false
  state:
    description: Whether to find pods and answer in them, or to end the process that answers.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Find the pods
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

from ansible.module_utils.podwire_stage import run


def main() -> None:
    run("podwire_discover")


if __name__ == "__main__":
    main()
