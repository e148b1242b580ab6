#!/usr/bin/python
"""Evaluate the observations of all nodes. The code is the action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_verdict
short_description: Evaluate the observations of all nodes
description:
  - Compares the observations of M(podwire_probe) with the guarantees, prints a table and the verdict, and fails with
    the pairs that failed.
  - Runs on the controller; use it with C(run_once).
author: podwire
extends_documentation_fragment:
  - podwire.intent
  - podwire.results
  - podwire.began
attributes:
  check_mode:
    support: full
    description: Prints what is declared; nothing is proven.
  diff_mode:
    support: none
    description: Changes nothing.
"""

EXAMPLES = r"""
- name: Evaluate
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
    - Directory on the controller of the report, for people (C(index.html)) and for programs (C(results.json),
      C(junit.xml), C(results.sarif), C(metrics.prom)).
  returned: when proven
  type: str
"""
