"""The connection plugin: Ansible's own modules inside a lab's nodes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from podwire.intent.cluster import Cluster
from podwire.intent.ids import cluster_id
from podwire.lab import netns
from tests.kernel.labs import make_cluster, make_node, run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inventory") / "connection-test.yml"
    variables = f"{{ansible_connection: netns, ansible_python_interpreter: {sys.executable}}}"
    path.write_text(f"all: {{vars: {variables}, hosts: {{node-1: {{}}, node-2: {{}}}}}}\n")
    return path


@pytest.fixture(scope="module")
def lab(inventory: Path) -> Iterator[Cluster]:
    cluster = replace(make_cluster(make_node("node-1", 11), make_node("node-2", 12)), id=cluster_id(str(inventory)))
    netns.present(cluster)
    yield cluster
    netns.absent(cluster.id)


def ansible(inventory: Path, module: str, arguments: str) -> dict[str, tuple[str, str]]:
    """What ``ansible`` prints for each host: (status, text)."""
    command = [sys.executable, "-m", "ansible", "adhoc", "-i", str(inventory), "all", "-m", module, "-a", arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    parts = re.split(r"^(node-\d) \| (\w+!?)", done.stdout, flags=re.MULTILINE)[1:]
    assert parts, done.stderr
    return {name: (status, text) for name, status, text in zip(parts[::3], parts[1::3], parts[2::3])}


def test_modules_run_in_all_the_nodes_namespaces(lab: Cluster, inventory: Path) -> None:
    results = ansible(inventory, "ansible.builtin.shell", "hostname; readlink /proc/self/ns/pid; ls /sys/class/net")
    lines = {name: text.splitlines()[1:] for name, (_, text) in results.items()}
    assert {name: each[0] for name, each in lines.items()} == {"node-1": "node-1", "node-2": "node-2"}
    assert len({each[1] for each in lines.values()} | {os.readlink("/proc/self/ns/pid")}) == 3
    assert lines["node-1"][2:] == ["eth0", "lo"]


def test_files_are_copied_into_the_node_and_back(lab: Cluster, inventory: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 1000)
    assert ansible(inventory, "ansible.builtin.copy", f"src={source} dest=/run/copied")["node-2"][0] == "CHANGED"
    assert not os.path.exists("/run/copied")
    assert run(lab, "node-1", "wc -c /run/copied").split()[0] == "256000"
    ansible(inventory, "ansible.builtin.fetch", f"src=/run/copied dest={tmp_path}/fetched")
    assert (tmp_path / "fetched/node-1/run/copied").read_bytes() == source.read_bytes()


def test_a_lab_that_is_not_up_is_an_error_that_says_what_to_do(inventory: Path) -> None:
    other = inventory.with_name("not-running.yml")
    other.write_text(inventory.read_text())
    status, text = ansible(other, "ansible.builtin.command", "true")["node-1"]
    assert status == "UNREACHABLE!"
    expected = f"failed to connect to node-1: the lab {cluster_id(str(other))} is not running; run ./run site"
    assert expected in " ".join(text.split())
