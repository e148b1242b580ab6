"""A snapshot of all of a node's network, which one process on it reads in bulk, as JSON.

::

    {"node": "node-1",
     "namespace":    {...},                       the node's, see records.py
     "sandboxes":    {"pod-a": {"netns": "/run/netns/pod-a", "container": "4f…", "known_by": "podwire",
                                "inode": 4026532000, "pids": [7], "nsid": 3, "namespace": {...}}},
     "unattached":   {"pod-b": {...}},            likewise without tables: named, with a process, and without a device
     "conflists":    [{"file": "10-podwire.conflist", "name": "podwire", "plugins": [...]}],
     "reservations": {"podwire": {"10.244.0.2": ["<container id>", "eth0"]}},
     "attachments":  [{"network": ..., "container": ..., "ifname": ..., "netns": ..., "pod": ..., "ips": [...]}],
     "subnet_env":   {"FLANNEL_NETWORK": ...},
     "unnamed":      [7],                         nsids behind the node's devices that no sandbox has
     "seconds":      0.02}

Reads only. Checks compare it with intent and with the other nodes' snapshots.
"""

from __future__ import annotations

import re
import time
from typing import Collection, Dict, Optional, Sequence

from ..errors import KernelError
from ..kernel import Namespace
from . import node_files
from .namespace import counters, links, nsid, read
from .records import NamedSandbox, SandboxRow, Snapshot
from .sandboxes import DiscoveredSandbox, find

__all__ = ["DiscoveredSandbox", "Snapshot", "counters", "find", "links", "read", "take"]

#: Where runtimes of pods mount namespaces. Docker's containers without a network are no pods.
_POD_NAMES = re.compile(r"(/var)?/run/netns/")


def take(node: str, sandboxes: Optional[Sequence[DiscoveredSandbox]] = None, uplinks: Collection[str] = ()) -> Snapshot:
    """The snapshot of the node that this process runs in; of ``sandboxes`` if they are known already.

    A namespace of the same machine need not be the node's: it counts if a runtime has recorded
    it, or a device leads from one to the other, other than by the ``uplinks``, which lead to other nodes.
    KernelError where the kernel refuses. A sandbox that goes away meanwhile is left out.
    """
    began = time.monotonic()
    read_sandboxes: Dict[str, SandboxRow] = {}
    with Namespace.current(node) as here:
        rows = read(here)
        behind = {
            link["link_netnsid"] for link in rows["links"] if "link_netnsid" in link and link["name"] not in uplinks
        }
        known = set()
        unattached: Dict[str, NamedSandbox] = {}
        for sandbox in find() if sandboxes is None else sandboxes:
            try:
                with Namespace.open(sandbox.netns, sandbox.name) as inside:
                    number, back = nsid(here, inside.fd), nsid(inside, here.fd)
                    known.add(number)
                    recorded = sandbox.known_by in ("podwire", "libcni")
                    if recorded or number in behind or (back is not None and _leads_to(inside, back)):
                        read_sandboxes[sandbox.name] = {**sandbox.row(), "nsid": number, "namespace": read(inside)}
                    elif _is_bare(sandbox, inside):
                        unattached[sandbox.name] = sandbox.row()
            except KernelError:
                continue
    return {
        "node": node,
        "namespace": rows,
        "sandboxes": read_sandboxes,
        "unattached": unattached,
        "unnamed": sorted(behind - known),
        **node_files.read(),
        "seconds": round(time.monotonic() - began, 4),
    }


def _is_bare(sandbox: DiscoveredSandbox, inside: Namespace) -> bool:
    """Whether a namespace has a name as runtimes of pods give it, a process, and no device."""
    named = sandbox.known_by == "mount" and sandbox.pids and _POD_NAMES.match(sandbox.netns)
    return bool(named) and all(link["kind"] == "loopback" for link in links(inside))


def _leads_to(namespace: Namespace, number: int) -> bool:
    """Whether a device stands on one of another namespace, as macvlan and ipvlan do on the node's."""
    return any(link.get("link_netnsid") == number and link["kind"] != "veth" for link in links(namespace))
