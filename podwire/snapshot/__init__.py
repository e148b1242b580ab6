"""What one process on a node reads of all its network, in bulk, as JSON's own values.

::

    {"node": "node-1",
     "namespace":    {...},                       the node's own, see namespace.py
     "sandboxes":    {"pod-a": {"netns": "/run/netns/pod-a", "container": "4f…", "known_by": "podwire",
                                "inode": 4026532000, "pids": [7], "namespace": {...}}},
     "conflists":    [{"file": "10-podwire.conflist", "name": "podwire", "plugins": [...]}],
     "reservations": {"podwire": {"10.244.0.2": ["<container id>", "eth0"]}},
     "attachments":  [{"network": ..., "container": ..., "ifname": ..., "netns": ..., "pod": ..., "ips": [...]}],
     "subnet_env":   {"FLANNEL_NETWORK": ...},
     "unnamed":      [7],                         nsids behind the node's devices that no sandbox has
     "seconds":      0.02}

Reads and changes nothing. Whoever wants to know what a node really holds asks here: checks compare it with
intent and with the other nodes' snapshots.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any, Dict, List, Mapping, Optional, Sequence

from ..errors import KernelError
from ..kernel import Namespace
from . import files
from .namespace import nsid, read
from .sandboxes import Found, find

__all__ = ["Found", "find", "read", "take"]

Snapshot = Mapping[str, Any]


def take(node: str, sandboxes: Optional[Sequence[Found]] = None) -> Dict[str, Any]:
    """The snapshot of the node that this process runs in; of ``sandboxes`` if they are known already.

    KernelError where the kernel refuses. A sandbox that goes away meanwhile is left out.
    """
    began = time.monotonic()
    found = find() if sandboxes is None else sandboxes
    taken: Dict[str, Any] = {}
    numbers: Dict[int, str] = {}
    with ExitStack() as stack:
        here = stack.enter_context(Namespace.current(node))
        for each in found:
            try:
                with Namespace.open(each.netns, each.name) as inside:
                    taken[each.name] = {**each._asdict(), "namespace": read(inside)}
                    number = nsid(here, inside.fd)
            except KernelError:
                continue
            if number is not None:
                numbers[number] = each.name
        own = read(here)
    return {
        "node": node,
        "namespace": own,
        "sandboxes": taken,
        "unnamed": _unnamed(own["links"], numbers),
        **files.read(),
        "seconds": round(time.monotonic() - began, 4),
    }


def _unnamed(links: Sequence[Mapping[str, Any]], known: Mapping[int, str]) -> List[int]:
    """nsids of veth pairs' other ends in namespaces that were not found: orphans that something keeps alive."""
    veths = (link for link in links if link["kind"] == "veth" and "link_netnsid" in link)
    return sorted({link["link_netnsid"] for link in veths} - set(known))
