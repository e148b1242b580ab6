"""The last stage, once on the controller: the verdict, and what people read at the end of a run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import List, Mapping, NamedTuple, Sequence

from ..cluster import Cluster
from ..lab.registry import write_json
from ..prove.foreign import infer
from ..prove.text import render, table
from ..prove.verdict import judge, to_json
from . import Answer
from .controller import kept

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


def declared(cluster: Cluster) -> Answer:
    """The table alone, for check mode."""
    return {"changed": False, "text": f"\n{table(cluster)}\n\nnot proven in check mode\n"}


def verdict(
    cluster: Cluster, hosts: Sequence[str], results: str, source: str, began: float, colour: bool = False
) -> Answer:
    """Judge the observations of ``hosts`` that were kept in ``results``, and run the tests on them.

    ``source`` is the inventory, ``began`` the time of the run's start (Unix time).
    Returns ``text`` to show; ``failed`` and ``msg`` if a guarantee or a test does not hold.
    """
    addresses = {pod: ips for pods in kept("pods", results, cluster).values() for pod, ips in pods.items()}
    notes: Sequence[str] = ()
    if cluster.discovered:
        cluster, addresses, _, notes = infer(cluster, kept("found", results, cluster))
    only = set(hosts) & {node.name for node in cluster.nodes}
    judged = judge(cluster, addresses, kept("observations", results, cluster), only)._replace(inferred=tuple(notes))
    write_json(os.path.join(results, "verdict.json"), to_json(judged))
    whole = len(only) == len(cluster.nodes)
    if not whole or cluster.discovered:
        tests = Tests(True, "not run on pods of others" if cluster.discovered else "not run under --limit")
    else:
        tests = _test(source, results)
    near = os.path.relpath(source) if os.path.exists(source) else source
    lines = ["", table(cluster), "", render(judged, colour), "", f"tests    {tests.text.splitlines()[-1]}"]
    lines += [f"took     {time.time() - began:.1f} s", f"results  {results}", *_examples(cluster, addresses, near)]
    answered = {"changed": False, "text": "\n".join([*lines, ""]), "verdict": os.path.join(results, "verdict.json")}
    # Under --limit the other nodes may not be there yet: what could not be tried is shown, and is no failure.
    broken = [each for each in judged.guarantees if each.failed or (whole and not each.ok)]
    if not broken and tests.ok:
        return answered
    causes = [f"{each.title}: {each.failed} failed, {each.not_run} not run" for each in broken]
    causes += [str(failure) for each in broken for failure in each.failures]
    causes += [line for line in tests.text.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return {**answered, "failed": True, "msg": "\n".join(causes or [tests.text])}


class Tests(NamedTuple):
    """How the testinfra tests went. The last line of ``text`` is pytest's summary."""

    ok: bool
    text: str


def _test(source: str, results: str) -> Tests:
    """Run tests/lab on what was observed; junit.xml in ``results`` is for a CI, tests.txt for people."""
    command = [sys.executable, "-m", "pytest", "-q", "-r", "fE", "--no-header", "--tb=short", "--color=no", "tests/lab"]
    command += ["--podwire-inventory", source, "--podwire-results", results]
    command += ["--junitxml", os.path.join(results, "junit.xml")]
    done = subprocess.run(
        command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
    )
    with open(os.path.join(results, "tests.txt"), "w", encoding="utf-8") as file:
        file.write(done.stdout)
    return Tests(done.returncode == 0, done.stdout.strip() or f"pytest ended with status {done.returncode}")


def _examples(cluster: Cluster, addresses: Mapping[str, Sequence[str]], source: str) -> List[str]:
    """Commands to look around with, in this run's own names."""
    command = ".venv/bin/podwire"
    lines = [f"look     {command} inspect -i {source}"]
    if cluster.discovered:  # podwire exec knows no way into them
        return []
    pods = [pod for pod in cluster.pods if not pod.host_network and addresses.get(pod.name)]
    far = next((pod for pod in pods if pod.node != pods[0].node), None)
    if far:
        address = addresses[far.name][0].partition("/")[0]
        url = f"http://[{address}]:{far.port}/" if ":" in address else f"http://{address}:{far.port}/"
        lines.append(f"try      {command} exec -i {source} {pods[0].name} -- curl -s {url}")
    return lines
