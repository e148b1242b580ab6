"""What all tests share: golden files and their regenerator, and skipping what this machine cannot do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable

import pytest

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="write golden files anew instead of comparing with them")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """``golden(path, text)`` compares text with a file, or writes the file under ``--regenerate``."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--regenerate"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"no golden file {path}; write it with: ./run test --regenerate"
        assert text == path.read_text()

    return compare


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Whatever makes namespaces needs root; unit tests never do."""
    if os.geteuid() == 0:
        return
    for item in items:
        if "unit" not in item.path.relative_to(ROOT).parts:
            item.add_marker(pytest.mark.skip(reason="needs root: sudo ./run test"))
