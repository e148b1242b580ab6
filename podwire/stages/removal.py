"""Remove podwire's objects from a node, known by the files on the node and by podwire's marks. Faults are repaired
first.

The order makes a kill harmless: files that list objects go after them, and podwire itself last. Directories that
other tools use (/etc/cni/net.d, /opt/cni/bin) stay, and so does forwarding: others may need it by now.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import Iterator, List, Optional

from ..agent import intent_store, unit
from ..cni.install.executables import NAMES
from ..cni.runtime.cache import CACHE_DIR
from ..cni.spec.invoke import is_ours
from ..converge import Target, converge
from ..errors import FaultError
from ..faults import journal, revert
from ..faults.namespaces import Namespaces
from ..faults.places import MACHINE
from ..intent.cluster import Cluster
from ..intent.projection import NAT_TABLE, NODE_FILE, SUBNET_ENV, scope
from ..ipam.store import DATA_DIR
from ..kernel import Namespace
from ..model.objects import BACKEND_ALIAS, ROUTE_PROTOCOL
from ..model.state import EMPTY, Scope
from ..sandbox import pods, sandboxes
from . import Result, diff_result
from .library import HOME

#: Removed at the end if they are empty.
_SHARED = (
    os.path.join(CACHE_DIR, "results"),
    os.path.join(DATA_DIR, ".podwire"),
    DATA_DIR,
    CACHE_DIR,
    os.path.dirname(sandboxes.RECORDS),
    os.path.dirname(SUBNET_ENV),
    os.path.dirname(intent_store.INTENT),
    journal.DIRECTORY,
    os.path.dirname(journal.DIRECTORY),
)


def remove(plugins: str, *, check: bool = False) -> Result:
    """Remove pods, backend, plugins (from the directory ``plugins``), files and podwire, as far as they exist.

    FaultError, when all else is removed, if a fault could not be repaired."""
    known = intent_store.remembered()
    lines: List[str] = unit.remove(check=check)
    failure = None
    try:
        lines += _repair(check)
    except FaultError as error:
        failure = error
    detached = pods.detach_recorded(check=check) if known is None else pods.detach_all(*known, check=check)
    lines += detached.lines
    lines += _backend(None if known is None else known[0], check)
    paths = [*_plugins(plugins), *_files(None if known is None else known[0])]
    lines += [f"- file {path}" for path in paths]
    if not check:
        for path in paths:
            _remove(path)
        for directory in _SHARED:
            with suppress(OSError):
                os.rmdir(directory)
    if failure is not None:
        raise failure
    return diff_result(lines, "podwire on the node")


def _repair(check: bool) -> List[str]:
    """Undo the journal: faults also change objects that are not podwire's."""
    if not os.path.isdir(journal.DIRECTORY):
        return []
    with Namespace.current(MACHINE) as machine, Namespaces({MACHINE: machine}) as namespaces:
        repaired = revert.mend(namespaces, check=check)
    return [f"{name}: {line}" for name, outcome in repaired for line in outcome.lines]


def _backend(cluster: Optional[Cluster], check: bool) -> List[str]:
    """Devices, routes, rules and files of the backend; without a cluster by their marks alone."""
    owned = Scope(alias=BACKEND_ALIAS, protocol=ROUTE_PROTOCOL, nat=NAT_TABLE)
    if cluster is not None:
        owned = scope(cluster, cluster.nodes[0].name, EMPTY)
    owned = owned._replace(files=frozenset((SUBNET_ENV, NODE_FILE)))
    with Namespace.current("the node") as network:
        outcome = converge([Target(network, EMPTY, owned)], check=check)
    return [str(operation) for _, operation in outcome.operations]


def _plugins(directory: str) -> Iterator[str]:
    paths = [os.path.join(directory, name) for name in NAMES]
    yield from (path for path in paths if is_ours(path))
    library = os.path.join(directory, ".podwire")
    if os.path.isdir(library):
        yield library


def _files(cluster: Optional[Cluster]) -> Iterator[str]:
    """What remains when devices and rules are removed; podwire itself is the last."""
    paths = [os.path.join(CACHE_DIR, "podwire.lock"), sandboxes.RECORDS, os.path.join(journal.DIRECTORY, "lock")]
    for network in _networks_without_pods() if cluster is None else [cluster.cni.name]:
        paths += [os.path.join(DATA_DIR, network), os.path.join(DATA_DIR, ".podwire", network)]
    yield from (
        path
        for path in (*paths, intent_store.OVERRIDE, intent_store.LOCK, intent_store.INTENT, HOME)
        if os.path.lexists(path)
    )


def _networks_without_pods() -> List[str]:
    """Networks of podwire's IPAM in which no address is allocated any more."""
    networks = []
    with suppress(FileNotFoundError):
        for network in os.listdir(os.path.join(DATA_DIR, ".podwire")):
            folder = os.path.join(DATA_DIR, network)
            names = os.listdir(folder) if os.path.isdir(folder) else []
            if not any(name[0].isalnum() and not name.startswith("l") for name in names):  # lock, last_reserved_ip.0
                networks.append(network)
    return networks


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)
