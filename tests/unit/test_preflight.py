"""Findings of all nodes side by side. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, List, Tuple

import pytest

from podwire.backend import BackendSettings
from podwire.intent.cluster import Cluster
from podwire.preflight.finding import NOT_RUN, OK, PROBLEM, WARNING, Finding
from podwire.preflight.judge import Report, judge, render
from tests.bench.fleet import cluster

HOSTS = ["node0", "node1", "node2"]
FINE = Finding(OK, "kernel", "Linux 6.1")


def told(**changes: Any) -> Dict[str, Any]:
    return {"findings": [FINE], "machine_id": "", "clock": 10.0, "asked": (9.9, 10.1), **changes}


def well() -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """(told, heard) of three nodes with nothing in the way."""
    heard = {host: {"4": {other: 1500 for other in HOSTS if other != host}} for host in HOSTS}
    return {host: told(machine_id=f"id of {host}") for host in HOSTS}, heard


def rows(report: Report, level: str) -> List[Tuple[Tuple[str, ...], str, str]]:
    return [(nodes, each.check, each.text) for nodes, each in report.rows if each.level == level]


def judged(given: Dict[str, Any], heard: Dict[str, Any], intent: Cluster = cluster(3)) -> Report:  # noqa: B008
    return judge(intent, HOSTS, given, heard)


def test_equal_findings_are_one_and_nothing_is_in_the_way() -> None:
    report = judged(*well())
    assert [each for each in report.rows if each[1].level != OK] == []
    assert rows(report, OK)[0][:1] == (tuple(HOSTS),)
    assert "0 problems, 0 warnings, 0 not run" in render(report)
    assert "6 paths" in render(report)


def test_a_closed_port_names_receiver_and_senders() -> None:
    given, heard = well()
    heard["node1"]["4"] = {}
    ((nodes, check, text),) = rows(judged(given, heard), PROBLEM)
    assert (nodes, check) == (("node1",), "UDP port")
    assert "8472 from node0, node2" in text
    host_gw = replace(cluster(3), backend=BackendSettings(type="host-gw"))
    assert rows(judged(given, heard, host_gw), PROBLEM) == [], "no port is needed for plain routes"


def test_a_small_path_tells_its_mtu() -> None:
    given, heard = well()
    heard["node0"]["4"]["node2"] = 1400
    ((nodes, check, text),) = rows(judged(given, heard), PROBLEM)
    assert (nodes, check) == (("node0",), "path MTU")
    assert "from node2 (IPv4) packets of 1400 bytes pass, and 1500 do not" in text


def test_clones_are_named_to_each_other() -> None:
    given, heard = well()
    given["node2"]["machine_id"] = given["node0"]["machine_id"]
    ((nodes, check, text),) = rows(judged(given, heard), PROBLEM)
    assert nodes == ("node0", "node2")
    assert check == "machine-id"
    intent = cluster(3)
    containers = replace(intent, nodes=tuple(replace(each, kind="docker") for each in intent.nodes))
    assert rows(judged(given, heard, containers), PROBLEM) == [], "of one image, and that is all right"


@pytest.mark.parametrize(("clock", "word"), [(5.0, "5 s behind"), (20.1, "10 s ahead of")])
def test_a_clock_that_is_wrong(clock: float, word: str) -> None:
    given, heard = well()
    given["node1"]["clock"] = clock
    ((nodes, _, text),) = rows(judged(given, heard), WARNING)
    assert nodes == ("node1",)
    assert word in text


def test_a_node_without_an_answer_is_a_problem_and_its_pairs_were_not_run() -> None:
    given, heard = well()
    del given["node2"], heard["node2"]
    report = judged(given, heard)
    assert [nodes for nodes, *_ in rows(report, PROBLEM)] == [("node2",)]
    assert [nodes for nodes, *_ in rows(report, NOT_RUN)] == [("node2",)]
    assert "2 paths" in render(report)
