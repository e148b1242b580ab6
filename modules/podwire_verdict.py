#!/usr/bin/python
"""Documentation only: the work is in plugins/action/podwire_verdict.py."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_verdict
short_description: Judge what the nodes observed
description:
  - Compares the observations of M(podwire_probe) with the guarantees, prints a table and the verdict for
    people, and fails with the pairs that failed.
  - Runs on the controller; use it with C(run_once).
author: podwire
attributes:
  check_mode:
    support: full
    description: Shows what is declared; nothing is proven.
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
"""

EXAMPLES = r"""
- name: Judge
  podwire_verdict:
    intent: "{{ declare_result.intent }}"
    results: "{{ declare_result.results }}"
    began: "{{ declare_result.began }}"
  run_once: true
"""

RETURN = r"""
verdict:
  description: Path on the controller of the verdict in JSON, with counts and failures of each guarantee.
  returned: when proven
  type: str
report:
  description:
    - Directory on the controller with the report, for people (C(index.html)) and for programs (C(results.json),
      C(junit.xml), C(results.sarif), C(metrics.prom)).
  returned: when proven
  type: str
"""
