"""Sandboxes discovered by their network namespaces, podwire's and others'.

A namespace has a name where something mounted it (``ip netns``, podwire, containerd and CRI-O in /run/netns,
Docker in /run/docker/netns) and processes where something runs in it. The name that is shown comes from podwire's
records, else from libcni's cache (which has Kubernetes' names), from the mount, or from a process.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Dict, List, NamedTuple, Optional, Tuple

from . import node_files
from .records import NamedSandbox

#: Where namespaces are mounted by name. /var/run is /run, on all but the oldest distributions.
DIRECTORIES = ("/run/netns", "/var/run/netns", "/run/docker/netns")

_Identity = Tuple[int, int]


class DiscoveredSandbox(NamedTuple):
    """A network namespace beside the node's own. ``known_by``: podwire, libcni, mount or process."""

    name: str
    netns: str
    inode: int
    pids: Tuple[int, ...]
    container: str
    known_by: str

    def row(self) -> NamedSandbox:
        """As a snapshot has it."""
        return {
            "name": self.name,
            "netns": self.netns,
            "inode": self.inode,
            "pids": list(self.pids),
            "container": self.container,
            "known_by": self.known_by,
        }


class _Space:
    """What is gathered about one namespace."""

    def __init__(self) -> None:
        self.paths: List[str] = []
        self.pids: List[int] = []


def find() -> List[DiscoveredSandbox]:
    """Every network namespace but the caller's own that a path or a process leads to, by name."""
    spaces = _spaces()
    names: Dict[str, DiscoveredSandbox] = {}
    attached = {
        os.path.realpath(attachment["netns"]): attachment
        for attachment in node_files.attachments()
        if attachment["netns"]
    }
    recorded = _recorded()
    for identity, space in spaces.items():
        path = space.paths[0] if space.paths else f"/proc/{space.pids[0]}/ns/net"
        name, container, known_by = os.path.basename(path), "", "mount"
        if not space.paths:
            name, known_by = f"{_comm(space.pids[0])}-{space.pids[0]}", "process"
        for mount in space.paths:
            cached = attached.get(os.path.realpath(mount))
            if cached is not None:
                container, known_by = cached["container"], "libcni"
                name = cached["pod"] or name
        if identity in recorded:
            name, container = recorded[identity]
            known_by = "podwire"
        if name in names:
            name = f"{name}-{identity[1]}"
        names[name] = DiscoveredSandbox(name, path, identity[1], tuple(space.pids), container, known_by)
    return [names[name] for name in sorted(names)]


def _spaces() -> Dict[_Identity, _Space]:
    current = _identity("/proc/self/ns/net")
    assert current is not None
    spaces: Dict[_Identity, _Space] = {}
    for directory in DIRECTORIES:
        with suppress(OSError):
            for name in sorted(os.listdir(directory)):
                identity = _identity(f"{directory}/{name}")
                # A name whose namespace is gone is a plain file on another device.
                if identity is not None and identity != current and identity[0] == current[0]:
                    spaces.setdefault(identity, _Space()).paths.append(f"{directory}/{name}")
    for name in os.listdir("/proc"):
        if name.isdigit():
            identity = _identity(f"/proc/{name}/ns/net")
            if identity is not None and identity != current:
                spaces.setdefault(identity, _Space()).pids.append(int(name))
    return spaces


def _identity(path: str) -> Optional[_Identity]:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _recorded() -> Dict[_Identity, Tuple[str, str]]:
    """podwire's own sandboxes: pod and container id."""
    from ..sandbox import sandboxes

    names = {}
    for sandbox in sandboxes.recorded().values():
        identity = None if sandbox.host_network else _identity(sandbox.netns)
        if identity is not None:
            names[identity] = sandbox.pod, sandbox.container_id
    return names


def _comm(pid: int) -> str:
    with suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().strip().replace("/", "-")
    return "process"
