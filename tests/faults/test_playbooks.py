"""break.yml and mend.yml as a person runs them, on a copy of an inventory that declares a drill."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any, Dict, Iterator, Tuple

import jsonschema
import pytest
import yaml

from podwire.intent.inventory import read, record_of
from podwire.json_files import write_json
from podwire.lab.registry import state_dir
from podwire.report import files
from podwire.sandbox.process import Process, kill
from podwire.stages.controller.results import store

from ..e2e.playbooks import Playbooks
from .labs import Lab

VARIABLES: Dict[str, Any] = {
    "ansible_connection": "netns",
    "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    "faults": [
        {"fault": "route_missing", "node": "node-1", "peer": "node-2"},
        {"fault": "agent_blocked", "node": "node-2"},
        {"fault": "route_missing", "node": "node-2"},  # the other one hides how it shows
    ],
}


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tuple[Playbooks, Lab]]:
    """Playbooks on a running lab of two nodes."""
    folder = tmp_path_factory.mktemp("drill")
    inventory = folder / "inventory" / "hosts.yml"
    inventory.parent.mkdir()
    inventory.write_text(yaml.safe_dump({"all": {"hosts": {"node-1": {}, "node-2": {}}, "vars": VARIABLES}}))
    (folder / "ansible").mkdir()
    own = {key: value for key, value in VARIABLES.items() if key == "faults"}
    lab = Lab(read({"node-1": own, "node-2": own}, source=str(inventory)))
    write_json(f"{state_dir(lab.cluster.id)}/record.json", record_of(lab.cluster).to_json())
    results = f"{state_dir(lab.cluster.id)}/results"
    for node in lab.cluster.nodes:
        told = {pod.name: lab.addresses[pod.name] for pod in lab.cluster.pods_of(node.name)}
        store({"pods": told}, results, node.name)
    yield Playbooks(inventory, folder / "ansible"), lab
    lab.close()


def test_all_faults_are_listed_with_why_not(drill: Tuple[Playbooks, Lab]) -> None:
    output = drill[0].run("playbooks/break.yml", "-e", "fault=list").output
    assert "vxlan_fdb_missing          peer pod   the VXLAN device does not know" in output
    assert "conntrack_full             host_wide  the machine's connection table is full" in output
    assert "vxlan_fdb_wrong_vtep       there is no third node" in output.partition("NOT POSSIBLE ON node-1")[2]


@pytest.mark.parametrize(
    "arguments, cause",
    [
        (("fault=vni_mismach", "node=node-1"), "did you mean vni_mismatch"),
        (("fault=conntrack_full", "node=node-1"), "allow it with -e host_wide=true"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(
    drill: Tuple[Playbooks, Lab], arguments: Tuple[str, ...], cause: str
) -> None:
    options = [part for each in arguments for part in ("-e", each)]
    output = drill[0].run("playbooks/break.yml", *options, status=2).output
    assert cause in " ".join(output.replace("''", "'").split())


def test_the_declared_drill(drill: Tuple[Playbooks, Lab], tmp_path: Path) -> None:
    """Check mode touches nothing; each node gets its own faults; explain names them; mend undoes them, and then has
    nothing to do."""
    playbooks, lab = drill
    healthy = {name: lab.states(name) for name in ("node-1", "node-2")}
    dry = playbooks.run("playbooks/break.yml", "--check", "--diff")
    assert "- route 10.244.1.0/24 via 10.244.1.0 dev flannel.1" in dry.output and dry.changed == 2
    assert {name: lab.states(name) for name in healthy} == healthy
    wet = playbooks.run("playbooks/break.yml")
    assert wet.changed == 2 and ": unreachable" in wet.output and "undo     ./run mend -i " in wet.output
    assert "node-2: agent_blocked: the node cannot reach its own pods" in wet.output
    assert "node-2:   not seen to show: echo from " in wet.output and "node-1:   not seen" not in wet.output
    broken = {name: lab.states(name) for name in healthy}
    shutil.rmtree(f"{state_dir(lab.cluster.id)}/results/pods")  # nodes are asked for their pods' addresses
    explained = playbooks.run("playbooks/explain.yml")
    assert explained.changed == 0 and {name: lab.states(name) for name in healthy} == broken
    assert "route_missing: the node has no route to a peer's pod CIDR" in explained.output
    assert "fix         ip route replace 10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink" in explained.output
    document = json.loads(Path(state_dir(lab.cluster.id), "results", "causes.json").read_text())
    assert sorted((each["id"], each["node"]) for each in document["causes"]) == [
        ("agent_blocked", "node-2"),
        ("route_missing", "node-1"),
        ("route_missing", "node-2"),
    ]
    assert document["unexplained"] == []
    report = json.loads(Path(state_dir(lab.cluster.id), "results/report/results.json").read_text())
    jsonschema.validate(report, json.loads(Path(files.SCHEMA).read_text()))
    assert [each["id"] for each in report["causes"]] == [each["id"] for each in document["causes"]]
    src, dst = (next(pod.name for pod in lab.cluster.pods_of(node)) for node in healthy)
    one = playbooks.run("playbooks/explain.yml", "--check", "-e", f"src={src}", "-e", f"dst={dst}").output
    assert "1. route_missing" in one and "agent_blocked" not in one
    mended = playbooks.run("playbooks/mend.yml")
    assert mended.changed == 2 and len(re.findall(r"(?m)^node-\d:   .* from .* to .*: ok$", mended.output)) == 2
    assert {name: lab.states(name) for name in healthy} == healthy
    again = playbooks.run("playbooks/mend.yml")
    assert again.changed == 0 and "nothing to repair" in again.output


def test_a_node_that_is_down_is_a_cause_and_no_answer_is_lost(drill: Tuple[Playbooks, Lab]) -> None:
    """The last test: it ends the first node. What the others see fail towards it is that node's."""
    playbooks, lab = drill
    process = Process.of(lab.pid("node-1"))
    kill([process])
    ended = playbooks.run("playbooks/explain.yml", status=2)
    words = " ".join(ended.output.split())
    assert "build the lab first: sudo ./run site -i " in words
    assert "1. node_silent: the node is down, or podwire does not reach it" in ended.output
    assert "unexplained" not in ended.output and "did not report: node-1" in ended.output
    results = Path(state_dir(lab.cluster.id), "results", "evidence")
    shutil.rmtree(results)
    results.write_text("")
    unwritable = playbooks.run("playbooks/explain.yml", status=2).output
    assert f"failed to store evidence of node-2 in {results}/node-2.json: File exists" in unwritable
