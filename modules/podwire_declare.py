#!/usr/bin/python
"""Read and validate the declared pod network. The code is the action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_declare
short_description: Read and validate the declared pod network
description:
  - Reads the variables of every host of the inventory, also with C(--limit), and validates all of them before
    anything is changed.
  - Assigns pod CIDRs and underlay addresses, and keeps those of earlier runs.
  - Runs on the controller; use it with C(run_once).
author: podwire
attributes:
  check_mode:
    support: full
    description: Pod CIDRs are assigned but not recorded.
  diff_mode:
    support: full
    description: Pod CIDRs and underlay addresses that are added or removed.
options:
  leaving:
    description: Nodes to leave out of the intent, as if they were not in the inventory. They keep their pod CIDRs.
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Read the inventory
  podwire_declare:
  register: declare_result
  run_once: true
"""

RETURN = r"""
intent:
  description: Path on the controller of the whole intent, for the other modules. Removed when the playbook ends.
  returned: success
  type: str
results:
  description: Directory on the controller for the results of the run.
  returned: success
  type: str
  sample: /var/lib/podwire/lab-1f0c9a2e/results
began:
  description: When the run began, in seconds since 1970.
  returned: success
  type: float
only_netns:
  description: Whether all nodes are of kind netns. These share the library and the CNI plugins of their machine.
  returned: success
  type: bool
discovered:
  description: Whether the pods are those that other tools made, which M(podwire_discover) finds.
  returned: success
  type: bool
"""
