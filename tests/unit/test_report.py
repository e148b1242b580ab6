"""The document of a run, and the files for programs that are made of it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from copy import deepcopy
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

from podwire.cli import main
from podwire.intent.projection import desired
from podwire.model.objects import Link, MacAddress
from podwire.observe.node_state import compare as differences
from podwire.report import document, junit, metrics, sarif
from podwire.report.compare import broke, compare, text
from podwire.report.discovered import network
from podwire.report.files import DOCUMENT, OUTPUTS, SCHEMA, write
from podwire.report.source_locations import hosts_in, pack, unpack
from tests import documents

from .snapshots import EMPTY

GOLDEN = Path(__file__).parent / "golden" / "report"
Document = Dict[str, Any]

CAUSE = {
    "id": "vxlan_fdb_missing",
    "title": "The FDB entry towards node-2 is missing",
    "object": "fdb 66:00:00:00:00:02 dst 172.30.0.12 dev flannel.1",
    "node": "node-1",
    "device": "flannel.1",
    "pairs": [["node-1-pod-1", "node-2-pod-1"]],
    "evidence": ["expected one entry, found none"],
    "fix": ["bridge fdb append 66:00:00:00:00:02 dev flannel.1 dst 172.30.0.12"],
}


@pytest.fixture(scope="module")
def healthy() -> Document:
    return documents.document(documents.cluster(3, 2))


@pytest.fixture(scope="module")
def broken() -> Document:
    """node-1 lacks its FDB entry for node-2, and node-3 told nothing."""
    ends = {("node-1", "node-2"), ("node-2", "node-1")}
    return documents.document(documents.cluster(3, 2), broken=ends, lost={"node-1": "node-2"}, missing=["node-3"])


@pytest.fixture(scope="module")
def large() -> Document:
    """300 pods on 6 nodes, of which node-3 is reached by nobody: more failures than a document lists."""
    return documents.document(documents.cluster(6, 50), broken={(f"node-{n}", "node-3") for n in range(1, 7)})


def guarantee(told: Document, key: str) -> Document:
    return next(each for each in told["guarantees"] if each["key"] == key)


def test_documents_are_valid_by_the_published_schema(healthy: Document, broken: Document, large: Document) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema: ./run test installs it")
    schema = json.loads(Path(SCHEMA).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    racks = documents.document(documents.racks(), causes=[CAUSE])
    for each in (healthy, broken, large, racks):
        validator.validate(json.loads(json.dumps(each)))
        wrong = deepcopy(each)
        del wrong["cluster"]["nodes"][0]["mtu"]
        assert not validator.is_valid(wrong), "the schema takes anything"


def test_the_document(broken: Document, golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / "results.json", json.dumps(broken, indent=1, ensure_ascii=False) + "\n")


def test_junit(broken: Document, golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / "junit.xml", junit.render(broken))


def test_sarif(broken: Document, golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / "results.sarif", sarif.render(broken))


def test_metrics(broken: Document, golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / "metrics.prom", metrics.render(broken))


def test_every_failing_node_pair_is_counted_and_no_node_hides_another(large: Document) -> None:
    pods = guarantee(large, "pods")
    assert pods["failed"] == 14_950 and len(pods["failures"]) == document.LISTED
    assert sum(each[3] for each in pods["classes"]) == pods["failed"]
    listed = {(each["source"].split("-pod")[0], each["target"].split("-pod")[0]) for each in pods["failures"]}
    assert listed == {(each[0], each[1]) for each in pods["classes"] if each[3]}


def test_what_did_not_run_is_never_passed(broken: Document) -> None:
    assert not broken["ok"] and broken["run"]["missing"] == ["node-3"]
    assert {each["key"]: each["state"] for each in broken["guarantees"]} == {
        "unique": "not run",
        "pods": "failed",
        "agents": "not run",
        "mtu": "failed",
    }
    tests = list(ElementTree.fromstring(junit.render(broken)).iter("testcase"))
    skipped = [test.get("name") for test in tests if test.find("skipped") is not None]
    assert "node-3 to node-1" in skipped


def test_junit_calls_nothing_that_was_checked_no_success(healthy: Document) -> None:
    nothing = {**healthy["guarantees"][0], "passed": 0, "classes": []}
    (test,) = ElementTree.fromstring(junit.render({**healthy, "guarantees": [nothing]})).iter("testcase")
    assert test.find("skipped") is not None


def test_junit_counts_its_own_tests(broken: Document, healthy: Document, large: Document) -> None:
    for told in (broken, healthy, large):
        for suite in ElementTree.fromstring(junit.render(told)):
            tests = list(suite)
            assert suite.get("tests") == str(len(tests)) and tests
            for word, tag in (("failures", "failure"), ("skipped", "skipped")):
                assert suite.get(word) == str(sum(test.find(tag) is not None for test in tests))


def test_text_that_xml_cannot_hold_is_still_xml(broken: Document) -> None:
    told = deepcopy(broken)
    guarantee(told, "pods")["failures"][0]["reason"] = 'a "quote" ]]> <b> & \x00 \x1b[31m'
    assert '"quote" ]]> <b> &' in "".join(ElementTree.fromstring(junit.render(told)).itertext())


def test_sarif_is_sarif(broken: Document, healthy: Document, large: Document) -> None:
    oracle = pytest.importorskip("sarif_pydantic", reason="needs sarif-pydantic: ./run test installs it")
    for told in (broken, healthy, {**broken, "causes": [CAUSE]}, large):
        log = json.loads(sarif.render(told))
        oracle.Sarif.model_validate(log)
    log["runs"][0]["results"][0]["level"] = "dreadful"
    with pytest.raises(ValueError):
        oracle.Sarif.model_validate(log)


def test_sarif_points_at_the_inventory(broken: Document) -> None:
    results = json.loads(sarif.render(broken))["runs"][0]["results"]
    pods = next(each for each in results if each["ruleId"] == "podwire/pods" and each["level"] == "error")
    place = pods["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "inventories/made-up/hosts.yml" and place["region"]["startLine"] == 4
    assert "8 of 30 pairs failed, between node-1 and node-2" in pods["message"]["text"]
    assert len({each["partialFingerprints"]["podwireObject/v1"] for each in results}) == len(results)


def test_sarif_points_at_the_one_pod_that_all_failures_share() -> None:
    told = documents.document(documents.cluster(3, 2), broken={("node-2", "node-1-pod-1"), ("node-3", "node-1-pod-1")})
    (result,) = [each for each in json.loads(sarif.render(told))["runs"][0]["results"] if each["ruleIndex"] == 1]
    assert "pod node-1-pod-1 on node-1" in result["message"]["text"]
    assert "group_vars" in result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]


def test_sarif_blames_neither_of_two_pods_that_fail_both_ways() -> None:
    ends = {("node-1-pod-1", "node-2-pod-1"), ("node-2-pod-1", "node-1-pod-1")}
    told = documents.document(documents.cluster(3, 2), broken=ends)
    (result,) = [each for each in json.loads(sarif.render(told))["runs"][0]["results"] if each["ruleIndex"] == 1]
    assert "2 of 30 pairs failed, between node-1 and node-2" in result["message"]["text"]


def test_sarif_points_at_the_pod_that_was_not_there(healthy: Document) -> None:
    told = deepcopy(healthy)
    told["cluster"]["pods"][0].update(mtu=None, origin="hosts.yml:77")
    told["guarantees"][0].update(not_run=1, state="not run")
    (result,) = json.loads(sarif.render(told))["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["region"]["startLine"] == 77


def test_sarif_points_at_the_inventorys_own_checks(healthy: Document) -> None:
    told = deepcopy(healthy)
    told["cluster"]["origins"]["checks"] = "group_vars/all.yml:50"
    failure = {"source": "node-1-pod-1", "target": "node-2", "address": "", "cause": "refused", "reason": "is refused"}
    row = {"key": "checks", "failed": 1, "state": "failed", "failures": [failure], "classes": []}
    told["guarantees"] = [{**told["guarantees"][0], **row}]
    (result,) = json.loads(sarif.render(told))["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["region"]["startLine"] == 50


def test_sarif_stays_small_where_everything_fails() -> None:
    names = [f"node-{n}" for n in range(1, 13)]
    told = documents.document(documents.cluster(12, 1), broken={(a, b) for a in names for b in names})
    results = json.loads(sarif.render(told))["runs"][0]["results"]
    assert 12 <= len([each for each in results if each["ruleId"] == "podwire/pods"]) <= sarif.MOST_PAIRS


def test_causes_are_where_a_ci_looks(broken: Document) -> None:
    quiet = {
        **CAUSE,
        "id": "ipam_leak",
        "title": "An address is held",
        "object": "file /x",
        "pairs": [],
        "fix": ["rm /x"],
    }
    told = {
        **broken,
        "causes": [CAUSE, quiet, {**quiet, "object": "file /y"}],
        "unexplained": [["node-1", "node-1-pod-1"]],
    }
    (suite,) = [each for each in ElementTree.fromstring(junit.render(told)) if each.get("name") == "root causes"]
    assert [test.get("name", "").partition(":")[0] for test in suite] == [
        "vxlan_fdb_missing",
        "ipam_leak",
        "ipam_leak",
        "unexplained",
    ]
    assert suite.get("tests") == suite.get("failures") == "4"
    said = "".join(suite[0].itertext())
    assert "expected one entry, found none" in said and "fix: bridge fdb append" in said
    assert "node-1 -> node-1-pod-1" in "".join(suite[3].itertext())
    run = json.loads(sarif.render(told))["runs"][0]
    results = [each for each in run["results"] if each["ruleId"].startswith("podwire/cause/")]
    assert [each["level"] for each in results] == ["error", "warning", "warning"]
    assert [run["tool"]["driver"]["rules"][each["ruleIndex"]]["id"] for each in results] == [
        each["ruleId"] for each in results
    ]
    assert "fix: rm /x" in results[1]["message"]["text"]
    assert results[0]["locations"][0]["physicalLocation"]["region"]["startLine"] == 4
    assert len({each["partialFingerprints"]["podwireObject/v1"] for each in run["results"]}) == len(run["results"])
    lines = metrics.render(told).splitlines()
    for line in (
        'cause_failing_pairs{cluster="%s",cause="vxlan_fdb_missing",node="node-1"} 1',
        'unexplained_pairs{cluster="%s"} 1',
    ):
        assert f"podwire_{line % told['cluster']['id']}" in lines
    assert len([line for line in lines if 'cause="ipam_leak"' in line]) == 1


def test_without_causes_nothing_speaks_of_them(broken: Document) -> None:
    """As in a document that was written before there were any."""
    told = {key: value for key, value in broken.items() if key not in ("unexplained", "ruled_out")}
    assert "root causes" not in junit.render(told) and "podwire/cause/" not in sarif.render(told)
    assert "podwire_unexplained_pairs" in metrics.render(told)


def test_metrics_are_openmetrics_and_prometheus_text(broken: Document) -> None:
    openmetrics = pytest.importorskip("prometheus_client.openmetrics.parser", reason="needs prometheus-client")
    from prometheus_client.parser import text_string_to_metric_families as prometheus

    told = deepcopy(broken)
    told["cluster"]["id"] = 'a "quoted" \\ name'
    for parse in (openmetrics.text_string_to_metric_families, prometheus):
        samples = {
            (sample.name, sample.labels.get("guarantee"), sample.labels.get("result")): sample
            for family in parse(metrics.render(told))
            for sample in family.samples
        }
        assert samples["podwire_guarantee_checks", "pods", "failed"].value == 8
        assert samples["podwire_guarantee_checks", "pods", "not_run"].value == 10
        assert samples["podwire_ok", None, None].labels["cluster"] == 'a "quoted" \\ name'


def test_what_broke_and_what_was_mended(healthy: Document, broken: Document) -> None:
    changes = compare(healthy, broken)
    assert broke(changes)
    said = text(healthy, broken, changes)
    assert "broke     pods reach each other without NAT: node-1-pod-1 -> node-2-pod-1: no answer" in said
    assert "10 of 30 pairs not run, before 0" in said
    back = compare(broken, healthy)
    assert not broke(back) and sum(change.kind == "repaired" for change in back) >= 16
    assert compare(healthy, healthy) == []


def test_what_no_longer_ran_was_not_mended(healthy: Document) -> None:
    """Pairs from node-1 failed; now node-1 tells nothing."""
    intent = documents.cluster(3, 2)
    before = documents.document(intent, broken={("node-1", "node-2")})
    changes = compare(before, documents.document(intent, missing=["node-1"]))
    assert not [change for change in changes if change.kind == "repaired"]
    assert compare(before, documents.document(documents.cluster(1, 2)))[-1].kind == "removed"
    assert not [
        each for each in compare(before, documents.document(documents.cluster(1, 2))) if each.kind == "repaired"
    ]


def test_what_a_limit_left_out_was_not_mended(healthy: Document, broken: Document) -> None:
    before, limited = deepcopy(broken), deepcopy(healthy)
    limited["run"]["limit"] = ["node-3"]
    for each in limited["guarantees"]:
        each["classes"] = [row for row in each["classes"] if row[0] == "node-3"]
    leaked = {"source": "node-1", "target": "10.0.0.9", "address": "", "cause": "leaked", "reason": "is reserved"}
    for told, failures in ((before, [leaked]), (limited, [])):
        row = {"key": "leases", "title": "leases", "failures": failures, "failed": len(failures), "classes": []}
        told["guarantees"] = [*told["guarantees"], {**healthy["guarantees"][0], **row}]
    changes = compare(before, limited)
    assert not [each for each in changes if each.kind == "repaired"]
    assert "limited to node-3" in text(before, limited, changes)


def test_a_second_check_between_the_same_ends_that_fails_broke(healthy: Document) -> None:
    def told(*ports: int) -> Document:
        ends = {"source": "a", "target": "b", "address": "10.0.0.2", "cause": "refused"}
        failures = [{**ends, "reason": f"a to b:{port} by tcp: is not"} for port in ports]
        row = {"key": "checks", "title": "own", "failures": failures, "failed": len(failures), "classes": []}
        return {**healthy, "guarantees": [{**healthy["guarantees"][0], **row}]}

    assert broke(compare(told(80), told(80, 81))) and broke(compare(told(80), told(81)))
    assert compare(told(80), told(80)) == []


def test_counts_are_compared_where_not_every_failure_is_listed(healthy: Document, large: Document) -> None:
    better = documents.document(documents.cluster(6, 50), broken={("node-1", "node-3")})
    changes = compare(large, better)
    assert not broke(changes)
    assert "node-2 to node-3: 0 pairs failed, before 2500" in text(large, better, changes)
    assert broke(compare(better, large))


def test_a_guarantee_that_is_checked_no_longer_broke(healthy: Document) -> None:
    fewer = {**healthy, "guarantees": healthy["guarantees"][:-1]}
    assert broke(compare(healthy, fewer)) and not broke(compare(fewer, healthy))


def test_the_command_makes_all_again_and_compares(
    healthy: Document, broken: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, told in (("old", healthy), ("new", broken)):
        write(told, str(tmp_path / name))
    old, new = (str(tmp_path / name / DOCUMENT) for name in ("old", "new"))
    assert main(["report", new, "-o", str(tmp_path / "again")]) == 0
    for name in (DOCUMENT, *OUTPUTS, "results.schema.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "new" / name).read_bytes(), name
    assert main(["report", "--compare", old, new]) == 1
    assert main(["report", "--compare", new, old]) == 0
    assert main(["report", "--compare", old, old]) == 0
    assert "nothing broke" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        ("{", "it is not JSON"),
        ("[]", "it is not a podwire results document"),
        ('{"format": "podwire results", "version": 99}', "it has version 99, and this podwire reads 1"),
    ],
)
def test_what_is_no_document_is_said(content: str, says: str, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "results.json"
    if content is not None:
        path.write_text(content)
    assert main(["report", str(path)]) == 1
    said = capsys.readouterr().err
    assert f"failed to read {path}" in said and says in said


def test_objects_that_differ_from_intent_are_found() -> None:
    intent = documents.cluster(2, 1)
    wanted = desired(intent, "node-1")
    assert all(row[4] and row[5] for row in differences(wanted, wanted))
    (entry,) = wanted.fdb
    wrong = entry._replace(destination=intent.node("node-1").public_ips[0])
    other = entry._replace(mac=MacAddress(bytes(6)))
    (link,) = [each for each in wanted.links if each.kind == "vxlan"]
    have = wanted._replace(
        fdb=frozenset({wrong, other}),
        links=frozenset({link._replace(mtu=1400, up=False), Link("left", "vxlan")}),
        routes=frozenset(),
    )
    told = {(kind, device, seen): text for kind, device, _, text, _, seen in differences(wanted, have)}
    assert told["link", "flannel.1", False] == f"{link} (expected mtu 1450, found mtu 1400; expected up, found down)"
    assert ("link", "left", True) in told and ("route", "flannel.1", False) in told
    assert told["fdb", "flannel.1", False] == f"{entry} (found: {wrong})"
    assert told["fdb", "flannel.1", True] == str(other)


SNAPSHOT = {
    "namespace": {
        **EMPTY,
        "links": [
            {"name": "eth0", "kind": "", "mtu": 1500, "mac": "02:00:00:00:00:01", "up": True},
            {
                "name": "vxlan7", "kind": "vxlan", "mtu": 1450, "mac": "02:00:00:00:00:02", "up": True,
                "vxlan": {"vni": 7, "port": 4789, "local": "172.30.0.11"},
            },
        ],
        "routes": [
            {"destination": "0.0.0.0/0", "gateway": "172.30.0.1", "device": "eth0", "kind": "unicast", "table": 254},
            {"destination": "10.244.1.0/24", "next_hop": 9, "kind": "unicast", "table": 254},
            {"destination": "10.244.0.255/32", "device": "eth0", "kind": "broadcast", "table": 255},
        ],
        "next_hops": [{"id": 9, "gateway": "10.244.1.0", "device": "vxlan7"}],
        "neighbours": [
            {"device": "vxlan7", "address": "10.244.1.0", "state": "permanent", "mac": "02:00:00:00:00:03"},
            {"device": "eth0", "address": "172.30.0.1", "state": "reachable", "mac": "02:00:00:00:00:04"},
        ],
        "fdb": [
            {"device": "vxlan7", "mac": "02:00:00:00:00:03", "destination": "172.30.0.12"},
            {"device": "veth1", "mac": "02:00:00:00:00:05", "master": "cni0"},
        ],
    },
    "sandboxes": {"web": {"container": "4f", "namespace": {}}},
    "reservations": {"net": {"10.244.0.2": ["4f", "eth0"], "10.244.0.3": ["gone", "eth0"]}},
}  # fmt: skip


def test_nodes_that_somebody_else_set_up_are_shown_as_found(healthy: Document) -> None:
    told = network(SNAPSHOT)
    assert [(kind, device, towards) for kind, device, towards, *_ in told["objects"]] == [
        ("link", "vxlan7", ""),
        ("route", "eth0", "0.0.0.0/0"),
        ("route", "vxlan7", "10.244.1.0/24"),
        ("neighbour", "vxlan7", "10.244.1.0"),
        ("fdb", "vxlan7", "172.30.0.12"),
    ]
    assert told["reservations"] == [("10.244.0.2", "4f", "eth0", "web"), ("10.244.0.3", "gone", "eth0", "")]
    assert all(desired is None and seen for *_, desired, seen in told["objects"])
    document = deepcopy(healthy)
    rows = [
        ["node-1", kind, device, "", text, desired, seen] for kind, device, _, text, desired, seen in told["objects"]
    ]
    document["routes"]["rows"] = rows
    assert 'podwire_differing_objects{cluster="list-939b354f",node="node-1"} 0' in metrics.render(document)


def test_guarantees_of_any_shape_have_their_place_in_every_file(broken: Document, tmp_path: Path) -> None:
    """Failures towards nodes, addresses and nothing at all, with no counts by pair of nodes."""
    told = deepcopy(broken)
    failures = [
        {"source": "node-1", "target": "node-2", "address": "", "cause": "no FDB entry", "reason": "no FDB entry"},
        {"source": "node-1", "target": "10.244.0.9", "address": "", "cause": "leaked", "reason": "is reserved"},
        {"source": "node-2", "target": "", "address": "", "cause": "fragments", "reason": "made 3 fragments"},
        {"source": "", "target": "10.0.0.0/8", "address": "", "cause": "overlap", "reason": "overlaps"},
    ]
    own = {"key": "own-checks", "title": "own", "failures": failures, "failed": 4, "state": "failed", "classes": []}
    told["guarantees"].append({**told["guarantees"][0], **own})
    write(told, str(tmp_path))
    (test,) = [t for t in ElementTree.parse(tmp_path / "junit.xml").iter("testcase") if "own" in t.get("classname", "")]
    assert "node-2: made 3 fragments" in "".join(test.itertext())
    results = json.loads((tmp_path / "results.sarif").read_text())["runs"][0]["results"]
    said = [
        each["message"]["text"]
        for each in results
        if each["ruleId"] == "podwire/own-checks" and each["level"] == "error"
    ]
    assert len(said) == 4 and all(each["locations"] for each in results)
    assert any("in the cluster" in each for each in said) and any("between node-1 and node-2" in each for each in said)
    page = (tmp_path / "index.html").read_text()
    assert 'data-source="node-1" data-target="node-2"' in page and 'data-target="10.244.0.9"' not in page
    assert compare(told, told) == []
    mended = {
        **told,
        "guarantees": [*told["guarantees"][:-1], {**told["guarantees"][-1], "failures": [], "failed": 0, "not_run": 0}],
    }
    assert sum(change.kind == "repaired" for change in compare(told, mended)) == 5


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("hosts.yml", "all:\n  hosts:\n    node-[01:03]:\n    'web.example':\n      node_mtu: 1400\n"),
        ("hosts.ini", "# a comment\n[nodes]\nnode-[01:03] node_mtu=1400\nweb.example ansible_host=192.0.2.1\n"),
    ],
)
def test_hosts_are_found_in_the_inventory(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text("node-01: 1\n")
    found = hosts_in(str(tmp_path), ["node-01", "node-03", "web.example", "node-04"])
    lines = {host: place.rpartition("/")[2] for host, place in found.items()}
    assert lines == {"node-01": f"{name}:3", "node-03": f"{name}:3", "web.example": f"{name}:4"}


def test_origins_of_pods_fall_back_to_what_declares_them() -> None:
    places = {
        ("node-1", "pods"): "all.yml:3",
        ("node-1", "pods.pod-a"): "all.yml:4",
        ("node-2", "backend"): "all.yml:1",
    }
    origins = unpack(json.loads(json.dumps(pack(places))), "a,b,", [])
    assert (origins.pod("pod-a", "node-1"), origins.pod("pod-b", "node-1")) == ("all.yml:4", "all.yml:3")
    assert origins.variables["backend"] == "all.yml:1" and origins.node("node-1") == ""
