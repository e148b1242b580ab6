#!/usr/bin/python
"""Create or remove the nodes and the underlay of a lab. The code is the action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_lab
short_description: Create or remove the nodes and the underlay of a lab
description:
  - Creates network-namespace nodes, the CNI plugins that they share, and the switches and routers between them, all
    in one call; or removes them.
  - Nodes of kind docker are containers on Docker networks, one per segment. Their image is built if Docker does
    not have it.
  - Removing needs only the path of the inventory, so it works after a crash and with variables that are wrong.
  - Runs on the controller as root; use it with C(run_once). Does nothing for nodes of kind ssh.
author: podwire
extends_documentation_fragment:
  - podwire.planned
options:
  intent:
    description: Path on the controller of the intent, as M(podwire_declare) returns it. Required with O(state=present).
    type: path
  leaving:
    description: Nodes to remove. All others stay; O(intent) is the one without them.
    type: list
    elements: str
  state:
    description: Whether the lab should exist.
    type: str
    choices: [present, absent]
    default: present
  image:
    description: Image of nodes of kind docker. Docker pulls it if necessary. Default is an image that is built.
    type: str
  base:
    description:
      - Debian or Ubuntu image that the node image is built on. If it is not available, mmdebstrap makes a root file
        system of the controller's own distribution instead.
    type: str
    default: debian:12-slim
"""

EXAMPLES = r"""
- name: Create the lab's nodes and underlay
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
