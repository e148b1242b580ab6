#!/usr/bin/python
"""Look at a node before anything is made there."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_preflight
short_description: Look at a node before anything is made there
description:
  - Looks for whatever would be in the way of the declared cluster, and changes nothing.
  - Between nodes real datagrams tell whether the backend's UDP port is open and how large packets may be. So all nodes
    are first asked to listen (which looks at the node itself as well), then to send, then for what they heard.
author: podwire
attributes:
  check_mode:
    support: full
    description: Nothing is ever changed.
options:
  intent:
    description: Path on the controller of the intent, as M(podwire_declare) returns it.
    type: path
    required: true
  node:
    description: The node's name in the intent. Default is the host's name in the inventory.
    type: str
  results:
    description: Directory on the controller for what is found out, as M(podwire_declare) returns it.
    type: path
    required: true
  step:
    description: What to do.
    type: str
    choices: [listen, send, collect]
    required: true
  run:
    description: What tells this run from others; C(began) of M(podwire_declare).
    type: str
    required: true
  library:
    description: Digest of the controller's podwire, which the action plugin knows. Default is whatever the node has.
    type: str
  archive:
    description: Path on the node of the controller's podwire, which the action plugin puts there if it has another.
    type: path
"""

EXAMPLES = r"""
- name: Listen
  podwire_preflight:
    intent: "{{ declare_result.intent }}"
    results: "{{ declare_result.results }}"
    run: "{{ declare_result.began }}"
    step: listen
"""

RETURN = r"""
findings:
  description: Path on the controller of what the step listen found.
  returned: step is listen
  type: str
heard:
  description: Path on the controller of what the step collect was told.
  returned: step is collect
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.podwire_stage import run

ARGUMENTS = {
    "intent": {"type": "path", "required": True},
    "node": {"type": "str"},
    "results": {"type": "path", "required": True},
    "step": {"type": "str", "choices": ["listen", "send", "collect"], "required": True},
    "run": {"type": "str", "required": True},
    "library": {"type": "str"},
    "archive": {"type": "path"},
}


def main() -> None:
    run("preflight", AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True))


if __name__ == "__main__":
    main()
