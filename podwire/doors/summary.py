"""The last stage, once on the controller: the verdict, and what people read at the end of a run."""

from __future__ import annotations

import os
import time
from typing import List, Mapping, Sequence

from ..cluster import Cluster
from ..lab.registry import write_json
from ..prove.text import render, table
from ..prove.verdict import judge, to_json
from . import Answer
from .controller import kept


def declared(cluster: Cluster) -> Answer:
    """The table alone, for check mode."""
    return {"changed": False, "text": f"\n{table(cluster)}\n\nnot proven in check mode\n"}


def verdict(cluster: Cluster, hosts: Sequence[str], results: str, source: str, began: float) -> Answer:
    """Judge the observations of ``hosts`` that were kept in ``results``.

    ``source`` is the inventory, ``began`` the time of the run's start (Unix time).
    Returns ``text`` to show; ``failed`` and ``msg`` if a guarantee does not hold.
    """
    addresses = {pod: ips for pods in kept("pods", results, cluster).values() for pod, ips in pods.items()}
    only = set(hosts) & {node.name for node in cluster.nodes}
    judged = judge(cluster, addresses, kept("observations", results, cluster), only)
    path = os.path.join(results, "verdict.json")
    write_json(path, to_json(judged))
    lines = ["", table(cluster), "", render(judged), ""]
    lines += [f"took     {time.time() - began:.1f} s", f"results  {results}", *_examples(cluster, addresses, source)]
    text = "\n".join([*lines, ""])
    if judged.ok:
        return {"changed": False, "text": text, "verdict": path}
    broken = [each for each in judged.guarantees if not each.ok]
    causes = [f"{each.title}: {each.failed} failed, {each.not_run} not run" for each in broken]
    pairs = [str(failure) for each in broken for failure in each.failures]
    return {"changed": False, "failed": True, "text": text, "verdict": path, "msg": "\n".join(causes + pairs)}


def _examples(cluster: Cluster, addresses: Mapping[str, Sequence[str]], source: str) -> List[str]:
    """Commands to look around with, in this run's own names."""
    command = ".venv/bin/podwire"
    lines = [f"look     {command} inspect -i {source}"]
    pods = [pod for pod in cluster.pods if not pod.host_network and addresses.get(pod.name)]
    far = next((pod for pod in pods if pod.node != pods[0].node), None)
    if far:
        address = addresses[far.name][0].partition("/")[0]
        url = f"http://[{address}]:{far.port}/" if ":" in address else f"http://{address}:{far.port}/"
        lines.append(f"try      {command} exec -i {source} {pods[0].name} -- curl -s {url}")
    return lines
