#!/usr/bin/python
"""Documentation only: the work is in plugins/action/podwire_findings.py."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_findings
short_description: Judge what preflight found out
description:
  - Puts the nodes' findings side by side, shows them, and writes preflight.json into O(results).
  - Fails if there is a problem; warnings, and checks that could not be run, are shown only.
  - Runs on the controller; use it with C(run_once).
author: podwire
attributes:
  check_mode:
    support: full
    description: Nothing is ever changed.
options:
  intent:
    description: Path on the controller of the intent, as M(podwire_declare) returns it.
    type: path
    required: true
  results:
    description: Directory with what M(podwire_preflight) stored.
    type: path
    required: true
  run:
    description: What tells this run from others; C(began) of M(podwire_declare).
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Judge
  podwire_findings:
    intent: "{{ declare_result.intent }}"
    results: "{{ declare_result.results }}"
    run: "{{ declare_result.began }}"
  run_once: true
"""

RETURN = r"""
report:
  description: Path of preflight.json.
  returned: always
  type: str
"""
