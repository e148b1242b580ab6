#!/usr/bin/python
"""Documentation only: the work is in plugins/action/podwire_declare.py."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_declare
short_description: Read and validate the declared pod network
description:
  - Reads the variables of every host of the inventory, also under C(--limit), and checks all of them before
    anything is touched.
  - Hands out subnet leases and underlay addresses, and keeps those of earlier runs.
  - Runs on the controller; use it with C(run_once).
author: podwire
attributes:
  check_mode:
    support: full
    description: Leases are handed out but not recorded.
  diff_mode:
    support: full
    description: Subnet leases and underlay addresses that are new or gone.
options:
  leaving:
    description: Nodes that the intent is to do without, as if they were not in the inventory. Their leases stay theirs.
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Read what is declared
  podwire_declare:
  register: declare_result
  run_once: true
"""

RETURN = r"""
intent:
  description: Path on the controller of the whole intent, for the other podwire modules. Gone when the playbook ends.
  returned: success
  type: str
results:
  description: Directory on the controller for what the run finds out.
  returned: success
  type: str
  sample: /var/lib/podwire/lab-1f0c9a2e/results
began:
  description: When the run began, in seconds since 1970.
  returned: success
  type: float
only_netns:
  description: Whether all nodes are of kind netns, so that what their machine has is what they have.
  returned: success
  type: bool
"""
