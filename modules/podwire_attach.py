#!/usr/bin/python
"""Bring a node's pods to what is declared."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_attach
short_description: Attach a node's pods by CNI
description:
  - Starts the sandboxes of the declared pods and attaches them by CNI ADD; checks those that are attached by
    CNI CHECK; detaches by CNI DEL what is declared no more; collects what a crash left by CNI GC.
  - The whole list of a node is one call in one process.
author: podwire
attributes:
  check_mode:
    support: full
    description: The plan is made and shown, and nothing is touched. A node that is not there yet counts as empty.
  diff_mode:
    support: full
    description: The plan, one line an object, with C(+) for add, C(~) for change, C(-) for remove.
options:
  intent:
    description: Path on the controller of the intent, as M(podwire_declare) returns it.
    type: path
    required: true
  node:
    description: The node's name in the intent. Default is the host's name in the inventory.
    type: str
  results:
    description: Directory on the controller for what a run finds out, as M(podwire_declare) returns it.
    type: path
    required: true
  conflist:
    description:
      - A network configuration list in place of the one that the intent has, as a mapping or as a path on the node.
        Attachments of another list are detached and made anew.
      - C(ranges) and C(routes) of an C(ipam) of type C(host-local) without any are the node's block and default
        routes; C(mtu) of C(bridge) and C(ptp) is the cluster's.
    type: raw
  plugin_dirs:
    description:
      - Directories on the node where plugins are looked for. One that is found there and is not podwire's is executed;
        podwire's own run in the module's process. Default is what the intent has.
    type: list
    elements: path
  library:
    description: Digest of the controller's podwire, which the action plugin knows. Default is whatever the node has.
    type: str
  archive:
    description: Path on the node of the controller's podwire, which the action plugin puts there if it has another.
    type: path
"""

EXAMPLES = r"""
- name: Attach the pods
  podwire_attach:
    intent: "{{ declare_result.intent }}"
    results: "{{ declare_result.results }}"

- name: Attach the pods with what the distribution packages
  podwire_attach:
    intent: "{{ declare_result.intent }}"
    results: "{{ declare_result.results }}"
    conflist: /etc/cni/net.d/10-mynet.conflist
    plugin_dirs: [/usr/lib/cni]
"""

RETURN = r"""
pods:
  description: The addresses of each pod of the node.
  returned: success
  type: dict
  sample:
    pod-a: [10.244.0.2]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.podwire_stage import run

ARGUMENTS = {
    "intent": {"type": "path", "required": True},
    "node": {"type": "str"},
    "results": {"type": "path", "required": True},
    "conflist": {"type": "raw"},
    "plugin_dirs": {"type": "list", "elements": "path"},
    "library": {"type": "str"},
    "archive": {"type": "path"},
}


def main() -> None:
    run("attach", AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True))


if __name__ == "__main__":
    main()
