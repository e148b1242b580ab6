"""The last stage of explain, once on the controller: causes from what all nodes told."""

from __future__ import annotations

import os
import shlex
import shutil
from typing import Any, Collection, Dict, List, Mapping, Optional, Tuple

from ..errors import ProofError
from ..explain import ask, explain, to_json
from ..explain.inferred import recorded
from ..explain.text import render
from ..explain.unreachable import blamed
from ..intent.cluster import Cluster
from ..json_files import write_json
from ..prove.discovery import infer
from ..prove.verdict import judge
from ..report.source_locations import Origins
from . import Answer
from .controller import kept
from .summary import leave_report, near


def diagnosis(
    cluster: Cluster,
    hosts: Collection[str],
    results: str,
    source: str,
    began: float,
    ends: Tuple[str, str] = ("", ""),
    origins: Optional[Origins] = None,
    lost: Collection[str] = (),
) -> Answer:
    """Explain what ``hosts`` told, as kept in ``results``, or of that only what ``ends`` (source, target; "" is any)
    suffers from; and leave the report of what was seen, with the causes in it. ``lost`` are hosts that failed or were
    not reached on the way here.

    ``source``, ``began`` and ``origins`` are as for ``summary.verdict``.
    Returns ``text`` to show, ``causes``, ``explained``: where they are written, and ``report``. ProofError for ends
    that are not declared or never probed.
    """
    cluster, addresses, told, notes = _told(cluster, hosts, results, ends)
    lost = [name for name in lost if name in cluster.by_name]
    found = explain(cluster, addresses, told, notes, kept("looks", results, cluster))
    found = blamed(found, cluster, lost).about(*ends)
    path = os.path.join(results, "causes.json")
    document = to_json(found)
    write_json(path, document)
    observations = {node: each["observations"] for node, each in told.items()}
    judged = judge(cluster, addresses, observations, {*hosts, *lost} & set(cluster.by_name))
    judged = judged._replace(inferred=tuple(notes))
    causes = document["causes"]
    shown = [{**cause, "fix": [text for text in (cause["fix"], cause["verb"]) if text]} for cause in causes]
    explained = {"causes": shown, **{key: document[key] for key in ("unexplained", "ruled_out")}}
    report = leave_report(cluster, judged, addresses, observations, results, source, began, origins, explained)
    text = f"{render(found, ends, near(source))}\nreport   {os.path.join(report, 'index.html')}\n"
    if causes and not cluster.discovered and all(node.kind != "ssh" for node in cluster.nodes):
        text += f"fix      .venv/bin/podwire exec -i {shlex.quote(near(source))} NODE -- sh -c 'FIX'\n"
    return {"changed": False, "text": text, "causes": causes, "explained": path, "report": report}


def _check_probed(cluster: Cluster, ends: Tuple[str, str]) -> None:
    """ProofError for two that are never probed, of which nothing can be said: a node is, with its own pods."""
    for node, other in (ends, ends[::-1]):
        own = [pod.name for pod in cluster.pods_of(node)] if node in cluster.by_name else []
        if other and node in cluster.by_name and other not in own:
            cause = f"a node is probed with its own pods alone, and {other} is none of {node}'s"
            hint = f"name two pods, or one of {', '.join(own)} for {other}" if own else "name two pods"
            raise ProofError(f"failed to explain {ends[0]} -> {ends[1]}: {cause}", hint)


def question(cluster: Cluster, hosts: Collection[str], results: str, ends: Tuple[str, str] = ("", "")) -> Answer:
    """What hosts should look at more closely before ``diagnosis``: ``asked``, by host. ProofError as that has."""
    shutil.rmtree(os.path.join(results, "looks"), ignore_errors=True)  # an earlier run's
    cluster, addresses, told, _ = _told(cluster, hosts, results, ends)
    return {"changed": False, "asked": ask(cluster, addresses, told, ends)}


def _told(
    cluster: Cluster, hosts: Collection[str], results: str, ends: Tuple[str, str]
) -> Tuple[Cluster, Dict[str, List[str]], Mapping[str, Any], Tuple[str, ...]]:
    """The cluster as it was found, its pods' addresses, what hosts told, and notes on how it was found."""
    addresses = {pod: ips for pods in kept("pods", results, cluster).values() for pod, ips in pods.items()}
    notes: Tuple[str, ...] = ()
    if cluster.discovered:
        cluster, addresses, _, notes = infer(cluster, recorded(kept("found", results, cluster)))
    known = {*(node.name for node in cluster.nodes), *(pod.name for pod in cluster.pods)}
    for option, name in zip(("src", "dst"), ends):
        if name and name not in known:
            hint = f"name one of {', '.join(sorted(known)[:5])}: -e {option}=…"
            raise ProofError(f"failed to explain {option} {name!r}: it is no pod or node of the inventory", hint)
    _check_probed(cluster, ends)
    told = {node: each for node, each in kept("evidence", results, cluster).items() if node in hosts}
    return cluster, addresses, told, notes
