"""Machines over SSH, from nothing to nothing: check, build, build again, prove, remove."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

from podwire.lab import netns, registry

from .machines import OPERATOR, Machines, machines
from .playbooks import ROOT, Playbooks

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("/usr/sbin/sshd", "ssh-keygen", "ip"))),
    reason="needs sshd: apt-get install openssh-server iproute2",
)
NAMES = ("metal-1", "metal-2", "metal-3")
TASKS = 10
CHECK = ("site.yml", "--check", "--diff")
LOOK_ONLY = ("playbooks/verify.yml", "--check", "--diff")  # facts and the declaration
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
    path = folder / "way.yml"
    path.write_text(json.dumps({"all": {"hosts": hosts, "vars": variables}}))
    return path


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Three machines."""
    with machines(tmp_path_factory.mktemp("m"), NAMES) as made:
        yield made


@pytest.fixture(scope="module")
def site(there: Machines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playbooks]:
    """inventories/baremetal with the way to the machines, which is a network for management; their own one is found
    by CIDR, by name, or is declared. One machine is entered as a user who becomes root, where there is sudo."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "ansible").mkdir()
    shutil.copytree(ROOT / "inventories" / "baremetal", folder / "baremetal")
    sudo = bool(shutil.which("sudo"))
    way = {**there.variables, "ansible_user": "root", "ansible_become": sudo}
    hosts = {name: {**way, "ansible_host": each.management} for name, each in there.by_name.items()}
    hosts["metal-1"].update(node_interface_cidr="192.0.2.0/24", ansible_user=OPERATOR if sudo else "root")
    hosts["metal-2"].update(node_interface_regex="eth0|bond0")
    write(folder / "baremetal", hosts, {})
    playbooks = there.playbooks(folder / "baremetal", folder / "ansible")
    yield playbooks
    netns.absent(playbooks.id)  # what the controller knows, if a test failed


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
    assert "external interface of metal-1: eth0 192.0.2.11/24 mtu 1500" in smallest.run(*LOOK_ONLY).output
    hosts["metal-3"] = {"ansible_host": there.by_name["metal-3"].address, "ansible_port": 1}
    lost = there.playbooks(write(tmp_path, hosts, variables), tmp_path / "ansible").run(*LOOK_ONLY, status=4)
    assert "metal-3  10.244.2.0/24" in lost.output, "nobody has reached it ever, and it stops nobody"
    assert "external interface of metal-3" not in lost.output
    hosts["metal-3"] = {"ansible_host": there.by_name["metal-3"].management}
    split = there.playbooks(write(tmp_path, hosts, variables), tmp_path / "ansible")
    assert "the node sends to 192.0.2.12 by eth0 and to 198.51.100.13 by eth1" in split.run(*LOOK_ONLY, status=2).output


def test_build(there: Machines, site: Playbooks) -> None:
    run = site.run("site.yml")
    assert all(each.changed for each in run.recap.values())
    assert max(each.ok for each in run.recap.values()) <= TASKS
    assert "\nFAILED" not in run.output and "\nNOT RUN" not in run.output, run.output
    assert "30 of 30 pairs" in run.output
    assert "1.1.0" in there.by_name["metal-2"].run("env -i CNI_COMMAND=VERSION /opt/cni/bin/bridge")


def test_second_run_changes_nothing(site: Playbooks) -> None:
    assert site.run("site.yml").changed == 0


def test_a_machine_that_is_not_reached_drops_out(site: Playbooks) -> None:
    way = site.inventory / "way.yml"
    before = way.read_text()
    declared = json.loads(before)
    declared["all"]["hosts"]["metal-3"]["ansible_port"] = 1
    way.write_text(json.dumps(declared))
    try:
        run = site.run("site.yml", status=4)
    finally:
        way.write_text(before)
    assert {name for name, each in run.recap.items() if each.unreachable} == {"metal-3"}
    assert not any(each.failed or each.changed for each in run.recap.values())
    assert "LOST    metal-3 failed or was not reached" in run.output
    assert "to it: metal-1, metal-2" in run.output


def test_preflight_finds_nothing_but_what_is_theirs(there: Machines, site: Playbooks) -> None:
    """The configuration of somebody else is worth a warning; machines that are clones of this one are a problem."""
    for number, each in enumerate(there.by_name.values()):
        each.run(f"echo {number:032x} >/etc/machine-id")
    run = site.run("playbooks/preflight.yml")
    assert run.changed == 0
    assert "0 problems" in run.output
    assert "99-theirs.conflist" in run.output
    assert "6 paths between nodes" in run.output


def test_a_machine_leaves_and_joins_again(there: Machines, site: Playbooks) -> None:
    left = site.run("playbooks/leave.yml", "-e", "node=metal-3")
    assert all(each.changed for each in left.recap.values())
    for name, each in there.by_name.items():
        routes = each.run("ip route show proto 112").splitlines()
        assert len(routes) == (0 if name == "metal-3" else 1), name
    joined = site.run("playbooks/join.yml", "-e", "node=metal-3")
    assert joined.recap["metal-1"].changed == 1
    assert "FAILED" not in joined.output
    assert site.run("site.yml").changed == 0


def test_a_machine_mends_itself(there: Machines) -> None:
    machine = there.by_name["metal-2"]
    machine.run("ip link delete flannel.1; ip link delete cni0")
    podwire = "/opt/podwire/podwire apply"
    assert "+ link flannel.1" in machine.run(podwire)
    assert machine.run(f"{podwire} --check") == ""


def test_verify(site: Playbooks) -> None:
    run = site.run("playbooks/verify.yml")
    assert run.changed == 0
    assert "passed" in run.output


def test_a_run_that_reaches_one_machine_knows_the_others(site: Playbooks) -> None:
    """From the run before: their interfaces were found, and are not declared."""
    run = site.run("site.yml", "--limit", "metal-2", "--diff")
    assert list(run.recap) == ["metal-2"]
    assert run.changed == 0


def test_break_mend_and_find_by_the_podwire_of_the_controller(there: Machines, site: Playbooks) -> None:
    """Whatever library the machine has."""
    machine = there.by_name["metal-2"]
    had = machine.run("readlink /opt/podwire/lib").strip()
    machine.run("ln -sfn another /opt/podwire/lib")
    broken = site.run("playbooks/break.yml", "-e", "fault=route_missing", "-e", "node=metal-2")
    assert broken.recap["metal-2"].changed == 1
    assert len(machine.run("ip route show proto 112").splitlines()) == 1
    mended = site.run("playbooks/mend.yml")
    assert "route_missing: repaired" in mended.output
    assert len(machine.run("ip route show proto 112").splitlines()) == 2
    assert "30 of 30 pairs" in site.run("playbooks/verify.yml", "-e", "pods=discover", "-e", "throughput=true").output
    machine.run(f"ln -sfn {had} /opt/podwire/lib")


def test_reset_leaves_nothing(there: Machines, site: Playbooks, before: Dict[str, List[str]]) -> None:
    site.run("playbooks/break.yml", "-e", "fault=agent_blocked", "-e", "node=metal-2")
    built = look(there)
    assert built != before
    check = site.run("playbooks/reset.yml", "--check", "--diff")
    assert "- pod metal-1-pod-1" in check.output
    assert "- link flannel.1" in check.output
    assert look(there) == built
    assert site.run("playbooks/reset.yml").changed
    assert look(there) == before
    there.by_name["metal-2"].run("! ls /var/lib/podwire/faults 2>/dev/null")
    assert site.left() == []
    assert site.run("playbooks/reset.yml").changed == 0
    assert not os.path.exists(registry.state_dir(site.id))
