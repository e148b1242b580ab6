"""Virtual machines with a kernel and an init of their own: built over SSH, proven, rebooted. ``./run test-vm``."""

from __future__ import annotations

import json
from typing import Iterator

import pytest

from tests.e2e.playbooks import Playbooks

from .image import image, missing
from .virtual import Machines, virtual_machines

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())
NAMES = ("vm-1", "vm-2", "vm-3")


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Three machines, up."""
    with virtual_machines(image(), tmp_path_factory.mktemp("vm"), NAMES) as made:
        yield made


@pytest.fixture(scope="module")
def site(there: Machines, tmp_path_factory: pytest.TempPathFactory) -> Playbooks:
    """The smallest inventory of them."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "ansible").mkdir()
    hosts = {name: {"ansible_host": each.address} for name, each in there.by_name.items()}
    variables = {**there.variables, "ansible_user": "root", "node_kind": "ssh"}
    (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts, "vars": variables}}))
    return there.playbooks(folder / "hosts.yml", folder / "ansible")


def test_built_and_proven(site: Playbooks) -> None:
    run = site.run("site.yml")
    assert all(each.changed for each in run.recap.values())
    assert "30 of 30 pairs" in run.output, run.output
    assert site.run("site.yml").changed == 0


def test_a_rebooted_machine(there: Machines, site: Playbooks) -> None:
    there.reboot("vm-2")
    assert site.run("site.yml").recap["vm-2"].failed == 0
    assert site.run("playbooks/verify.yml").changed == 0


def test_reset(there: Machines, site: Playbooks) -> None:
    site.run("playbooks/reset.yml")
    for name in NAMES:
        assert "flannel" not in there.run(name, "ip -o link; ls /opt /etc/podwire 2>/dev/null")
    assert site.run("playbooks/reset.yml").changed == 0
