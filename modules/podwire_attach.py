#!/usr/bin/python
"""Attach a node's pods with CNI."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_attach
short_description: Attach a node's pods with CNI
description:
  - Starts the sandboxes of the declared pods and attaches them with CNI ADD; checks those that are attached with
    CNI CHECK; detaches with CNI DEL those that are not declared any more; cleans up after a crash with CNI GC.
  - All pods of a node are handled by one call in one process.
author: podwire
extends_documentation_fragment:
  - podwire.intent
  - podwire.node
  - podwire.results
  - podwire.library
  - podwire.planned
options:
  conflist:
    description:
      - A network configuration list instead of the one in the intent, as a mapping or as a path on the node.
        Attachments that were made with another list are detached and made again.
      - An C(ipam) of type C(host-local) that has no C(ranges) or C(routes) gets the node's pod CIDR and default
        routes; C(bridge) and C(ptp) without C(mtu) get the cluster's.
    type: raw
  plugin_dirs:
    description:
      - Directories on the node in which plugins are looked for. A plugin there that is not podwire's is executed;
        podwire's own run in the process of the module. Default is what the intent has.
    type: list
    elements: path
"""

EXAMPLES = r"""
- name: Attach the pods
  podwire_attach:
    intent: "{{ declare_result.intent }}"
    results: "{{ declare_result.results }}"

- name: Attach the pods with the distribution's plugins
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

from ansible.module_utils.podwire_stage import run


def main() -> None:
    run("podwire_attach")


if __name__ == "__main__":
    main()
