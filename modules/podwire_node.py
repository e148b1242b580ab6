#!/usr/bin/python
"""Configure the network of a node."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_node
short_description: Configure the network of a node
description:
  - Brings the backend's devices, addresses, neighbours, FDB entries, next hops, routes, sysctls, masquerading rules
    and files to the declared state, in one transaction.
  - After any failure the node is as it was before.
  - Routes of other tools are never changed. One to a declared prefix is reported as a conflict.
author: podwire
extends_documentation_fragment:
  - podwire.intent
  - podwire.node
  - podwire.library
  - podwire.planned
options:
  together:
    description:
      - Configure the play's nodes of kind netns in one call, that of the first of them, with one diff for all. Use
        C(run_once) if there are no other nodes.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Configure the backend
  podwire_node:
    intent: "{{ declare_result.intent }}"
"""

RETURN = r"""
nodes:
  description: The nodes that changed.
  returned: with O(together), on the host that ran it
  type: list
  elements: str
"""

from ansible.module_utils.podwire_stage import run


def main() -> None:
    run("podwire_node")


if __name__ == "__main__":
    main()
