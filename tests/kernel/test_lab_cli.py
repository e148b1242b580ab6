"""``podwire exec`` and ``podwire inspect`` on a running lab, as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from podwire.intent.cluster import Cluster, Pod
from podwire.intent.ids import cluster_id
from podwire.kernel import enter
from podwire.lab import netns
from podwire.sandbox import sandboxes
from tests.kernel.labs import make_cluster, make_node, pid_of

ROOT = Path(__file__).resolve().parents[2]
MAIN = "import sys; from podwire.cli import main; sys.exit(main())"


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("inventory") / "cli-test.yml"
    path.write_text("all: {hosts: {cli-node-1: {}, cli-node-2: {}}}\n")
    return str(path)


@pytest.fixture(scope="module")
def lab(inventory: str) -> Iterator[Cluster]:
    cluster = replace(
        make_cluster(make_node("cli-node-1", 11), make_node("cli-node-2", 12)),
        id=cluster_id(inventory),
        pods=(Pod("cli-pod", "cli-node-1"), Pod("cli-agent", "cli-node-2", host_network=True, port=9000)),
    )
    netns.present(cluster)
    for pod in cluster.pods:
        enter.call(pid_of(cluster, pod.node), sandboxes.start, [pod])
    yield cluster
    netns.absent(cluster.id)


def podwire(*arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", MAIN, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=30, env=environment)


@pytest.mark.parametrize(
    ("name", "hostname", "devices"),
    [("cli-node-1", "cli-node-1", "eth0 lo"), ("cli-pod", "cli-pod", "lo"), ("cli-agent", "cli-node-2", "eth0 lo")],
)
def test_exec_runs_in_nodes_and_pods(lab: Cluster, name: str, hostname: str, devices: str) -> None:
    done = podwire("exec", name, "--", "sh", "-c", "hostname; echo $(ls /sys/class/net)")
    assert done.stdout == f"{hostname}\n{devices}\n", done.stderr


def test_exec_passes_streams_and_status(lab: Cluster) -> None:
    done = podwire("exec", "cli-node-1", "--", "sh", "-c", "cat; echo trouble >&2; exit 7", stdin="hello\n")
    assert (done.stdout, done.stderr, done.returncode) == ("hello\n", "trouble\n", 7)


def test_exec_leaves_the_commands_own_dashes_alone(lab: Cluster, inventory: str) -> None:
    done = podwire("exec", "-i", inventory, "cli-node-1", "--", "echo", "-i", "--", "--json")
    assert done.stdout == "-i -- --json\n"


def test_exec_enters_the_switch_where_explain_says_underlay(lab: Cluster, inventory: str) -> None:
    done = podwire("exec", "-i", inventory, "underlay", "--", "ip", "-o", "link", "show", "type", "bridge")
    assert "br-" in done.stdout and "cli-node-1.eth0" not in done.stdout, done


def test_exec_knows_podwire_itself(lab: Cluster) -> None:
    done = podwire("exec", "cli-node-1", "--", "podwire", "apply", "--help")
    assert "--check" in done.stdout, done


def test_exec_of_a_command_that_a_signal_ends(lab: Cluster) -> None:
    assert podwire("exec", "cli-node-1", "--", "sh", "-c", "kill -TERM $$").returncode == 128 + signal.SIGTERM


def test_exec_passes_a_termination_on(lab: Cluster) -> None:
    command = [sys.executable, "-c", MAIN, "exec", "cli-node-1", "--", "sh", "-c", "echo up; exec sleep 60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
        assert process.stdout and process.stdout.readline() == b"up\n"
        process.terminate()
        assert process.wait(10) == 128 + signal.SIGTERM


def test_exec_restores_sigpipe(lab: Cluster) -> None:
    done = podwire("exec", "cli-node-1", "--", "sh", "-c", "grep SigIgn /proc/$$/status")
    assert int(done.stdout.split()[1], 16) & 1 << signal.SIGPIPE - 1 == 0


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["cli-node-1", "--", "no-such-command"], 127, "failed to run no-such-command on cli-node-1: No such file"),
        (["cli-node-1", "--", "/etc/passwd"], 126, "failed to run /etc/passwd on cli-node-1: Permission denied"),
        (["cli-nobody", "--", "true"], 1, "failed to find cli-nobody: no running node or pod has that name"),
        (["../../x", "--", "true"], 1, "failed to find ../../x: no running node or pod has that name"),
    ],
)
def test_exec_says_in_one_line_what_is_wrong(lab: Cluster, arguments: list[str], status: int, message: str) -> None:
    done = podwire("exec", *arguments)
    assert done.returncode == status
    assert done.stderr.startswith(f"podwire: {message}")
    assert done.stderr.count("\n") == 1


def test_exec_asks_which_lab_where_several_have_the_name(lab: Cluster, inventory: str) -> None:
    other = replace(lab, id="cli-other-00000000")
    netns.present(other)
    try:
        done = podwire("exec", "cli-node-1", "--", "true")
        assert done.returncode == 1
        assert f"the labs {other.id} and {lab.id}" in done.stderr or f"{lab.id} and {other.id}" in done.stderr
        assert podwire("exec", "cli-node-1", "--", "true", ANSIBLE_INVENTORY=inventory).returncode == 0
    finally:
        netns.absent(other.id)


def test_inspect_shows_what_runs_with_this_machines_process_ids(lab: Cluster, inventory: str) -> None:
    done = podwire("inspect", "--json", "-i", inventory)
    found = json.loads(done.stdout)
    assert [node["pid"] for node in found["nodes"]] == [pid_of(lab, node.name) for node in lab.nodes]
    pod, agent = found["pods"]
    assert Path(f"/proc/{pod['pid']}/comm").read_text() == "cli-pod\n"
    assert agent["ips"] == ["172.30.0.12", "fd00:30::12"]
    assert agent["host_network"] is True
    assert os.readlink(f"/proc/{agent['pid']}/ns/net") == os.readlink(f"/proc/{found['nodes'][1]['pid']}/ns/net")


def test_inspect_reads_addresses_from_the_cache_of_results(lab: Cluster, inventory: str) -> None:
    def cache() -> None:
        container = sandboxes.running()["cli-pod"].container_id
        os.makedirs("/var/lib/cni/results", exist_ok=True)
        with open(f"/var/lib/cni/results/podwire-{container}-eth0", "w") as file:
            json.dump({"result": {"ips": [{"address": "10.244.0.2/24"}, {"address": "fd00::2/64"}]}}, file)

    enter.call(pid_of(lab, "cli-node-1"), cache)
    found = json.loads(podwire("inspect", "--json", "-i", inventory).stdout)
    assert found["pods"][0]["ips"] == ["10.244.0.2", "fd00::2"]
