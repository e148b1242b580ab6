#!/usr/bin/python
"""Probe the guarantees from a node and its pods."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_probe
short_description: Probe the guarantees from a node and its pods
description:
  - Probes from each pod of the node to every other pod by TCP and ICMP, from the node to its pods, and the path MTU.
  - One call per node; all its probes run at the same time.
author: podwire
extends_documentation_fragment:
  - podwire.intent
  - podwire.node
  - podwire.results
  - podwire.probes
  - podwire.library
  - podwire.read_only
options:
  throughput:
    description: Whether to measure throughput, to the first node that M(podwire_discover) prepared.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Probe
  podwire_probe:
    intent: "{{ declare_result.intent }}"
    results: "{{ declare_result.results }}"
"""

RETURN = r"""
observations:
  description: Path on the controller of the observations.
  returned: success
  type: str
"""

from ansible.module_utils.podwire_stage import run


def main() -> None:
    run("podwire_probe")


if __name__ == "__main__":
    main()
