"""Nodes for plugins as executables: a network and mount namespace of its own a test, with private /var/lib/cni,
/etc/cni and /run, so that programs with fixed paths do no harm."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest

from podwire.cni.install.executables import install
from tests.cni.nodes import Node, start_node


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A fresh node; everything in it ends with the test."""
    made = start_node(tmp_path)
    yield made
    made.end()


@pytest.fixture(scope="session")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A directory with podwire's plugins as executables."""
    directory = tmp_path_factory.mktemp("cni") / "bin"
    install(str(directory))
    return str(directory)
