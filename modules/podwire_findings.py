#!/usr/bin/python
"""Report what preflight found. The code is the action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_findings
short_description: Report what preflight found
description:
  - Combines the findings of all nodes, prints them, and writes preflight.json into O(results).
  - Fails if there is a problem. Warnings, and checks that could not be run, are only printed.
  - Runs on the controller; use it with C(run_once).
author: podwire
extends_documentation_fragment:
  - podwire.intent
  - podwire.results
  - podwire.run
  - podwire.read_only
"""

EXAMPLES = r"""
- name: Report the findings
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
