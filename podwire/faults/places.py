"""Names of the namespaces of a node, as edits and journals give them.

``pod:NAME`` is a pod's; ``ghost:TOKEN`` is a stray process's, which is there only once the process was started.
"""

from __future__ import annotations

#: The node's root namespace, the switch below a lab, the machine's first namespace; the prefix of a stray process's.
NODE, UNDERLAY, MACHINE, PROCESS = "node", "underlay", "machine", "ghost"
