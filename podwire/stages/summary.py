"""The last stage, once on the controller: the verdict, and what people read at the end of a run."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any, List, Mapping, NamedTuple, Optional, Sequence

from .. import __version__
from ..intent.cluster import Cluster
from ..json_files import write_json
from ..prove.discovery import infer
from ..prove.observations import Observations
from ..prove.text import render, table
from ..prove.verdict import Verdict, judge, to_json
from ..report.document import Run, build
from ..report.files import write
from ..report.source_locations import Origins
from . import Answer
from .controller import kept

#: Names that a line has room for.
_SHOWN = 8
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


def declared(cluster: Cluster) -> Answer:
    """The table alone, for check mode."""
    return {"changed": False, "text": f"\n{table(cluster)}\n\nnot proven in check mode\n"}


def verdict(
    cluster: Cluster,
    hosts: Sequence[str],
    lost: Sequence[str],
    results: str,
    source: str,
    began: float,
    colour: bool = False,
    origins: Optional[Origins] = None,
) -> Answer:
    """Judge the observations of ``hosts`` that were kept in ``results``, run the tests on them, and leave the report.

    ``lost`` are hosts that failed or were not reached on the way here.
    ``source`` is the inventory, ``began`` the time of the run's start (Unix time), ``origins`` the lines of the intent.
    Returns ``text`` to show; ``failed`` and ``msg`` if a guarantee or a test does not hold.
    """
    addresses = {pod: ips for pods in kept("pods", results, cluster).values() for pod, ips in pods.items()}
    notes: Sequence[str] = ()
    if cluster.discovered:
        cluster, addresses, _, notes = infer(cluster, kept("found", results, cluster))
    only = {*hosts, *lost} & {node.name for node in cluster.nodes}
    # Of nodes that were lost an earlier run's may still lie there.
    told = kept("observations", results, cluster)
    observations = {name: each for name, each in told.items() if name not in lost}
    judged = judge(cluster, addresses, observations, only)._replace(inferred=tuple(notes))
    write_json(os.path.join(results, "verdict.json"), to_json(judged))
    whole = len(only) == len(cluster.nodes)
    why = "without all nodes" if lost else "on pods of others" if cluster.discovered else "under --limit"
    complete = whole and not lost
    tests = _test(source, results) if complete and not cluster.discovered else _untested(results, why)
    shown = near(source)
    report = leave_report(cluster, judged, addresses, observations, results, source, began, origins)
    lines = ["", table(cluster), "", render(judged, colour), *_lost(cluster, hosts, lost), ""]
    lines += [f"tests    {tests.text.splitlines()[-1]}", f"took     {time.time() - began:.1f} s"]
    lines += [f"results  {results}", f"report   {os.path.join(report, 'index.html')}"]
    lines += _examples(cluster, addresses, shlex.quote(shown))
    paths = {"verdict": os.path.join(results, "verdict.json"), "report": report}
    answered = {"changed": False, "text": "\n".join([*lines, ""]), **paths}
    # Under --limit the other nodes may not be there yet, and a lost one has failed on its own: what could not be tried
    # is shown, and is no failure.
    broken = [guarantee for guarantee in judged.guarantees if guarantee.failed or (complete and not guarantee.ok)]
    if not broken and tests.ok:
        return answered
    causes = [f"{each.title}: {each.failed} failed, {each.not_run} not run" for each in broken]
    causes += [str(failure) for each in broken for failure in each.failures]
    causes += [line for line in tests.text.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return {**answered, "failed": True, "msg": "\n".join(causes or [tests.text])}


def leave_report(
    cluster: Cluster,
    judged: Verdict,
    addresses: Mapping[str, Sequence[str]],
    observations: Mapping[str, Observations],
    results: str,
    source: str,
    began: float,
    origins: Optional[Origins],
    explained: Optional[Mapping[str, Any]] = None,
) -> str:
    """Write the report of a run, with what was ``explained`` (see ``build``), into its results; the directory.

    ReportError.
    """
    limit = None if len(judged.nodes) == len(cluster.nodes) else tuple(sorted(judged.nodes))
    run = Run(near(source), began, time.time(), __version__, platform.release(), limit)
    directory = os.path.join(results, "report")
    write(build(cluster, judged, addresses, observations, run, origins or Origins(), **explained or {}), directory)
    return directory


def near(source: str) -> str:
    """The inventory as a person would name it from here."""
    return os.path.relpath(source) if os.path.exists(source) else source


def _lost(cluster: Cluster, hosts: Sequence[str], lost: Sequence[str]) -> List[str]:
    """What became of the others' entries for nodes that dropped out: they are what is declared, and stay."""
    lines = []
    names = [host for host in hosts if host in cluster.by_name]
    who = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    for name in (host for host in lost if host in cluster.by_name):
        blocks = " ".join(map(str, cluster.node(name).pod_cidrs))
        lines.append(f"LOST    {name} failed or was not reached; these nodes still route {blocks} to it: {who}")
        lines.append(f"        repair it and run: ./run site --limit {name}; or take it out: ./run leave {name}")
    return lines


class Tests(NamedTuple):
    """How the testinfra tests went. The last line of ``text`` is pytest's summary."""

    ok: bool
    text: str


def _test(source: str, results: str) -> Tests:
    """Run tests/lab on what was observed; junit.xml in ``results`` is for a CI, tests.txt for people."""
    command = [sys.executable, "-m", "pytest", "-q", "-r", "fE", "--no-header", "--tb=short", "--color=no", "tests/lab"]
    command += ["--podwire-inventory", source, "--podwire-results", results, "--ansible-inventory", source]
    command += ["--junitxml", os.path.join(results, "junit.xml")]
    done = subprocess.run(
        command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
    )
    with open(os.path.join(results, "tests.txt"), "w", encoding="utf-8") as file:
        file.write(done.stdout)
    return Tests(done.returncode == 0, done.stdout.strip() or f"pytest ended with status {done.returncode}")


def _untested(results: str, why: str) -> Tests:
    """No tests, and no earlier run's either where a CI would take them for this one's."""
    for name in ("junit.xml", "tests.txt"):
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(results, name))
    return Tests(True, f"not run {why}")


def _examples(cluster: Cluster, addresses: Mapping[str, Sequence[str]], source: str) -> List[str]:
    """Commands to look around with, in this run's own names; they know no way to other machines."""
    if any(node.kind == "ssh" for node in cluster.nodes):
        return []
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
