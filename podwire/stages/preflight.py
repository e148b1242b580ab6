"""Preflight's stages: three on every node (listen, send, collect), and one on the controller (judge)."""

from __future__ import annotations

import os
import time
from typing import List, Sequence

from ..intent.cluster import Cluster
from ..lab.registry import write_json
from ..preflight import kernel, ranges, software, wire
from ..preflight.finding import PROBLEM, Finding
from ..preflight.judge import judge, render
from . import Answer, Options
from .controller import kept

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


def verdict(cluster: Cluster, hosts: Sequence[str], results: str, run: str) -> Answer:
    """Judge what the nodes told in this run, and write preflight.json. ``failed`` only for problems."""
    known = [host for host in hosts if host in cluster.by_name]
    found = {node: each for node, each in kept("findings", results, cluster).items() if each["run"] == run}
    heard = {node: each["heard"] for node, each in kept("heard", results, cluster).items() if each["run"] == run}
    report = judge(cluster, known, found, heard)
    os.makedirs(results, exist_ok=True)
    path = os.path.join(results, "preflight.json")
    write_json(path, report.to_json())
    answered = {"changed": False, "report": path, "text": f"\n{render(report)}\n\nresults  {path}\n"}
    problems = [
        f"{', '.join(nodes)}: {each.check}: {each.text}" for nodes, each in report.rows if each.level == PROBLEM
    ]
    return {**answered, "failed": True, "msg": "\n".join(problems)} if problems else answered
