#!/usr/bin/python
"""Install podwire's CNI plugins as executables."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_cni
short_description: Install podwire's CNI plugins as executables
description:
  - Puts bridge, ptp, loopback, host-local, static, portmap, flannel, firewall, tuning and bandwidth into a directory,
    with the library that they need beside them. They need nothing but the Python that they were installed with.
  - Running plugins are not disturbed, and an installation that is interrupted leaves plugins that work.
  - If a plugin of the same name is not podwire's, nothing is installed.
author: podwire
attributes:
  check_mode:
    support: full
    description: Tells what would be installed, and touches nothing.
  diff_mode:
    support: full
    description: One line an executable, with what stands there now.
options:
  intent:
    description: Path on the controller of the intent, as M(podwire_declare) returns it. Names the nodes of kind netns,
      which share one installation that M(podwire_lab) makes.
    type: path
  directory:
    description: Where to install, on nodes that are not of kind netns.
    type: path
    default: /opt/cni/bin
  force:
    description: Replace plugins of the same name that are not podwire's, too.
    type: bool
    default: false
  library:
    description: Digest of the controller's podwire, which the action plugin knows. Default is whatever the node has.
    type: str
  archive:
    description: Path on the node of the controller's podwire, which the action plugin puts there if it has another.
    type: path
"""

EXAMPLES = r"""
- name: Install the CNI plugins
  podwire_cni:
    intent: "{{ declare_result.intent }}"
"""

RETURN = r"""
# Only changed and diff.
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.podwire_stage import run

ARGUMENTS = {
    "intent": {"type": "path"},
    "directory": {"type": "path", "default": "/opt/cni/bin"},
    "force": {"type": "bool", "default": False},
    "library": {"type": "str"},
    "archive": {"type": "path"},
}


def main() -> None:
    run("cni", AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True))


if __name__ == "__main__":
    main()
