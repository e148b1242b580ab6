"""The report that playbooks leave: of a network that holds, of a broken one, and of both held against each other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict
from xml.etree import ElementTree

import pytest

from podwire.backend.vxlan import vtep_mac
from podwire.lab import registry
from podwire.report.files import DOCUMENT, OUTPUTS, SCHEMA

from .playbooks import Playbooks, environment


@pytest.fixture(scope="module")
def built(copied: Callable[[str], Playbooks]) -> Playbooks:
    """The lab inventory, built."""
    lab = copied("lab")
    assert f"report   {report_of(lab) / 'index.html'}" in lab.run("site.yml").output
    return lab


def report_of(lab: Playbooks) -> Path:
    return Path(registry.state_dir(lab.id), "results", "report")


def document_of(lab: Playbooks) -> Dict[str, Any]:
    document: Dict[str, Any] = json.loads((report_of(lab) / DOCUMENT).read_text())
    return document


def podwire(lab: Playbooks, *arguments: str, status: int = 0) -> str:
    command = [sys.executable, "-c", "import sys; from podwire.cli import main; sys.exit(main())", *arguments]
    done = subprocess.run(command, env=environment(lab.scratch), text=True, capture_output=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def test_a_run_leaves_a_report(built: Playbooks) -> None:
    document = document_of(built)
    assert document["ok"] and document["run"]["limit"] is None
    assert {path.name for path in report_of(built).iterdir()} == {DOCUMENT, os.path.basename(SCHEMA), *OUTPUTS}
    passed = {each["key"]: each["passed"] for each in document["guarantees"]}
    assert passed.items() >= {"unique": 6, "pods": 30, "agents": 6, "mtu": 30}.items()
    jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema: ./run test installs it")
    jsonschema.Draft202012Validator(json.loads(Path(SCHEMA).read_text())).validate(document)


def test_it_knows_leases_routes_and_lines(built: Playbooks) -> None:
    document = document_of(built)
    held = {(node, pod): ip for node, ip, _, _, pod in document["leases"]["reservations"]}
    pods = document["cluster"]["pods"]
    assert held == {(pod["node"], pod["name"]): pod["addresses"][0] for pod in pods}
    rows = document["routes"]["rows"]
    assert all(desired and seen for *_, desired, seen in rows)
    assert {(node, peer) for node, kind, _, peer, *_ in rows if kind == "fdb"} == {
        (a, b) for a in ("node-1", "node-2", "node-3") for b in ("node-1", "node-2", "node-3") if a != b
    }
    for each in [*document["cluster"]["nodes"], *pods]:
        path, _, line = each["origin"].rpartition(":")
        assert each["name"] in Path(path).read_text().splitlines()[int(line) - 1]


@pytest.mark.skipif(not shutil.which("bridge"), reason="needs iproute2")
def test_a_broken_network_is_reported_with_its_pairs_and_the_missing_entry(built: Playbooks, tmp_path: Path) -> None:
    shutil.copy(report_of(built) / DOCUMENT, tmp_path / "old.json")
    delete = ["bridge", "fdb", "del", str(vtep_mac("node-2", 1, 4)), "dev", "flannel.1", "dst", "172.30.0.12"]
    podwire(built, "exec", "-i", str(built.inventory), "node-1", "--", *delete)
    built.run("playbooks/verify.yml", status=2)
    document = document_of(built)
    failing = {(each["source"], each["target"]) for each in document["guarantees"][1]["failures"]}
    there = {(a, b) for a in ("pod-a", "pod-d") for b in ("pod-b", "pod-e")}
    assert failing == there | {(b, a) for a, b in there}, "answers to node-2 are lost as well"
    assert [row[:4] for row in document["routes"]["rows"] if row[5] != row[6]] == [
        ["node-1", "fdb", "flannel.1", "node-2"]
    ]
    page = (report_of(built) / "index.html").read_text()
    assert "pod-a → pod-b" in page and "fdb 66:" in page
    suites = ElementTree.parse(report_of(built) / "junit.xml").getroot()
    failed = [test.get("name") for test in suites[1] if test.find("failure") is not None]
    assert failed == ["node-1 to node-2", "node-2 to node-1"]
    (result,) = [
        each
        for each in json.loads((report_of(built) / "results.sarif").read_text())["runs"][0]["results"]
        if each["ruleId"] == "podwire/pods"
    ]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"].endswith("hosts.yml") and place["region"]["startLine"] == 6
    new = str(report_of(built) / DOCUMENT)
    said = podwire(built, "report", "--compare", str(tmp_path / "old.json"), new, status=1)
    assert "broke     pods reach each other without NAT: pod-a -> pod-b: no answer" in said
    built.run("site.yml")
    assert "nothing broke" in podwire(built, "report", "--compare", str(tmp_path / "old.json"), new)


def test_the_last_report_is_made_again_elsewhere(built: Playbooks, tmp_path: Path) -> None:
    podwire(built, "report", "-i", str(built.inventory), "-o", str(tmp_path / "public"))
    assert (tmp_path / "public" / "index.html").read_bytes() == (report_of(built) / "index.html").read_bytes()
