"""Machines over SSH, from nothing to nothing: check, build, build again, prove, remove."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

from podwire.lab import registry

from .machines import OPERATOR, Machines, machines
from .playbooks import Playbooks

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("/usr/sbin/sshd", "ssh-keygen", "ip"))),
    reason="needs sshd: apt-get install openssh-server iproute2",
)
NAMES = ("alpha", "beta", "gamma")
TASKS = 10
CHECK = ("site.yml", "--check", "--diff")
#: Of somebody else, beside podwire's own.
THEIRS = """
echo '#!/bin/sh' >/opt/cni/bin/theirs; echo '{}' >/etc/cni/net.d/99-theirs.conflist
mkdir -p /var/lib/cni/networks/theirs
ip route add 198.18.0.0/24 via 192.0.2.1; ip link add theirs type bridge
! command -v nft >/dev/null || nft 'table ip theirs { chain forward { type filter hook forward priority 0; }; }'
"""
#: Everywhere that podwire makes something, and what of it is everybody's.
LOOK = """
find /opt /etc/cni /etc/podwire /var/lib/cni /run /root /home -mindepth 1 ! -path '*/.ansible*' 2>/dev/null | sort
ip -o link; ip rule; ip route show table all; nft list ruleset 2>/dev/null || :
"""


def write(folder: Path, hosts: Dict[str, Dict[str, Any]], variables: Dict[str, Any]) -> Path:
    path = folder / "hosts.yml"
    path.write_text(json.dumps({"all": {"hosts": hosts, "vars": variables}}))
    return path


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Three machines."""
    with machines(tmp_path_factory.mktemp("m"), NAMES) as made:
        yield made


@pytest.fixture(scope="module")
def site(there: Machines, tmp_path_factory: pytest.TempPathFactory) -> Playbooks:
    """An inventory of them, reached by the network for management. One is entered as a user who becomes root, where
    there is sudo."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "ansible").mkdir()
    hosts: Dict[str, Dict[str, Any]] = {name: {"ansible_host": each.management} for name, each in there.by_name.items()}
    if shutil.which("sudo"):
        hosts["gamma"].update(ansible_user=OPERATOR, ansible_become=True)
    variables = {**there.variables, "ansible_user": "root", "node_kind": "ssh"}
    variables["node_interface_cidr"] = "192.0.2.0/24"
    return there.playbooks(write(folder, hosts, variables), folder / "ansible")


@pytest.fixture(scope="module")
def before(there: Machines) -> Dict[str, List[str]]:
    """What the machines held before anything was built, which is not podwire's and stays."""
    for each in there.by_name.values():
        each.run(THEIRS)
    return look(there)


def look(there: Machines) -> Dict[str, List[str]]:
    return {name: each.run(LOOK).splitlines() for name, each in there.by_name.items()}


def test_check_shows_all_and_makes_nothing(there: Machines, site: Playbooks, before: Dict[str, List[str]]) -> None:
    run = site.run(*CHECK)
    for name in NAMES:
        assert f"--- network of {name}" in run.output
        assert f"+ pod {name}-pod-1" in run.output
    assert "+ /opt/podwire/lib -> " in run.output
    assert look(there) == before
    assert site.left() == []


def test_the_smallest_inventory_and_a_machine_that_sends_elsewhere(there: Machines, tmp_path: Path) -> None:
    """Names and addresses are enough; where routes to peers leave by two interfaces, one has to be named."""
    (tmp_path / "ansible").mkdir()
    hosts = {name: {"ansible_host": each.address} for name, each in there.by_name.items()}
    variables = {**there.variables, "ansible_user": "root", "node_kind": "ssh"}
    smallest = there.playbooks(write(tmp_path, hosts, variables), tmp_path / "ansible")
    assert "external interface of alpha: eth0 192.0.2.11/24 mtu 1500" in smallest.run(*CHECK).output
    hosts["gamma"] = {"ansible_host": there.by_name["gamma"].management}
    split = there.playbooks(write(tmp_path, hosts, variables), tmp_path / "ansible")
    assert "the node sends to 192.0.2.12 by eth0 and to 198.51.100.13 by eth1" in split.run(*CHECK, status=2).output


def test_build(there: Machines, site: Playbooks) -> None:
    run = site.run("site.yml")
    assert all(each.changed for each in run.recap.values())
    assert max(each.ok for each in run.recap.values()) <= TASKS
    assert run.output.count("\nok      ") == 4, run.output
    assert "30 of 30 pairs" in run.output
    assert "1.1.0" in there.by_name["beta"].run("env -i CNI_COMMAND=VERSION /opt/cni/bin/bridge")


def test_second_run_changes_nothing(site: Playbooks) -> None:
    assert site.run("site.yml").changed == 0
    assert site.run(*CHECK).changed == 0


def test_verify(site: Playbooks) -> None:
    run = site.run("playbooks/verify.yml")
    assert run.changed == 0
    assert "passed" in run.output


def test_reset_leaves_nothing(there: Machines, site: Playbooks, before: Dict[str, List[str]]) -> None:
    built = look(there)
    assert built != before
    check = site.run("playbooks/reset.yml", "--check", "--diff")
    assert "- pod alpha-pod-1" in check.output
    assert "- link flannel.1" in check.output
    assert look(there) == built
    assert site.run("playbooks/reset.yml").changed
    assert look(there) == before
    assert site.left() == []
    assert site.run("playbooks/reset.yml").changed == 0
    assert not os.path.exists(registry.state_dir(site.id))
