"""SIGKILL at points spread over all lines that an ADD executes: the DEL that follows leaves nothing, and all can be
done again."""

from __future__ import annotations

import json
from typing import Any, Dict, Iterator

import pytest

from podwire.cni.install.executables import NAMES
from tests.cni.calls import IPTABLES, Worker, attached, configuration, environ
from tests.cni.nodes import start_node

POINTS = 25


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory, plugins: str) -> Iterator[Worker]:
    """One node for all plugins."""
    node = start_node(tmp_path_factory.mktemp("node"))
    made = Worker(node, plugins)
    yield made
    made.end()
    node.end()


@pytest.mark.parametrize(
    ("plugin", "changes"),
    [*((name, {}) for name in NAMES if name not in ("bandwidth", "tuning")), *IPTABLES.items()],
)
def test_a_kill_in_add(worker: Worker, plugin: str, changes: Dict[str, Any]) -> None:
    conf = json.dumps(configuration(plugin, **changes)).encode()
    first = worker(plugin, conf, environ("ADD"), kill=0)
    assert first.status == 0, first.stdout
    assert worker(plugin, conf, environ("DEL")).status == 0
    killed = 0
    for number in range(POINTS):
        at = 1 + first.lines * number // POINTS
        killed += worker(plugin, conf, environ("ADD"), kill=at).status == -9
        undone = worker(plugin, conf, environ("DEL"))
        assert undone.status == 0, f"line {at} of {first.lines}: {undone.stdout}"
        assert attached(undone.state) == [], f"line {at} of {first.lines}"
    assert killed == POINTS
    assert worker(plugin, conf, environ("ADD")).status == 0
    assert attached(worker(plugin, conf, environ("DEL")).state) == []


@pytest.mark.parametrize("plugin", [name for name in NAMES if name in ("bridge", "ptp", "host-local")])
def test_a_kill_in_del(worker: Worker, plugin: str) -> None:
    conf = json.dumps(configuration(plugin)).encode()
    assert worker(plugin, conf, environ("ADD")).status == 0
    lines = worker(plugin, conf, environ("DEL"), kill=0).lines
    for number in range(POINTS):
        assert worker(plugin, conf, environ("ADD")).status == 0
        assert worker(plugin, conf, environ("DEL"), kill=1 + lines * number // POINTS).status == -9
        assert attached(worker(plugin, conf, environ("DEL")).state) == []


def test_executables_killed_while_they_run(worker: Worker) -> None:
    """From outside, as the kernel's out-of-memory killer does: whole processes, at points spread over their lives."""
    conf = json.dumps(configuration("bridge")).encode()
    ends = set()
    for number in range(POINTS):
        ends.add(worker("bridge", conf, environ("ADD"), kill_after=0.004 * number).status)
        undone = worker("bridge", conf, environ("DEL"))
        assert undone.status == 0 and attached(undone.state) == []
    assert ends == {-9, 0}
