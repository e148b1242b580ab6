#!/usr/bin/python
"""Remove podwire's objects from a node."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_reset
short_description: Remove podwire's objects from a node
description:
  - Repairs faults, detaches and stops the node's pods, removes the backend's devices, routes, rules and files,
    podwire's CNI plugins and configuration, and finally podwire itself. Everything else stays as it is.
  - Needs only what is stored on the node, so it works after a crash and with variables that are wrong.
  - Does nothing for nodes that M(podwire_lab) removes as a whole.
author: podwire
extends_documentation_fragment:
  - podwire.directory
  - podwire.library
attributes:
  check_mode:
    support: full
    description: The list is made and shown, and nothing is changed.
  diff_mode:
    support: full
    description: One object per line.
"""

EXAMPLES = r"""
- name: Remove podwire's objects from the node
  podwire_reset:
"""

RETURN = r"""
# Only changed and diff.
"""

from ansible.module_utils.podwire_stage import run


def main() -> None:
    run("podwire_reset")


if __name__ == "__main__":
    main()
