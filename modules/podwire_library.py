#!/usr/bin/python
"""Install podwire itself on a node."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_library
short_description: Install podwire itself on a node
description:
  - Installs podwire's modules in a directory below /opt/podwire, compiles them there, and points /opt/podwire/lib to it
    by one rename, if the node's version of podwire is not the controller's.
  - Needs only Python 3.9 and root on the node. Does nothing for nodes of kind netns, which see the controller's.
author: podwire
extends_documentation_fragment:
  - podwire.library
attributes:
  check_mode:
    support: full
    description: Shows whether the library would be replaced. Later tasks run from a temporary copy.
  diff_mode:
    support: full
    description: The digest of the library, and that of the previous one.
options:
  intent:
    description: Path on the controller of the intent, as M(podwire_declare) returns it.
    type: path
"""

EXAMPLES = r"""
- name: Install podwire on the node
  podwire_library:
    intent: "{{ declare_result.intent }}"
"""

RETURN = r"""
# Only changed and diff.
"""

from ansible.module_utils.podwire_stage import run


def main() -> None:
    run("podwire_library")


if __name__ == "__main__":
    main()
