"""Virtual machines with a kernel and an init of their own: built over SSH, proven, rebooted. ``./run test-vm``."""

from __future__ import annotations

import json
from typing import Iterator

import pytest

from podwire.lab import netns
from tests.e2e.playbooks import Playbooks

from .image import image, missing
from .virtual import Machines, virtual_machines

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())
NAMES = ("vm-1", "vm-2")


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """The machines, up."""
    with virtual_machines(image(), tmp_path_factory.mktemp("vm"), NAMES) as made:
        yield made


@pytest.fixture(scope="module")
def site(there: Machines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playbooks]:
    """The smallest inventory of them."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "ansible").mkdir()
    hosts = {name: {"ansible_host": each.address} for name, each in there.by_name.items()}
    variables = {**there.variables, "ansible_user": "root", "node_kind": "ssh"}
    (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts, "vars": variables}}))
    playbooks = there.playbooks(folder / "hosts.yml", folder / "ansible")
    yield playbooks
    netns.absent(playbooks.id)  # what the controller knows, if a test failed


def test_built_and_proven(site: Playbooks) -> None:
    run = site.run("site.yml")
    assert all(each.changed for each in run.recap.values())
    assert "12 of 12 pairs" in run.output, run.output


@pytest.mark.parametrize("fault", ["vxlan_fdb_missing", "link_lossy", "link_delayed"])
def test_explained_by_what_a_kernel_of_its_own_tells(there: Machines, site: Playbooks, fault: str) -> None:
    """Over SSH, with an older kernel's tracepoints; this one has netem as well."""
    assert site.run("playbooks/break.yml", "-e", f"fault={fault}", "-e", "node=vm-1").recap["vm-1"].changed
    try:
        said = site.run("playbooks/explain.yml").output
        assert f"1. {fault}: " in said, said
        assert "without: " not in said, said
        if fault == "vxlan_fdb_missing":
            assert "path: eth0 > veth" in said and "> flannel.1; dropped: " in said, said
        fix = next(line.split(maxsplit=1)[1] for line in said.splitlines() if line.startswith("   fix "))
        there.run("vm-1", fix)
        assert "nothing fails" in site.run("playbooks/explain.yml").output
    finally:
        site.run("playbooks/mend.yml")


def test_a_rebooted_machine_is_back_without_a_controller(there: Machines, site: Playbooks) -> None:
    """Everything, in the kernel, in /run and as processes: the next run has nothing to do but to prove it."""
    there.reboot("vm-2")
    assert there.run("vm-2", "systemctl is-active podwire.service") == "active\n"
    run = site.run("site.yml")
    assert run.changed == 0, run.output
    assert "12 of 12 pairs" in run.output, run.output


def test_reset(there: Machines, site: Playbooks) -> None:
    assert site.run("playbooks/reset.yml").changed
    for name in NAMES:
        left = there.run(name, "ip -o link; ls -A /opt /etc/podwire /etc/systemd/system 2>/dev/null", check=False)
        assert "flannel" not in left
        assert "podwire" not in left
