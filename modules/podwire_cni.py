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
      which share one installation on the controller.
    type: path
  directory:
    description: Where to install, on nodes that are not of kind netns.
    type: path
    default: /opt/cni/bin
  force:
    description: Replace plugins of the same name that are not podwire's, too.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Install the CNI plugins
  podwire_cni:
    intent: "{{ declare_result.intent }}"
"""

RETURN = r"""
# Only changed and diff.
"""

import sys

from ansible.module_utils.basic import AnsibleModule

ARGUMENTS = {
    "intent": {"type": "path"},
    "directory": {"type": "path", "default": "/opt/cni/bin"},
    "force": {"type": "bool", "default": False},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    sys.path.insert(0, "/opt/podwire/lib")
    try:
        from podwire.doors import answer
        from podwire.doors.node import install_plugins
    except ImportError as error:
        module.fail_json(msg=f"failed to import podwire on the node: {error}; it belongs in /opt/podwire/lib")

    options = module.params
    result = answer(
        lambda: install_plugins(options["directory"], force=options["force"], check=module.check_mode),
    )
    (module.fail_json if result.get("failed") else module.exit_json)(**result)


if __name__ == "__main__":
    main()
