"""Preflight on a node: listen, send, collect."""

from __future__ import annotations

import time
from typing import List

from ..intent.cluster import Cluster
from ..preflight import kernel, ranges, software, wire
from ..preflight.finding import Finding
from . import Answer, Options

#: Seconds that a listener waits for its peers' controllers: a task takes about half a second a node.
_PATIENCE, _PATIENCE_PER_NODE = 60, 3


def on_node(cluster: Cluster, name: str, options: Options, check: bool) -> Answer:
    """One step of a node. Nothing is changed, so check mode makes no difference.

    ``listen`` also looks at the node itself: ``findings`` has all of it.
    """
    run, node = str(options["run"]), cluster.node(name)
    if options["step"] == "send":
        wire.send(cluster, node, run)
        return {"changed": False}
    if options["step"] == "collect":
        return {"changed": False, "heard": {"run": run, "heard": wire.collect(run)}}
    clock = time.time()
    wire.listen(cluster, run, _PATIENCE + _PATIENCE_PER_NODE * len(cluster.nodes))
    found: List[Finding] = []
    for look in (kernel.look, ranges.look, software.look):
        found += look(cluster, node)
    told = {"run": run, "findings": found, "clock": clock, "machine_id": ranges.machine_id()}
    return {"changed": False, "findings": told}
