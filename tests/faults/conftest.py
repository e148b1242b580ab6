"""Labs to break, each made at first use and shared by all tests of a run."""

from __future__ import annotations

from typing import Callable, Dict, Iterator

import pytest

from .labs import KINDS, Lab, make


@pytest.fixture(scope="session")
def lab_of() -> Iterator[Callable[[str], Lab]]:
    """``lab_of(kind)``: the lab of a kind (labs.KINDS), healthy whenever a test begins."""
    made: Dict[str, Lab] = {}

    def get(kind: str) -> Lab:
        if kind not in made:
            made[kind] = make(f"faults-{kind}", **KINDS[kind])
        return made[kind]

    yield get
    for each in made.values():
        each.close()
