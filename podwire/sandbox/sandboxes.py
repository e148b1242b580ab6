"""Sandboxes of pods: network namespaces with the pod's server in them. Runs inside a node of any kind.

A record is written before a sandbox may live, and before its namespace gets a name: whatever a
crash leaves is found by its record and cleared by the next ``start`` or ``stop``. Process ids are
those of the node's own PID namespace.
"""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING, Dict, Iterable, List, NamedTuple, Sequence

from ..errors import KernelError, LabError
from ..files import replace_file
from ..kernel.namespaces import MS_BIND, mount, umount
from .process import Process, kill
from .spawn import spawned

if TYPE_CHECKING:  # podwire exec comes here too, and needs to be quick
    from ..intent.cluster import Pod

RECORDS = "/run/podwire/sandboxes"
NAMES = "/run/netns"


class Sandbox(NamedTuple):
    """A pod's sandbox. ``netns`` is the path of its network namespace, the node's own with ``host_network``."""

    pod: str
    container_id: str
    pid: int
    start_time: int
    netns: str
    host_network: bool
    port: int

    @property
    def alive(self) -> bool:
        """Whether its process still runs."""
        return Process(self.pid, self.start_time).alive


def recorded() -> Dict[str, Sandbox]:
    """Every recorded sandbox by pod, also those that died."""
    try:
        files = sorted(os.listdir(RECORDS))
    except FileNotFoundError:
        return {}
    by_pod = {}
    for name in files:
        if name.endswith(".json"):
            with open(os.path.join(RECORDS, name), encoding="utf-8") as file:
                sandbox = Sandbox(**json.load(file))
            by_pod[sandbox.pod] = sandbox
    return by_pod


def running() -> Dict[str, Sandbox]:
    """The sandboxes whose processes run, by pod."""
    return {name: sandbox for name, sandbox in recorded().items() if sandbox.alive}


def start(pods: Sequence[Pod]) -> Dict[str, Sandbox]:
    """Start a sandbox for each pod that has none, all or none of them. Returns those started.

    Loopback is up, nothing else is there: the rest is CNI's. LabError when one cannot start.
    """
    known = recorded()
    alive = {name for name, sandbox in known.items() if sandbox.alive}
    wanted = [pod for pod in pods if pod.name not in alive]
    if not wanted:
        return {}
    stop(pod.name for pod in wanted if pod.name in known)
    _refuse_foreign_names(wanted)
    os.makedirs(RECORDS, exist_ok=True)
    os.makedirs(NAMES, exist_ok=True)
    requests = [{"pod": p.name, "node": p.node, "port": p.port, "host_network": p.host_network} for p in wanted]
    started: Dict[str, Sandbox] = {}
    try:
        with spawned("podwire.sandbox.server", wanted[0].node, requests) as pids:
            for pod, pid in zip(wanted, pids):
                started[pod.name] = _record(pod, Process.of(pid))
            for sandbox in started.values():
                if not sandbox.host_network:
                    _name(sandbox)
    except BaseException:
        stop(started)
        raise
    return started


def stop(names: Iterable[str]) -> None:
    """End sandboxes and forget them; those that do not exist are left out."""
    known = recorded()
    ending: List[Sandbox] = [known[name] for name in names if name in known]
    kill(Process(sandbox.pid, sandbox.start_time) for sandbox in ending)
    for sandbox in ending:
        if not sandbox.host_network and os.path.exists(sandbox.netns):
            try:
                umount(sandbox.netns)
            except KernelError as error:
                if error.errno != errno.EINVAL:  # the crash came before the mount
                    raise
            os.unlink(sandbox.netns)
        os.unlink(_path(sandbox.pod))


def _refuse_foreign_names(pods: Sequence[Pod]) -> None:
    for pod in pods:
        path = os.path.join(NAMES, pod.name)
        if not pod.host_network and os.path.exists(path):
            raise LabError(
                f"failed to start pod {pod.name}: {path} exists and is not podwire's",
                f"remove it (ip netns delete {pod.name}) or rename the pod",
            )


def _record(pod: Pod, process: Process) -> Sandbox:
    netns = f"/proc/{process.pid}/ns/net" if pod.host_network else os.path.join(NAMES, pod.name)
    sandbox = Sandbox(pod.name, os.urandom(32).hex(), *process, netns, pod.host_network, pod.port)
    replace_file(_path(pod.name), json.dumps(sandbox._asdict()).encode(), 0o644, fsync=False)
    return sandbox


def _path(pod: str) -> str:
    return os.path.join(RECORDS, f"{pod}.json")


def _name(sandbox: Sandbox) -> None:
    """Give the namespace its name, as ``ip netns`` does: a bind mount keeps it findable by path."""
    open(sandbox.netns, "x").close()
    mount(f"/proc/{sandbox.pid}/ns/net", sandbox.netns, flags=MS_BIND)
