#!/usr/bin/python
"""Read the addresses that CNI gave to a node's pods."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_pod_info
short_description: Read the addresses that CNI gave to a node's pods
description:
  - Reads the cached results of CNI ADD on the node. They can be newer than what M(podwire_attach) returned, such as
    after a reboot of the node.
author: podwire
extends_documentation_fragment:
  - podwire.intent
  - podwire.node
  - podwire.results
  - podwire.library
  - podwire.read_only
"""

EXAMPLES = r"""
- name: Read the addresses of the pods
  podwire_pod_info:
    intent: "{{ declare_result.intent }}"
    results: "{{ declare_result.results }}"
"""

RETURN = r"""
pods:
  description: Path on the controller of the addresses by pod.
  returned: success
  type: str
"""

from ansible.module_utils.podwire_stage import run


def main() -> None:
    run("podwire_pod_info")


if __name__ == "__main__":
    main()
