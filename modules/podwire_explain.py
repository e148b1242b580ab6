#!/usr/bin/python
"""Infer the root causes of failures. The code is the action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_explain
short_description: Infer the root causes of failures
description:
  - Compares the evidence of all nodes (M(podwire_evidence)) with the intent and with each other. For each root cause it
    prints what is wrong, the evidence for it, the affected pairs, and how to repair it.
  - Runs on the controller; use it with C(run_once).
author: podwire
extends_documentation_fragment:
  - podwire.intent
  - podwire.results
  - podwire.began
  - podwire.read_only
options:
  src:
    description: Explain only what this pod or node does not reach. Default is everything that fails.
    type: str
  dst:
    description: Explain only what does not reach this pod or node.
    type: str
  ask:
    description: Do not explain yet; only return what M(podwire_trace) should trace, by node.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Explain why pod-a does not reach pod-b
  podwire_explain:
    intent: "{{ declare_result.intent }}"
    results: "{{ declare_result.results }}"
    began: "{{ declare_result.began }}"
    src: pod-a
    dst: pod-b
  run_once: true
"""

RETURN = r"""
asked:
  description: What to trace, by node. Empty if nothing fails.
  returned: with O(ask)
  type: dict
causes:
  description: The root causes. The one that explains most comes first.
  returned: success
  type: list
  sample: [{id: vxlan_fdb_missing, node: node-1, device: flannel.1, object: "fdb 66:… dev flannel.1",
    pairs: [[pod-a, pod-b]], evidence: ["expected: …", "found: nothing"], fix: "bridge fdb replace …",
    verb: ./run site, confidence: 0.93}]
explained:
  description: Path on the controller of the causes as JSON, with the failures that they do not explain.
  returned: success
  type: str
report:
  description: Directory on the controller of the report, which shows the causes.
  returned: success
  type: str
"""
