"""Every shipped inventory, from nothing to nothing: check, build, build again, prove, remove."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Callable, Dict, Iterator, Set

import pytest

from podwire.intent.cluster_json import cluster_from_json
from podwire.lab import registry

from .playbooks import ROOT, Playbooks, environment, link, machine, processes

needs_go = pytest.mark.skipif(
    not os.path.exists("/usr/lib/cni/bridge"), reason="needs Go's plugins: apt-get install containernetworking-plugins"
)
INVENTORIES = [
    pytest.param(path.name, marks=needs_go if path.name == "go-plugins" else ())
    for path in sorted((ROOT / "inventories").iterdir())
    if path.is_dir() and path.name != "baremetal"  # which machines of its own serve: test_ssh.py
]
TASKS = 10  # at most, on any node


@pytest.fixture(scope="module", params=INVENTORIES)
def lab(request: pytest.FixtureRequest, copied: Callable[[str], Playbooks]) -> Playbooks:
    if request.param == "docker":
        request.getfixturevalue("docker_engine")
    return copied(request.param)


@pytest.fixture(scope="module")
def before(lab: Playbooks) -> Dict[str, object]:
    """The machine before anything was built."""
    return machine()


@pytest.fixture(scope="module")
def lived_in(lab: Playbooks) -> Iterator[Set[str]]:
    """The network namespaces of the lab, gathered while it ran."""
    return set()


def test_check_shows_all_and_makes_nothing(lab: Playbooks, before: Dict[str, object]) -> None:
    run = lab.run("site.yml", "--check", "--diff")
    assert run.changed
    for host in run.recap:
        assert f"+ node {host}" in run.output
        assert f"--- network of {host}" in run.output
    assert lab.left() == []
    assert machine() == before


def test_build(lab: Playbooks, lived_in: Set[str]) -> None:
    run = lab.run("site.yml")
    lived_in |= lab.namespaces()
    assert all(each.changed for each in run.recap.values())
    assert max(each.ok for each in run.recap.values()) <= TASKS
    assert run.output.count("\nok      ") == 10, run.output  # what the verdict lists


def test_people_get_into_a_pod(lab: Playbooks) -> None:
    cluster = cluster_from_json(registry.intent(lab.id))
    pod = next(pod for pod in cluster.pods if not pod.host_network)
    command = [sys.executable, "-c", "import sys; from podwire.cli import main; sys.exit(main())", "exec"]
    command += ["-i", str(lab.inventory), pod.name, "--", "cat", "/sys/class/net/eth0/mtu"]
    shown = subprocess.run(command, env=environment(lab.scratch), text=True, capture_output=True, check=False)
    assert (shown.stdout, shown.stderr) == (f"{cluster.mtu}\n", "")


def test_second_run_changes_nothing(lab: Playbooks) -> None:
    assert lab.run("site.yml").changed == 0


def test_check_of_a_running_lab_changes_nothing(lab: Playbooks) -> None:
    assert lab.run("site.yml", "--check", "--diff").changed == 0


def test_verify(lab: Playbooks) -> None:
    run = lab.run("playbooks/verify.yml")
    assert run.changed == 0
    assert "passed" in run.output


def test_reset_leaves_nothing(lab: Playbooks, before: Dict[str, object], lived_in: Set[str]) -> None:
    assert lab.run("playbooks/reset.yml", "--check").changed
    assert registry.read(lab.id) is not None, "check mode removed the lab"
    assert lab.run("playbooks/reset.yml").changed
    assert lab.left() == []
    assert lived_in, "no namespace was seen"
    assert not [pid for pid in processes() if link(pid, "net") in lived_in]
    assert machine() == before
    assert lab.run("playbooks/reset.yml").changed == 0
