#!/usr/bin/python
"""Have podwire itself on a node."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: podwire_library
short_description: Have podwire itself on a node
description:
  - Puts podwire's modules into a directory below /opt/podwire, compiled there, and has /opt/podwire/lib name it; whole,
    in one rename, whenever the node's podwire is another than the controller's.
  - Needs nothing on the node but Python 3.9 and root. Does nothing for nodes of kind netns, which see the controller's.
author: podwire
attributes:
  check_mode:
    support: full
    description: Tells whether the library would be replaced. What comes after it runs from a copy that goes again.
  diff_mode:
    support: full
    description: The digest of the library, and of the one before.
options:
  intent:
    description: Path on the controller of the intent, as M(podwire_declare) returns it. Names the nodes of kind netns.
    type: path
  library:
    description: Digest of the controller's podwire, which the action plugin knows.
    type: str
  archive:
    description: Path on the node of the controller's podwire, which the action plugin puts there if it has another.
    type: path
"""

EXAMPLES = r"""
- name: Bring podwire to the node
  podwire_library:
    intent: "{{ declare_result.intent }}"
"""

RETURN = r"""
# Only changed and diff.
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.podwire_stage import run

ARGUMENTS = {
    "intent": {"type": "path"},
    "library": {"type": "str"},
    "archive": {"type": "path"},
}


def main() -> None:
    run("library", AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True))


if __name__ == "__main__":
    main()
