#!/usr/bin/python
"""Check the prerequisites on a node."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_preflight
short_description: Check the prerequisites on a node
description:
  - Checks everything that the declared cluster needs, and changes nothing.
  - Real datagrams between the nodes show whether the backend's UDP port is open and which packet sizes pass. So run
    three steps on all nodes, one after another. V(listen) checks the node itself and starts to listen, V(send) sends
    to all peers, V(collect) returns what arrived.
author: podwire
extends_documentation_fragment:
  - podwire.intent
  - podwire.node
  - podwire.results
  - podwire.run
  - podwire.library
  - podwire.read_only
options:
  step:
    description: The step to run.
    type: str
    choices: [listen, send, collect]
    required: true
"""

EXAMPLES = r"""
- name: Check the node, and listen
  podwire_preflight:
    intent: "{{ declare_result.intent }}"
    results: "{{ declare_result.results }}"
    run: "{{ declare_result.began }}"
    step: listen
"""

RETURN = r"""
findings:
  description: Path on the controller of the findings.
  returned: when O(step=listen)
  type: str
heard:
  description: Path on the controller of the datagrams that arrived.
  returned: when O(step=collect)
  type: str
"""

from ansible.module_utils.podwire_stage import run


def main() -> None:
    run("podwire_preflight")


if __name__ == "__main__":
    main()
