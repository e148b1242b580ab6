"""Labs for the end-to-end tests: copies of the shipped inventories, so that nobody's own lab is touched."""

from __future__ import annotations

import shutil
from typing import Callable, Iterator

import pytest

from podwire.lab import docker, netns

from .playbooks import ROOT, Playbooks


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Playbooks]]:
    """``copied(name)`` copies a shipped inventory; whatever was built from it is removed at the end."""
    made = []

    def copy(name: str) -> Playbooks:
        folder = tmp_path_factory.mktemp(name)
        scratch = folder / "ansible"
        scratch.mkdir()
        shutil.copytree(ROOT / "inventories" / name, folder / name)
        made.append(Playbooks(folder / name, scratch))
        return made[-1]

    yield copy
    for each in made:
        docker.absent(each.id)
        netns.absent(each.id)
