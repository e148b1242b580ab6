#!/usr/bin/python
"""Install podwire's CNI plugins as executables."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_cni
short_description: Install podwire's CNI plugins as executables
description:
  - Installs bridge, ptp, loopback, host-local, static, portmap, flannel, firewall, tuning and bandwidth in a directory,
    together with the library that they use. They need nothing else than the Python that they were installed with.
  - Plugins that are running are not disturbed. After an interrupted installation the plugins work.
  - If a plugin of the same name is not podwire's, nothing is installed.
author: podwire
extends_documentation_fragment:
  - podwire.directory
  - podwire.library
attributes:
  check_mode:
    support: full
    description: Shows what would be installed, and changes nothing.
  diff_mode:
    support: full
    description: One executable per line, with its present state.
options:
  intent:
    description:
      - Path on the controller of the intent, as M(podwire_declare) returns it. Nodes of kind netns share one
        installation, which M(podwire_lab) makes.
    type: path
  force:
    description: Also replace plugins of the same name that are not podwire's.
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

from ansible.module_utils.podwire_stage import run


def main() -> None:
    run("podwire_cni")


if __name__ == "__main__":
    main()
