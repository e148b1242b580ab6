"""The last stage of explain, on the controller: root causes from the evidence of all nodes."""

from __future__ import annotations

import os
import shlex
import shutil
from typing import Any, Collection, Dict, List, Mapping, Optional, Tuple

from ...errors import ProofError
from ...explain import ask, explain, to_json
from ...explain.inferred import recorded
from ...explain.text import render
from ...explain.unreachable import blamed
from ...intent.cluster import Cluster
from ...json_files import write_json
from ...prove.discovery import infer
from ...prove.verdict import judge
from ...report.source_locations import Origins
from .. import Result
from .results import pod_addresses, stored
from .verdict import display_path, write_report


def diagnosis(
    cluster: Cluster,
    hosts: Collection[str],
    results: str,
    source: str,
    began: float,
    ends: Tuple[str, str] = ("", ""),
    origins: Optional[Origins] = None,
    lost: Collection[str] = (),
) -> Result:
    """Explain the evidence of ``hosts`` in ``results``, or only what affects traffic between ``ends`` (source and
    target; "" is any); and write the report, with the causes in it. ``lost`` are hosts that failed or were not
    reached earlier in the run.

    ``source``, ``began`` and ``origins`` are as for ``verdict``.
    Returns ``text`` to print, ``causes``, ``explained``: where they are written, and ``report``. ProofError for ends
    that are not declared or never probed.
    """
    cluster, addresses, evidence, notes = _evidence(cluster, hosts, results, ends)
    lost = [name for name in lost if name in cluster.by_name]
    explanation = explain(cluster, addresses, evidence, notes, stored("looks", results, cluster))
    explanation = blamed(explanation, cluster, lost).about(*ends)
    path = os.path.join(results, "causes.json")
    document = to_json(explanation)
    write_json(path, document)
    observations = {name: node["observations"] for name, node in evidence.items()}
    judged = judge(cluster, addresses, observations, {*hosts, *lost} & set(cluster.by_name))
    judged = judged._replace(inferred=tuple(notes))
    causes = document["causes"]
    shown = [{**cause, "fix": [text for text in (cause["fix"], cause["verb"]) if text]} for cause in causes]
    explained = {"causes": shown, **{key: document[key] for key in ("unexplained", "ruled_out")}}
    report = write_report(cluster, judged, addresses, observations, results, source, began, origins, explained)
    inventory = display_path(source)
    text = f"{render(explanation, ends, inventory)}\nreport   {os.path.join(report, 'index.html')}\n"
    if causes and not cluster.discovered and all(node.kind != "ssh" for node in cluster.nodes):
        text += f"fix      .venv/bin/podwire exec -i {shlex.quote(inventory)} NODE -- sh -c 'FIX'\n"
    return {"changed": False, "text": text, "causes": causes, "explained": path, "report": report}


def select_traces(cluster: Cluster, hosts: Collection[str], results: str, ends: Tuple[str, str] = ("", "")) -> Result:
    """What hosts should trace before ``diagnosis``: ``asked``, by host. ProofError as that has."""
    shutil.rmtree(os.path.join(results, "looks"), ignore_errors=True)  # an earlier run's
    cluster, addresses, evidence, _ = _evidence(cluster, hosts, results, ends)
    return {"changed": False, "asked": ask(cluster, addresses, evidence, ends)}


def _evidence(
    cluster: Cluster, hosts: Collection[str], results: str, ends: Tuple[str, str]
) -> Tuple[Cluster, Dict[str, List[str]], Mapping[str, Any], Tuple[str, ...]]:
    """The cluster (inferred, if its pods are discovered), its pods' addresses, the evidence of hosts, and notes on
    how it was inferred."""
    addresses = pod_addresses(results, cluster)
    notes: Tuple[str, ...] = ()
    if cluster.discovered:
        cluster, addresses, _, notes = infer(cluster, recorded(stored("found", results, cluster)))
    known = {*(node.name for node in cluster.nodes), *(pod.name for pod in cluster.pods)}
    for option, name in zip(("src", "dst"), ends):
        if name and name not in known:
            hint = f"name one of {', '.join(sorted(known)[:5])}: -e {option}=…"
            raise ProofError(f"failed to explain {option} {name!r}: it is no pod or node of the inventory", hint)
    check_probed(cluster, ends)
    evidence = {name: node for name, node in stored("evidence", results, cluster).items() if name in hosts}
    return cluster, addresses, evidence, notes


def check_probed(cluster: Cluster, ends: Tuple[str, str]) -> None:
    """ProofError for two ends between which nothing is probed: a node is probed only with its own pods."""
    for node, other in (ends, ends[::-1]):
        pods = [pod.name for pod in cluster.pods_of(node)] if node in cluster.by_name else []
        if other and node in cluster.by_name and other not in pods:
            cause = f"a node is probed with its own pods alone, and {other} is none of {node}'s"
            hint = f"name two pods, or one of {', '.join(pods)} for {other}" if pods else "name two pods"
            raise ProofError(f"failed to explain {ends[0]} -> {ends[1]}: {cause}", hint)
