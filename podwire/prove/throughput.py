"""TCP throughput of each kind of path, and of the underlay: ``verify.yml -e throughput=true``.

Only one node sends, so that measurements do not compete: from one of its pods to a pod on the same node and to one
behind each kind of route, and from node to node. The figures are reported; no figure fails.
"""

from __future__ import annotations

import select
import socket
import time
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from ..intent.cluster import Cluster
from ..kernel import Namespace
from ..observe.records import Snapshot
from ..observe.view import View
from . import expect
from .guarantee import Failure, Guarantee, guarantee
from .observations import Observations, ThroughputRow
from .reach import FAMILY

STREAMS = (1, 4)
#: Seconds of each measurement, after the start that TCP needs to open its window.
DURATION = 0.8
_START = 0.2
_CHUNK = bytes(1 << 18)

SAME, UNDERLAY = "same node", "underlay"


def measure(
    cluster: Cluster,
    node: str,
    ends: Sequence[expect.Endpoint],
    namespaces: Mapping[str, Namespace],
    sinks: Mapping[str, Mapping[str, int]],
    snapshot: Snapshot,
) -> List[ThroughputRow]:
    """Rows of ``kind``, ``source``, ``target``, ``streams`` and ``bits`` a second (None: not measured).

    ``namespaces``: of the node (by its name) and its pods; ``sinks``: node -> pod or node -> port. Empty unless
    this is the first node that has a pod.
    """
    first = next((declared.name for declared in cluster.nodes if declared.name in sinks), "")
    pod_ends = [
        end for end in ends if end.node == node and end.address and not end.host_network and end.pod in namespaces
    ]
    if node != first or not pod_ends:
        return []
    source = pod_ends[0]
    paths: Dict[Tuple[str, str], Tuple[str, str, int]] = {}
    for end in ends:
        port = sinks.get(end.node, {}).get(end.pod)
        if port is None or end.pod == source.pod or end.version != source.version or not end.address:
            continue
        kind = SAME if end.node == node else _kind(cluster, View(snapshot["namespace"]), end)
        if (kind, source.pod) in paths:
            continue
        paths[kind, source.pod] = end.pod, end.address, port
        public_ip = cluster.node(end.node).public_ip(end.version)
        bare = sinks[end.node].get(end.node)
        if kind != SAME and public_ip is not None and bare is not None:
            paths.setdefault((UNDERLAY, node), (end.node, str(public_ip), bare))
    rows: List[ThroughputRow] = []
    for (kind, name), (target, address, port) in paths.items():
        for streams in STREAMS:
            opened = [namespaces[name].call(_connect, source.version, address, port) for _ in range(streams)]
            bits = _send([declared for declared in opened if declared is not None], streams)
            rows.append({"kind": kind, "source": name, "target": target, "streams": streams, "bits": bits})
    return rows


def _kind(cluster: Cluster, view: View, end: expect.Endpoint) -> str:
    """``vxlan`` or ``direct``, by the device of the node's route to the pod's CIDR."""
    block = cluster.node(end.node).pod_cidr(end.version)
    for network, route in view.routes:
        if network == block:
            device = view.hop(route).get("device", "")
            return "vxlan" if "vxlan" in view.links.get(device, {}) else "direct"
    return "direct"


def _connect(version: int, address: str, port: int) -> Optional[socket.socket]:
    opened = socket.socket(FAMILY[version], socket.SOCK_STREAM)
    opened.settimeout(1.0)
    try:
        opened.connect((address, port))
    except OSError:
        opened.close()
        return None
    opened.setblocking(False)
    return opened


def _send(streams: Sequence[socket.socket], wanted: int) -> Optional[float]:
    """Bits a second over all streams; None if a stream is missing or breaks."""
    poll = select.epoll()
    by_fd = {stream.fileno(): stream for stream in streams}
    try:
        if len(streams) < wanted:
            return None
        for descriptor in by_fd:
            poll.register(descriptor, select.EPOLLOUT)
        began = time.monotonic()
        start, sent = began + _START, 0
        while True:
            now = time.monotonic()
            if now >= start + DURATION:
                return sent * 8 / (now - start)
            for descriptor, _ in poll.poll(0.05):
                try:
                    count = by_fd[descriptor].send(_CHUNK)
                except BlockingIOError:
                    continue
                except OSError:
                    return None
                if now >= start:
                    sent += count
    finally:
        poll.close()
        for stream in streams:
            stream.close()


def judge(cluster: Cluster, reports: Mapping[str, Observations]) -> Guarantee:
    """Passes if every measurement was made; the notes have the figures, with the ratio to the underlay."""
    rows = [row for observed in reports.values() for row in observed.get("throughput", ())]
    bare = {row["streams"]: row["bits"] for row in rows if row["kind"] == UNDERLAY}
    notes: List[str] = []
    failures: List[Failure] = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        figures = []
        for row in rows:
            if row["kind"] != kind:
                continue
            streams = f"{row['streams']} stream{'s' if row['streams'] > 1 else ''}"
            if row["bits"] is None:
                failures.append(Failure(row["source"], row["target"], "", "no throughput", f"{streams}: no connection"))
                continue
            ratio = ""
            underlay = bare.get(row["streams"])
            if kind != UNDERLAY and underlay:
                ratio = f" ({row['bits'] / underlay:.2f} of the underlay)"
            figures.append(f"{streams} {row['bits'] / 1e9:.2f} Gbit/s{ratio}")
        if figures:
            path = next(f"{row['source']} -> {row['target']}" for row in rows if row["kind"] == kind)
            notes.append(f"{kind} {path}: {', '.join(figures)}")
    title = f"throughput of {cluster.backend.type}"
    return guarantee("throughput", title, "measurements", len(rows), failures, 0 if rows else 1, notes)
