"""``podwire watch``: packet loss between a lab's pods while a command runs."""

from __future__ import annotations

import subprocess
from typing import Dict, List, Optional, Sequence

from ..errors import PodwireError
from ..intent.cluster import Cluster
from ..kernel import enter
from ..lab import registry
from ..prove import expect
from ..prove.watch import text, watch
from ..sandbox import sandboxes
from .intent import load


def run(inventory: Optional[str], command: Sequence[str], most: Optional[float]) -> int:
    """Ping while ``command`` runs. Its exit status; 1 if a gap was longer than ``most`` seconds."""
    if not command:
        raise PodwireError("failed to watch: there is no command to run", "write it after --, e.g. -- ./run site")
    cluster = load(inventory)
    pids = {node.name: registry.node_pid(cluster.id, node.name) for node in cluster.nodes}
    if not any(pids.values()):
        raise PodwireError(f"failed to watch lab {cluster.id}: it is not running", "build it: sudo ./run site")
    addresses: Dict[str, List[str]] = {}
    for node, pid in pids.items():
        if pid is not None:
            addresses.update(enter.call(pid, _addresses, cluster, node))
    ends = [end for end in expect.endpoints(cluster, addresses) if end.address]
    pairs = [pair for node in pids for pair in expect.bulk_pairs_from(node, ends)]
    where = _NamespacePaths(cluster)
    process = subprocess.Popen(command)
    try:
        losses = watch(pairs, where, lambda: process.poll() is not None)
    except BaseException:
        process.terminate()
        raise
    finally:
        process.wait()
    print(text(losses))
    if most is not None and any(loss.gap > most for loss in losses):
        return process.returncode or 1
    return process.returncode


def _addresses(cluster: Cluster, node: str) -> Dict[str, List[str]]:
    from ..prove import prober

    return prober.addresses(cluster, node)


class _NamespacePaths:
    """Paths of pods' namespaces on this machine, through the root of their node's first process."""

    def __init__(self, cluster: Cluster) -> None:
        self._id = cluster.id
        self._nodes = {pod.name: pod.node for pod in cluster.pods}

    def __call__(self, pod: str) -> Optional[str]:
        pid = registry.node_pid(self._id, self._nodes[pod])
        return None if pid is None else f"/proc/{pid}/root{sandboxes.NAMES}/{pod}"
