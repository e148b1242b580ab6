"""Where labs are recorded, so that the next run finds the processes of this one.

``/run/podwire/<cluster id>/`` holds ``lab.json`` (the holders), ``intent.json`` (the cluster as of the
last run) and ``lock``; it dies with the machine, as the processes do. ``/var/lib/podwire/<cluster
id>/`` holds what must stay: the subnet leases, and ``containers.json``, as Docker's containers stay too. A controller
that is not root, which machines over SSH do not need, keeps both in its own ``$XDG_STATE_HOME/podwire``.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

from ..errors import LabError
from ..intent.underlay import is_infrastructure
from ..json_files import read_json, write_json
from ..sandbox.process import Process

RUN = "/run/podwire"
STATE = "/var/lib/podwire"


class Lab(NamedTuple):
    """A recorded lab: the holders of its namespaces by name, nodes and underlay (see intent/underlay.py), and the first
    processes of its docker nodes."""

    id: str
    processes: Dict[str, Process]
    containers: Dict[str, Process] = {}

    def running(self) -> Dict[str, Process]:
        """Holders that run."""
        return {name: process for name, process in self.processes.items() if process.alive}

    def nodes(self) -> Dict[str, Process]:
        """The first processes of all nodes that run, of either kind."""
        holders = {name: process for name, process in self.processes.items() if not is_infrastructure(name)}
        return {name: process for name, process in {**holders, **self.containers}.items() if process.alive}


def run_dir(cluster_id: str) -> str:
    """Path of what dies with the machine."""
    return _own(os.path.join(RUN, cluster_id), "run")


def state_dir(cluster_id: str) -> str:
    """Path of what outlives it: the record of subnet leases."""
    return _own(os.path.join(STATE, cluster_id), "state")


def _own(path: str, kind: str) -> str:
    """The path for this user: what root has made is looked at by everybody."""
    if os.geteuid() == 0 or os.path.isdir(path):
        return path
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(home, "podwire", kind, os.path.basename(path))


def plugin_dir(cluster_id: str) -> str:
    """Path of the CNI plugins that its nodes have in /opt/cni/bin."""
    return os.path.join(state_dir(cluster_id), "plugins")


def read(cluster_id: str) -> Optional[Lab]:
    """A lab as recorded, dead processes included; None if there is no record."""
    data = _load(os.path.join(run_dir(cluster_id), "lab.json"))
    inside = containers(cluster_id)
    if data is None and inside is None:
        return None
    return Lab(cluster_id, {name: Process(*process) for name, process in (data or {}).items()}, inside or {})


def write(lab: Lab) -> None:
    """Record a lab, all or nothing."""
    write_json(os.path.join(run_dir(lab.id), "lab.json"), lab.processes)


def containers(cluster_id: str) -> Optional[Dict[str, Process]]:
    """The first processes of its docker nodes as of the last run; None if it never had any."""
    data = _load(os.path.join(state_dir(cluster_id), "containers.json"))
    return None if data is None else {name: Process(*process) for name, process in data.items()}


def write_containers(cluster_id: str, processes: Dict[str, Process]) -> None:
    """Record them; an empty record says that Docker has to be asked."""
    os.makedirs(state_dir(cluster_id), exist_ok=True)
    write_json(os.path.join(state_dir(cluster_id), "containers.json"), processes)


def labs() -> List[Lab]:
    """Every recorded lab, by id."""
    try:
        names = sorted(os.listdir(RUN))
    except FileNotFoundError:
        return []
    return [lab for lab in map(read, names) if lab is not None]


def node_pid(cluster_id: str, node: str) -> Optional[int]:
    """The process id of a running node's PID 1, as this machine sees it; None if it does not run."""
    lab = read(cluster_id)
    process = lab.processes.get(node) or lab.containers.get(node) if lab else None
    return process.pid if process and process.alive else None


def intent(cluster_id: str) -> Optional[Dict[str, Any]]:
    """The cluster as of the last run, in JSON's types (see intent_json.py)."""
    return _load(os.path.join(run_dir(cluster_id), "intent.json"))


def write_intent(cluster_id: str, data: Dict[str, Any]) -> None:
    """Keep the cluster for ``podwire inspect``, ``podwire exec`` and the tests."""
    os.makedirs(run_dir(cluster_id), exist_ok=True)
    write_json(os.path.join(run_dir(cluster_id), "intent.json"), data)


def remove(cluster_id: str) -> None:
    """Forget a lab, its leases included."""
    import shutil  # 10 ms that finding a node need not pay

    for path in (state_dir(cluster_id), run_dir(cluster_id)):
        shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):  # not empty: another lab is there
            os.rmdir(os.path.dirname(path))


@contextmanager
def locked(cluster_id: str) -> Iterator[None]:
    """Keep other runs off this lab. LabError when one is at work."""
    path = os.path.join(run_dir(cluster_id), "lock")
    while True:
        os.makedirs(run_dir(cluster_id), exist_ok=True)
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue  # removed between the two calls, with the lab
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LabError(
                    f"failed to lock lab {cluster_id}: another run is at work on it", "wait for it to end"
                ) from None
            if not _is(path, lock):
                continue  # the lab was removed while this call waited for the lock
            yield
            return
        finally:
            os.close(lock)


def _load(path: str) -> Optional[Dict[str, Any]]:
    try:
        data: Optional[Dict[str, Any]] = read_json(path)
    except ValueError as error:
        raise LabError(f"failed to read {path}: {error}", "remove it, and build the lab again") from error
    return data


def _is(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
