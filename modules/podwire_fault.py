#!/usr/bin/python
"""Break a node by a named fault, or mend it."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_fault
short_description: Break a node by a named fault, or mend it
description:
  - Injects faults of the catalogue (docs/FAULTS.md). The undo is written to the node's disk before anything is touched;
    a fault that the kernel does not show, or that no traffic suffers from although it should, is undone and reported.
  - Mends from what the node's disk says, also after a crash in the middle of an injection. Safe to repeat.
author: podwire
attributes:
  check_mode:
    support: full
    description: Tells what would be injected or undone, and touches nothing.
  diff_mode:
    support: full
    description: One line an object, C(+) for what comes, C(-) for what goes, C(~) for another value.
options:
  intent:
    description: Path on the controller of the intent, as M(podwire_declare) returns it.
    type: path
    required: true
  results:
    description: Directory on the controller for what a run finds out, as M(podwire_declare) returns it.
    type: path
  state:
    description: Whether to break, to mend, or to say which faults there are and why some cannot be had here.
    type: str
    choices: [present, absent, listed]
    default: present
  fault:
    description:
      - Name of the fault. Default is what the inventory declares (C(faults)); of O(state=absent) all of the journal.
      - C(list) is O(state=listed).
    type: str
  node:
    description: The node to break, to mend or to list for. Other hosts do nothing.
    type: str
  peer:
    description: The other node, of faults that have one. Default is the next one in the inventory.
    type: str
  pod:
    description: The pod on the node, of faults that have one. Default is the first.
    type: str
  host_wide:
    description: Allow faults that reach all networks of the machine.
    type: bool
    default: false
  blind:
    description: Inject also where traffic suffers already, so that the fault cannot be seen to show.
    type: bool
    default: false
  faults:
    description: The faults as the action plugin hands them to a node of another kind than netns.
    type: list
    elements: dict
  addresses:
    description: Addresses of all pods by pod. Default is what M(podwire_attach) stored in O(results).
    type: dict
  library:
    description: Digest of the controller's podwire, which the action plugin knows. Default is whatever the node has.
    type: str
  archive:
    description: Path on the node of the controller's podwire, which the action plugin puts there if it has another.
    type: path
"""

EXAMPLES = r"""
- name: Forget which node has a peer's VTEP
  podwire_fault:
    intent: "{{ declare_result.intent }}"
    results: "{{ declare_result.results }}"
    fault: vxlan_fdb_missing
    node: node-1
    peer: node-2

- name: Mend all nodes
  podwire_fault:
    intent: "{{ declare_result.intent }}"
    results: "{{ declare_result.results }}"
    state: absent
"""

RETURN = r"""
faults:
  description: The faults that were injected, what each one's probe said then, and what a diagnosis has to name.
  returned: when injected
  type: list
  sample: [{fault: vxlan_fdb_missing, said: lost, cause: vxlan_fdb_missing, node: node-1, place: node,
    wanted: "fdb 66:… dst 172.30.0.12 dev flannel.1 self permanent", found: ""}]
mended:
  description: The names of the faults that were undone.
  returned: when mended
  type: list
  sample: [vxlan_fdb_missing]
lacking:
  description: Why each fault cannot be injected; empty for those that can, if need be with O(host_wide).
  returned: when listed
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.podwire_stage import run

ARGUMENTS = {
    "intent": {"type": "path", "required": True},
    "results": {"type": "path"},
    "state": {"type": "str", "choices": ["present", "absent", "listed"], "default": "present"},
    "fault": {"type": "str"},
    "node": {"type": "str"},
    "peer": {"type": "str"},
    "pod": {"type": "str"},
    "host_wide": {"type": "bool", "default": False},
    "blind": {"type": "bool", "default": False},
    "faults": {"type": "list", "elements": "dict"},
    "addresses": {"type": "dict"},
    "library": {"type": "str"},
    "archive": {"type": "path"},
}


def main() -> None:
    run("fault", AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True))


if __name__ == "__main__":
    main()
