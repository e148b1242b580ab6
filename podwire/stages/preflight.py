"""The three steps of preflight on a node: listen, send, collect."""

from __future__ import annotations

import time
from typing import List

from ..intent.cluster import Cluster
from ..preflight import kernel, ranges, software, wire
from ..preflight.finding import Finding
from . import Options, Result

#: Seconds that a listener runs: a task of the controller takes about half a second per node.
_PATIENCE, _PATIENCE_PER_NODE = 60, 3


def run_step(cluster: Cluster, name: str, options: Options, check: bool) -> Result:
    """One step on a node. Nothing is changed, so check mode makes no difference.

    ``listen`` also checks the node itself, and returns ``findings``.
    """
    run, node = str(options["run"]), cluster.node(name)
    if options["step"] == "send":
        wire.send(cluster, node, run)
        return {"changed": False}
    if options["step"] == "collect":
        return {"changed": False, "heard": {"run": run, "heard": wire.collect(run)}}
    clock = time.time()
    wire.listen(cluster, run, _PATIENCE + _PATIENCE_PER_NODE * len(cluster.nodes))
    listed: List[Finding] = []
    for check_node in (kernel.look, ranges.look, software.look):
        listed += check_node(cluster, node)
    findings = {"run": run, "findings": listed, "clock": clock, "machine_id": ranges.machine_id()}
    return {"changed": False, "findings": findings}
