"""Remove from a node what podwire made there, known by what the node itself remembers and by podwire's marks; what was
broken is mended before.

Order makes a kill harmless: what tells of podwire's objects goes after them, and podwire itself last. Directories that
others look at (/etc/cni/net.d, /opt/cni/bin) stay, and so does forwarding: nobody knows who else wants it by now.
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
from . import Answer, differs
from .library import HOME

#: Removed at last if nobody has anything in them.
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


def remove(plugins: str, *, check: bool = False) -> Answer:
    """Remove pods, backend, plugins (from the directory ``plugins``), files and podwire; nothing there is success.

    FaultError, when all else is gone, for what could not be mended."""
    known = intent_store.remembered()
    lines: List[str] = unit.remove(check=check)
    failure = None
    try:
        lines += _mend(check)
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
    return differs(lines, "podwire on the node")


def _mend(check: bool) -> List[str]:
    """Undo the journal: faults also change what is not podwire's."""
    if not os.path.isdir(journal.DIRECTORY):
        return []
    with Namespace.current(MACHINE) as machine, Namespaces({MACHINE: machine}) as namespaces:
        mended = revert.mend(namespaces, check=check)
    return [f"{name}: {line}" for name, done in mended for line in done.lines]


def _backend(cluster: Optional[Cluster], check: bool) -> List[str]:
    """Devices, routes, rules and files of the backend; without a cluster by their marks alone."""
    owned = Scope(alias=BACKEND_ALIAS, protocol=ROUTE_PROTOCOL, nat=NAT_TABLE)
    if cluster is not None:
        owned = scope(cluster, cluster.nodes[0].name, EMPTY)
    owned = owned._replace(files=frozenset((SUBNET_ENV, NODE_FILE)))
    with Namespace.current("the node") as here:
        outcome = converge([Target(here, EMPTY, owned)], check=check)
    return [str(operation) for _, operation in outcome.operations]


def _plugins(directory: str) -> Iterator[str]:
    paths = [os.path.join(directory, name) for name in NAMES]
    yield from (path for path in paths if is_ours(path))
    library = os.path.join(directory, ".podwire")
    if os.path.isdir(library):
        yield library


def _files(cluster: Optional[Cluster]) -> Iterator[str]:
    """What is left when devices and rules are gone; podwire itself is the last."""
    paths = [os.path.join(CACHE_DIR, "podwire.lock"), sandboxes.RECORDS, os.path.join(journal.DIRECTORY, "lock")]
    for network in _emptied() if cluster is None else [cluster.cni.name]:
        paths += [os.path.join(DATA_DIR, network), os.path.join(DATA_DIR, ".podwire", network)]
    yield from (
        path
        for path in (*paths, intent_store.OVERRIDE, intent_store.LOCK, intent_store.INTENT, HOME)
        if os.path.lexists(path)
    )


def _emptied() -> List[str]:
    """Networks that podwire's IPAM served, and of which nobody has an address any more."""
    found = []
    with suppress(FileNotFoundError):
        for network in os.listdir(os.path.join(DATA_DIR, ".podwire")):
            folder = os.path.join(DATA_DIR, network)
            names = os.listdir(folder) if os.path.isdir(folder) else []
            if not any(name[0].isalnum() and not name.startswith("l") for name in names):  # lock, last_reserved_ip.0
                found.append(network)
    return found


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)
