"""Modules refuse arguments that are wrong, on every kind of node and in the same words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from .playbooks import COMMAND, ROOT, environment

RUN = {"intent": "/a", "results": "/b"}
#: Task, and what its failure says.
WRONG = [
    (
        {"podwire_attach": {**RUN, "state": "absent", "nonsense": 7}},
        "Unsupported parameters for (podwire_attach) module: ",
    ),
    ({"podwire_attach": {"results": "/nowhere"}}, "missing required arguments: intent"),
    ({"podwire_attach": {**RUN, "plugin_dirs": {}}}, "plugin_dirs"),
    ({"podwire_cni": {"force": "perhaps"}}, "not a valid boolean"),
    ({"podwire_declare": {"leaving": {"a": 1}}}, "leaving"),
    ({"podwire_declare": {"leave": ["a"]}}, "Unsupported parameters for (podwire_declare) module: leave."),
    ({"podwire_discover": {**RUN, "state": "gone"}}, "value of state must be one of: present, "),
    ({"podwire_evidence": {**RUN, "pairs": "some"}}, "value of pairs must be one of: auto, "),
    ({"podwire_explain": RUN}, "missing required arguments: began"),
    ({"podwire_explain": {**RUN, "began": "today"}}, "cannot be converted to a float"),
    ({"podwire_fault": {**RUN, "state": "broken"}}, "value of state must be one of: present, "),
    ({"podwire_fault": {"intent": "/a", "fault": "list"}}, "missing required arguments: results"),
    ({"podwire_findings": RUN}, "missing required arguments: run"),
    ({"podwire_lab": {"state": "absnt"}}, "value of state must be one of: present, absent, got: absnt"),
    ({"podwire_lab": {}}, "state is present but all of the following are missing: intent"),
    ({"podwire_library": {"nonsense": 7}}, "Unsupported parameters for (podwire_library) module: nonsense."),
    ({"podwire_node": {}}, "missing required arguments: intent"),
    ({"podwire_node_info": {"nonsense": 7}}, "Unsupported parameters for (podwire_node_info) module: nonsense."),
    ({"podwire_pod_info": {}}, "missing required arguments: intent, results"),
    ({"podwire_preflight": {**RUN, "run": 1, "step": "go"}}, "value of step must be one of: "),
    ({"podwire_probe": {**RUN, "throughput": "much"}}, "not a valid boolean"),
    ({"podwire_reset": {"nonsense": 7}}, "Unsupported parameters for (podwire_reset) module: nonsense."),
    ({"podwire_trace": RUN}, "missing required arguments: asked"),
    ({"podwire_verdict": RUN}, "missing required arguments: began"),
    # Right by type, and still nothing that is there.
    (
        {"podwire_probe": {**RUN, "intent": "/nowhere/a.json"}},
        "failed to read the intent /nowhere/a.json: No such file",
    ),
    ({"podwire_verdict": {"intent": "/nowhere/a.json", "results": "/b", "began": 1}}, "failed to read the intent /now"),
    (
        {"podwire_node": {"intent": "/a", "node": "node-9"}},
        "failed to run podwire_node on node-9: it is not in the inventory",
    ),
]


def play(folder: Path, tasks: List[Dict[str, Any]], hosts: Dict[str, Any], *arguments: str) -> List[Dict[str, Any]]:
    """Run tasks, whatever they end with. What each of them gave, by host."""
    folder.joinpath("ansible").mkdir()
    folder.joinpath("hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
    listed = [
        {**task, "register": f"result_{number}", "ignore_errors": True, "name": f"Task {number}"}
        for number, task in enumerate(tasks)
    ]
    names = [f"result_{number}" for number in range(len(tasks))]
    content = f"{{{{ {names} | map('extract', vars) | to_json }}}}"
    keep = {
        "name": "Keep",
        "ansible.builtin.copy": {"dest": f"{folder}/{{{{ inventory_hostname }}}}.json", "content": content},
        "delegate_to": "localhost",
        "check_mode": False,
        "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
    }
    book = folder / "play.yml"
    book.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [*listed, keep]}]))
    done = subprocess.run(
        [*COMMAND, "-i", str(folder / "hosts.yml"), str(book), *arguments],
        cwd=ROOT,
        env=environment(folder / "ansible"),
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads((folder / f"{host}.json").read_text()) for host in hosts]


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> List[List[Dict[str, Any]]]:
    """What the tasks of ``WRONG`` give on a node of each kind that needs no Docker."""
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {"node-1": {}, "node-2": {"node_kind": "ssh", "node_address": "192.0.2.2/24", **local}}
    return play(tmp_path_factory.mktemp("wrong"), [task for task, _ in WRONG], hosts)


@pytest.mark.parametrize("number", range(len(WRONG)), ids=lambda number: f"{number}-{next(iter(WRONG[number][0]))}")
def test_a_wrong_argument_is_refused(refusals: List[List[Dict[str, Any]]], number: int) -> None:
    task, text = WRONG[number]
    for result in (host[number] for host in refusals):
        assert result.get("failed") and text in result["msg"], (task, result)
        assert "exception" not in result or "Traceback" not in str(result["exception"]), result


def test_every_module_has_a_wrong_argument() -> None:
    from podwire.stages.arguments import ARGUMENTS

    assert {next(iter(task)) for task, _ in WRONG} == set(ARGUMENTS)
    assert set(ARGUMENTS) == {path.stem for path in (ROOT / "modules").glob("*.py")}


def test_a_boolean_is_a_boolean_in_ansibles_ways_to_write_it(tmp_path: Path) -> None:
    """``together`` makes the first node answer for all; "no" is a text that Python takes for true."""
    tasks = [
        {"podwire_declare": {}, "run_once": True},
        {"podwire_node": {"intent": "{{ result_0.intent }}", "together": "no"}},
        {"podwire_node": {"intent": "{{ result_0.intent }}", "together": "yes"}},
    ]
    results = play(tmp_path, tasks, {"node-1": {}, "node-2": {}}, "--check")
    assert [[result["changed"] for result in host[1:]] for host in results] == [[True, True], [True, False]]


@pytest.mark.parametrize("check, ends", [((), True), (("--check",), False)])
def test_a_docker_node_that_does_not_run_needs_no_intent_to_say_so(
    tmp_path: Path, check: Tuple[str, ...], ends: bool
) -> None:
    tasks = [{"podwire_cni": {}}, {"podwire_library": {}}]
    for result in play(tmp_path, tasks, {"node-1": {"node_kind": "docker"}}, *check)[0]:
        assert result["failed"] is ends and result["changed"] is not ends
        assert not ends or "failed to enter node node-1: it is not running; build the lab first" in result["msg"]
