#!/usr/bin/python
"""Documentation only: the work is in plugins/action/podwire_explain.py."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_explain
short_description: Name the root causes of what fails
description:
  - Holds the evidence of all nodes (M(podwire_evidence)) against intent and against each other, and prints for each
    root cause what is wrong, how that is known, whom it hurts, and what mends it.
  - Runs on the controller; use it with C(run_once).
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
  results:
    description: Directory on the controller for what a run finds out, as M(podwire_declare) returns it.
    type: path
    required: true
  began:
    description: When the run began, as M(podwire_declare) returns it.
    type: float
    required: true
  src:
    description: Explain only what a pod or node does not reach. Default is everything that fails.
    type: str
  dst:
    description: Explain only what does not reach a pod or node.
    type: str
  ask:
    description: Do not explain yet, only return what M(podwire_trace) should look at, by node.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Explain
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
  description: What to look at more closely, by node. Empty where nothing fails.
  returned: with O(ask)
  type: dict
causes:
  description: The root causes, the one that explains most first.
  returned: success
  type: list
  sample: [{id: vxlan_fdb_missing, node: node-1, device: flannel.1, object: "fdb 66:… dev flannel.1",
    pairs: [[pod-a, pod-b]], evidence: ["expected: …", "found: nothing"], fix: "bridge fdb replace …",
    verb: ./run site, confidence: 0.93}]
explained:
  description: Path on the controller of the same as JSON, with what they do not explain.
  returned: success
  type: str
report:
  description: Directory on the controller of the report, which shows them.
  returned: success
  type: str
"""
