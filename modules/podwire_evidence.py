#!/usr/bin/python
"""Collect a node's evidence for a diagnosis."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_evidence
short_description: Collect a node's evidence for a diagnosis
description:
  - Reads the whole network state of the node, compares it with the intent, and probes from the node and its pods.
  - One call per node; M(podwire_explain) infers root causes from the evidence of all nodes.
author: podwire
extends_documentation_fragment:
  - podwire.intent
  - podwire.node
  - podwire.results
  - podwire.probes
  - podwire.library
  - podwire.read_only
"""

EXAMPLES = r"""
- name: Collect evidence
  podwire_evidence:
    intent: "{{ declare_result.intent }}"
    results: "{{ declare_result.results }}"
"""

RETURN = r"""
evidence:
  description: Path on the controller of the evidence.
  returned: success
  type: str
"""

from ansible.module_utils.podwire_stage import run


def main() -> None:
    run("podwire_evidence")


if __name__ == "__main__":
    main()
