"""The last stage of site and verify, on the controller: the verdict, and what people read at the end of a run."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any, List, Mapping, NamedTuple, Optional, Sequence

from ... import __version__
from ...intent.cluster import Cluster
from ...json_files import write_json
from ...prove.discovery import infer
from ...prove.observations import Observations
from ...prove.text import render, table
from ...prove.verdict import Verdict, judge, to_json
from ...report.document import Run, build
from ...report.files import write
from ...report.source_locations import Origins
from .. import Result
from .results import pod_addresses, stored

#: Names that a line has room for.
_SHOWN = 8
_ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3))


def declared(cluster: Cluster) -> Result:
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
) -> Result:
    """Evaluate the observations of ``hosts`` in ``results``, run the tests on them, and write the report.

    ``lost`` are hosts that failed or were not reached earlier in the run.
    ``source`` is the inventory, ``began`` the time of the run's start (Unix time), ``origins`` the lines of the intent.
    Returns ``text`` to print; ``failed`` and ``msg`` if a guarantee or a test does not hold.
    """
    addresses = pod_addresses(results, cluster)
    notes: Sequence[str] = ()
    if cluster.discovered:
        cluster, addresses, _, notes = infer(cluster, stored("found", results, cluster))
    only = {*hosts, *lost} & {node.name for node in cluster.nodes}
    # Lost nodes can have observations of an earlier run.
    by_node = stored("observations", results, cluster)
    observations = {name: observed for name, observed in by_node.items() if name not in lost}
    judged = judge(cluster, addresses, observations, only)._replace(inferred=tuple(notes))
    write_json(os.path.join(results, "verdict.json"), to_json(judged))
    whole = len(only) == len(cluster.nodes)
    why = "without all nodes" if lost else "on discovered pods" if cluster.discovered else "under --limit"
    complete = whole and not lost
    tests = _test(source, results) if complete and not cluster.discovered else _untested(results, why)
    report = write_report(cluster, judged, addresses, observations, results, source, began, origins)
    lines = ["", table(cluster), "", render(judged, colour), *_lost(cluster, hosts, lost), ""]
    lines += [f"tests    {tests.text.splitlines()[-1]}", f"took     {time.time() - began:.1f} s"]
    lines += [f"results  {results}", f"report   {os.path.join(report, 'index.html')}"]
    lines += _examples(cluster, addresses, shlex.quote(display_path(source)))
    paths = {"verdict": os.path.join(results, "verdict.json"), "report": report}
    result = {"changed": False, "text": "\n".join([*lines, ""]), **paths}
    # With --limit the other nodes may not exist yet, and a lost one has failed by itself: what could not be probed is
    # printed, and is no failure.
    broken = [guarantee for guarantee in judged.guarantees if guarantee.failed or (complete and not guarantee.ok)]
    if not broken and tests.ok:
        return result
    causes = [f"{guarantee.title}: {guarantee.failed} failed, {guarantee.not_run} not run" for guarantee in broken]
    causes += [str(failure) for guarantee in broken for failure in guarantee.failures]
    causes += [line for line in tests.text.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return {**result, "failed": True, "msg": "\n".join(causes or [tests.text])}


def write_report(
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
    """Write the report of a run, with the root causes in ``explained`` (see ``build``). Returns its directory, below
    ``results``. ReportError."""
    limit = None if len(judged.nodes) == len(cluster.nodes) else tuple(sorted(judged.nodes))
    run = Run(display_path(source), began, time.time(), __version__, platform.release(), limit)
    directory = os.path.join(results, "report")
    write(build(cluster, judged, addresses, observations, run, origins or Origins(), **explained or {}), directory)
    return directory


def display_path(source: str) -> str:
    """The inventory as a person would name it in the working directory."""
    return os.path.relpath(source) if os.path.exists(source) else source


def _lost(cluster: Cluster, hosts: Sequence[str], lost: Sequence[str]) -> List[str]:
    """Nodes that dropped out. The other nodes keep their routes to them, because these are declared."""
    lines = []
    names = [host for host in hosts if host in cluster.by_name]
    others = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    for name in (host for host in lost if host in cluster.by_name):
        cidrs = " ".join(map(str, cluster.node(name).pod_cidrs))
        lines.append(f"LOST    {name} failed or was not reached; these nodes still route {cidrs} to it: {others}")
        lines.append(f"        repair it and run: ./run site --limit {name}; or take it out: ./run leave {name}")
    return lines


class Tests(NamedTuple):
    """The result of the testinfra tests. The last line of ``text`` is pytest's summary."""

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
    """No tests. Removes the results of an earlier run, which a CI would take for this one's."""
    for name in ("junit.xml", "tests.txt"):
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(results, name))
    return Tests(True, f"not run {why}")


def _examples(cluster: Cluster, addresses: Mapping[str, Sequence[str]], source: str) -> List[str]:
    """Commands to inspect the lab with, in names of this run. They do not work on SSH nodes."""
    if any(node.kind == "ssh" for node in cluster.nodes):
        return []
    command = ".venv/bin/podwire"
    lines = [f"look     {command} inspect -i {source}"]
    if cluster.discovered:  # podwire exec does not enter them
        return []
    pods = [pod for pod in cluster.pods if not pod.host_network and addresses.get(pod.name)]
    remote = next((pod for pod in pods if pod.node != pods[0].node), None)
    if remote:
        address = addresses[remote.name][0].partition("/")[0]
        url = f"http://[{address}]:{remote.port}/" if ":" in address else f"http://{address}:{remote.port}/"
        lines.append(f"try      {command} exec -i {source} {pods[0].name} -- curl -s {url}")
    return lines
