"""Where a controller keeps what it knows: root's place, and everybody's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable

import pytest

from podwire.lab import netns, registry
from podwire.stages.controller.declare import declare

NOBODY = 65534
MACHINE = {"node_kind": "ssh", "node_interface": "eth0", "node_address": "192.0.2.1/24"}


def as_nobody(body: Callable[[], object]) -> None:
    """Run in a child that is not root; its failure is ours."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            body()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def test_machines_need_no_root_on_the_controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (tmp_path, *list(tmp_path.parents)[:2]):  # pytest's folders are its user's alone
        path.chmod(0o755)
    home, scratch = tmp_path / "home", tmp_path / "scratch"
    for path in (home, scratch):
        path.mkdir()
        os.chown(path, NOBODY, NOBODY)
    monkeypatch.setenv("XDG_STATE_HOME", str(home))
    source = str(tmp_path / "hosts.yml")

    def body() -> None:
        said = declare({"node-1": MACHINE}, {}, source, {}, str(scratch), False)
        assert said["changed"]
        assert said["results"].startswith(str(home))
        assert not declare({"node-1": MACHINE}, {}, source, {}, str(scratch), False)["changed"]
        assert netns.absent(said["results"].split("/")[-2]).changed
        assert not any(home.glob("podwire/*/*"))

    as_nobody(body)


def test_what_root_made_is_found_by_everybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "STATE", str(tmp_path))
    (tmp_path / "lab-1").mkdir()

    def body() -> None:
        assert registry.state_dir("lab-1") == str(tmp_path / "lab-1")
        assert registry.state_dir("lab-2") != str(tmp_path / "lab-2")

    for path in (tmp_path, *list(tmp_path.parents)[:2]):
        path.chmod(0o755)
    as_nobody(body)
