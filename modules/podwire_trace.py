#!/usr/bin/python
"""Trace pairs that fail."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_trace
short_description: Trace pairs that fail
description:
  - Sends one probe for each of a few pairs, and records with tracefs and nftables the path that it takes in the kernel
    and where it is dropped.
  - M(podwire_explain) with O(podwire_explain#module:ask) returns what to trace, and uses the results.
  - Everything that it sets up is removed with the process, even if it is killed.
author: podwire
extends_documentation_fragment:
  - podwire.intent
  - podwire.node
  - podwire.results
  - podwire.library
  - podwire.read_only
options:
  asked:
    description: What to trace, as M(podwire_explain) returns it for the node.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Trace failing pairs
  podwire_trace:
    intent: "{{ declare_result.intent }}"
    results: "{{ declare_result.results }}"
    asked: "{{ explain_asked.asked[inventory_hostname] }}"
  when: inventory_hostname in explain_asked.asked
"""

RETURN = r"""
looks:
  description: Path on the controller of the traces.
  returned: success
  type: str
"""

from ansible.module_utils.podwire_stage import run


def main() -> None:
    run("podwire_trace")


if __name__ == "__main__":
    main()
