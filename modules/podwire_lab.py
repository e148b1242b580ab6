#!/usr/bin/python
"""Documentation only: the work is in plugins/action/podwire_lab.py."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_lab
short_description: Make or remove a lab's nodes and underlay
description:
  - Makes network-namespace nodes, the CNI plugins that they share, and the switches and routers between them, all
    in one call; or removes them.
  - Nodes of kind docker are containers on Docker networks, one a segment. Their image is made if Docker has it not.
  - Removing needs nothing but the inventory's path, so that it works after a crash and with variables that are wrong.
  - Runs on the controller as root; use it with C(run_once). Does nothing for nodes of kind ssh.
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
    description: Path on the controller of the intent, as M(podwire_declare) returns it. Required for O(state=present).
    type: path
  leaving:
    description: Nodes to remove, all others stay; O(intent) is the one without them.
    type: list
    elements: str
  state:
    description: Whether the lab should be there.
    type: str
    choices: [present, absent]
    default: present
  image:
    description: Image of nodes of kind docker; Docker pulls it if it does not have it. Default is one that is made.
    type: str
  base:
    description: Debian or Ubuntu image that the node image is built on. Where it is not to be had, mmdebstrap makes a
      root file system of the controller's own distribution instead.
    type: str
    default: debian:12-slim
"""

EXAMPLES = r"""
- name: Bring up the lab's nodes and underlay
  podwire_lab:
    intent: "{{ declare_result.intent }}"
  run_once: true

- name: Remove the lab
  podwire_lab:
    state: absent
  run_once: true
"""

RETURN = r"""
# Only changed and diff.
"""
