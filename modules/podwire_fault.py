#!/usr/bin/python
"""Inject faults into a node, or repair them."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_fault
short_description: Inject faults into a node, or repair them
description:
  - Injects faults of the catalogue (docs/FAULTS.md). Before the first change it writes to the node's disk how to undo
    the fault. A fault that the kernel does not show, or that does not affect the traffic that it should affect, is
    undone and reported.
  - Repairs from what is on the node's disk, also after a crash in the middle of an injection. Can be repeated safely.
author: podwire
extends_documentation_fragment:
  - podwire.intent
  - podwire.results
  - podwire.library
attributes:
  check_mode:
    support: full
    description: Shows what would be injected or undone, and changes nothing.
  diff_mode:
    support: full
    description: One object per line, with C(+) for add, C(~) for change, C(-) for remove.
options:
  state:
    description: Whether to inject faults, to repair them, or to list all faults and why some are not possible here.
    type: str
    choices: [present, absent, listed]
    default: present
  fault:
    description:
      - Name of the fault. Default is what the inventory declares (C(faults)); with O(state=absent) all faults that were
        injected.
      - V(list) is the same as O(state=listed).
    type: str
  node:
    description: The node to inject into, to repair or to list for. The module does nothing on other hosts.
    type: str
  peer:
    description: The other node, for faults that have one. Default is the next one in the inventory.
    type: str
  pod:
    description: The pod on the node, for faults that have one. Default is the first.
    type: str
  host_wide:
    description: Allow faults that affect all networks of the machine.
    type: bool
    default: false
  blind:
    description: Inject also if the traffic is affected already, so that the effect of the fault cannot be observed.
    type: bool
    default: false
  faults:
    description: The faults to inject. The action plugin sets it for nodes that are not of kind netns.
    type: list
    elements: dict
  addresses:
    description: Addresses of all pods by pod. Default is what M(podwire_attach) stored in O(results).
    type: dict
"""

EXAMPLES = r"""
- name: Remove the FDB entry for a peer's VTEP
  podwire_fault:
    intent: "{{ declare_result.intent }}"
    results: "{{ declare_result.results }}"
    fault: vxlan_fdb_missing
    node: node-1
    peer: node-2

- name: Repair all nodes
  podwire_fault:
    intent: "{{ declare_result.intent }}"
    results: "{{ declare_result.results }}"
    state: absent
"""

RETURN = r"""
faults:
  description: The faults that were injected, with the result of each one's probe and what a diagnosis has to name.
  returned: when injected
  type: list
  sample: [{fault: vxlan_fdb_missing, said: lost, cause: vxlan_fdb_missing, node: node-1, place: node,
    wanted: "fdb 66:… dst 172.30.0.12 dev flannel.1 self permanent", found: ""}]
mended:
  description: The names of the faults that were undone.
  returned: when repaired
  type: list
  sample: [vxlan_fdb_missing]
lacking:
  description: For each fault, why it cannot be injected; empty for those that can, if need be with O(host_wide).
  returned: when listed
  type: dict
"""

from ansible.module_utils.podwire_stage import run


def main() -> None:
    run("podwire_fault")


if __name__ == "__main__":
    main()
