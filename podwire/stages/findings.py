"""Preflight on the controller: the nodes' findings judged together."""

from __future__ import annotations

import os
from typing import Sequence

from ..intent.cluster import Cluster
from ..json_files import write_json
from ..preflight.finding import PROBLEM
from ..preflight.judge import judge, render
from . import Answer
from .controller import kept


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
