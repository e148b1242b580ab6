"""The last stage of explain, once on the controller: causes from what all nodes told."""

from __future__ import annotations

import os
from typing import Collection, Tuple

from ..cluster import Cluster
from ..errors import ProofError
from ..explain import explain, to_json
from ..explain.inferred import recorded
from ..explain.text import render
from ..lab.registry import write_json
from ..prove.foreign import infer
from . import Answer
from .controller import kept


def diagnosis(cluster: Cluster, hosts: Collection[str], results: str, ends: Tuple[str, str] = ("", "")) -> Answer:
    """Explain what ``hosts`` told, as kept in ``results``, or of that only what ``ends`` (source, target; "" is any)
    suffers from.

    Returns ``text`` to show, ``causes``, and ``explained``: where they are written. ProofError for ends that are
    not declared.
    """
    addresses = {pod: ips for pods in kept("pods", results, cluster).values() for pod, ips in pods.items()}
    notes: Tuple[str, ...] = ()
    if cluster.discovered:
        cluster, addresses, _, notes = infer(cluster, recorded(kept("found", results, cluster)))
    known = {*(node.name for node in cluster.nodes), *(pod.name for pod in cluster.pods)}
    for option, name in zip(("src", "dst"), ends):
        if name and name not in known:
            hint = f"name one of {', '.join(sorted(known)[:5])}: -e {option}=…"
            raise ProofError(f"failed to explain {option} {name!r}: it is no pod or node of the inventory", hint)
    told = {node: each for node, each in kept("evidence", results, cluster).items() if node in hosts}
    found = explain(cluster, addresses, told, notes).about(*ends)
    path = os.path.join(results, "causes.json")
    document = to_json(found)
    write_json(path, document)
    return {"changed": False, "text": render(found, ends), "causes": document["causes"], "explained": path}
