"""What all tests share: golden files and their regenerator, and skipping what this machine cannot do."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Callable, Iterator

import pytest

from tests.engine import NoEngine, engine

ROOT = Path(__file__).resolve().parent.parent

with suppress(ModuleNotFoundError):  # ./run site proves with what a site needs, and hypothesis is of the tests' group
    from hypothesis import settings

    # No example may fail for being slow: the machine may be busy.
    settings.register_profile("podwire", deadline=None)
    settings.load_profile("podwire")


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


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[None]:
    """DOCKER_HOST leads to an engine. Its image of docker nodes is made by the first test that needs it."""
    before = os.environ.get("DOCKER_HOST")
    try:
        with engine() as url:
            os.environ["DOCKER_HOST"] = url
            yield
    except NoEngine as error:
        pytest.skip(str(error))
    finally:
        os.environ.pop("DOCKER_HOST", None)
        if before is not None:
            os.environ["DOCKER_HOST"] = before


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Whatever makes namespaces needs root, and kernel tests ask other tools what is there; unit tests need neither."""
    missing = [package for tool, package in (("ip", "iproute2"), ("nft", "nftables")) if not shutil.which(tool)]
    for item in items:
        kind = item.path.relative_to(ROOT).parts[1]
        if kind != "unit" and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root: sudo ./run test"))
        elif kind in ("kernel", "cni", "faults") and missing:
            item.add_marker(
                pytest.mark.skip(reason=f"needs tools to compare with: apt-get install {' '.join(missing)}")
            )
