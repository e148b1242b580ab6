"""The last stage of preflight, on the controller: one report from the findings of all nodes."""

from __future__ import annotations

import os
from typing import Sequence

from ...intent.cluster import Cluster
from ...json_files import write_json
from ...preflight.finding import PROBLEM
from ...preflight.judge import judge, render
from .. import Result
from .results import stored


def report(cluster: Cluster, hosts: Sequence[str], results: str, run: str) -> Result:
    """Combine what the nodes found in this run, and write preflight.json. ``failed`` only if there are problems."""
    known = [host for host in hosts if host in cluster.by_name]
    findings = {name: node for name, node in stored("findings", results, cluster).items() if node["run"] == run}
    heard = {name: node["heard"] for name, node in stored("heard", results, cluster).items() if node["run"] == run}
    combined = judge(cluster, known, findings, heard)
    os.makedirs(results, exist_ok=True)
    path = os.path.join(results, "preflight.json")
    write_json(path, combined.to_json())
    result = {"changed": False, "report": path, "text": f"\n{render(combined)}\n\nresults  {path}\n"}
    problems = [
        f"{', '.join(nodes)}: {finding.check}: {finding.text}"
        for nodes, finding in combined.rows
        if finding.level == PROBLEM
    ]
    return {**result, "failed": True, "msg": "\n".join(problems)} if problems else result
