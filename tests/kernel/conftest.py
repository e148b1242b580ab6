"""Fresh network namespaces, one set a test. They vanish with their descriptors."""

from __future__ import annotations

from typing import Callable, Iterator

import pytest

from podwire.kernel.namespaces import CLONE_NEWNET, Namespace, setns, unshare


@pytest.fixture
def make_namespace() -> Iterator[Callable[[str], Namespace]]:
    """``make_namespace(name)`` makes one and stays outside of it."""
    made: list[Namespace] = []

    def make(name: str) -> Namespace:
        with Namespace.current() as home:
            unshare(CLONE_NEWNET)
            try:
                made.append(Namespace.current(name))
            finally:
                setns(home.fd, CLONE_NEWNET)
        return made[-1]

    yield make
    for namespace in made:
        namespace.close()


@pytest.fixture
def namespace(make_namespace: Callable[[str], Namespace]) -> Iterator[Namespace]:
    """A fresh namespace that the test and the commands it runs are in."""
    fresh = make_namespace("node")
    with fresh.entered():
        yield fresh
