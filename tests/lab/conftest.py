"""The lab that the tests look at: the one that ``--podwire-inventory`` built.

``pytest tests/lab --podwire-inventory PATH [--podwire-results DIR]``. With results the guarantees are
read from what the playbook's probes observed; without, one probe call a node is made here. A lab that
is not running skips the tests, but fails them when results were given: then somebody built it.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, TypeVar

import pytest
import testinfra.backend

from podwire.intent.cluster import Cluster
from podwire.intent.cluster_json import cluster_from_json
from podwire.intent.ids import cluster_id
from podwire.kernel import enter
from podwire.lab import registry
from podwire.prove import prober
from podwire.prove.verdict import Guarantee, Verdict, judge

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")

#: Commands cost a fork and a shell each, so tests that run them look at so many nodes at most.
SAMPLE = 8


class Lab:
    """A recorded lab: intent, and the way into those of its nodes that live on this machine."""

    def __init__(self, cluster: Cluster, results: Optional[Path]) -> None:
        self.cluster = cluster
        self.nodes = [node.name for node in cluster.nodes]
        self._results = results
        self._verdicts: Dict[Optional[str], Verdict] = {}

    @property
    def running(self) -> bool:
        """Whether any of its nodes runs on this machine."""
        return any(registry.node_pid(self.cluster.id, node) for node in self.nodes)

    @property
    def elsewhere(self) -> bool:
        """Whether its nodes are reached by Ansible alone: then what they observed has to be read."""
        return self._results is not None and all(node.kind == "ssh" for node in self.cluster.nodes)

    def call(self, node: str, function: Callable[..., T], *args: Any) -> T:
        """Run a function inside a node of kind netns."""
        if self.cluster.node(node).kind != "netns":
            pytest.skip("the node has a file system of its own: site.yml --check looks at it")
        pid = registry.node_pid(self.cluster.id, node)
        assert pid is not None, f"{node} is not running"
        return enter.call(pid, function, self.cluster, node, *args)

    @cached_property
    def seen(self) -> Seen:
        """What the nodes observed: read, or probed now."""
        if self._results is not None:
            pods = {pod: ips for each in self._read("pods").values() for pod, ips in each.items()}
            return Seen(pods, self._read("observations"))
        found = [self.call(node, prober.addresses) for node in self.nodes]
        pods = {pod: ips for each in found for pod, ips in each.items()}
        return Seen(pods, {node: self.call(node, prober.probe, pods) for node in self.nodes})

    def guarantee(self, key: str, node: Optional[str] = None) -> Guarantee:
        """The verdict on one guarantee, for the whole cluster or as far as ``node`` observed it."""
        if node not in self._verdicts:
            self._verdicts[node] = judge(self.cluster, *self.seen, None if node is None else {node})
        return next(each for each in self._verdicts[node].guarantees if each.key == key)

    def _read(self, kind: str) -> Dict[str, Any]:
        assert self._results is not None
        # Only of declared nodes: what a node told that left since then may lie there still.
        paths = [self._results / kind / f"{node.name}.json" for node in self.cluster.nodes]
        return {path.stem: json.loads(path.read_text()) for path in paths if path.exists()}


class Seen(NamedTuple):
    """The pods' addresses, and observations by node."""

    addresses: Dict[str, List[str]]
    observations: Dict[str, Dict[str, Any]]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("podwire")
    group.addoption("--podwire-inventory", default=str(ROOT / "inventories" / "lab"), help="whose lab to look at")
    group.addoption("--podwire-must-run", action="store_true", help="fail rather than skip where no lab is running")
    group.addoption(
        "--podwire-results",
        type=Path,
        help="what the playbook's probes observed (default: probe now; of docker nodes, what the last run observed)",
    )


def pytest_configure(config: pytest.Config) -> None:
    testinfra.backend.BACKENDS["netns"] = "tests.lab.netns_backend.NetnsBackend"
    testinfra.backend.BACKENDS["inventory"] = "tests.lab.ansible_backend.InventoryBackend"
    source = config.getoption("--podwire-inventory")
    recorded = registry.intent(cluster_id(source))
    if recorded is None:
        config.stash[LAB] = None
        return
    cluster, results = cluster_from_json(recorded), config.getoption("--podwire-results")
    if results is None and cluster.nodes[0].kind == "docker":  # whose probes need the node's own podwire
        results = Path(registry.state_dir(cluster.id), "results")
    config.stash[LAB] = Lab(cluster, results)


LAB = pytest.StashKey[Optional[Lab]]()


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``node`` is every node; ``host`` (testinfra's) some of them, evenly spread."""
    found = metafunc.config.stash[LAB]
    nodes = found.nodes if found else []
    if "node" in metafunc.fixturenames:
        metafunc.parametrize("node", nodes or ["no-node"])
    if "host" in metafunc.fixturenames:
        sample = nodes[:: max(1, -(-len(nodes) // SAMPLE))]
        metafunc.module.testinfra_hosts = [spec(found, name) for name in sample] or ["netns://no-node@"]


def spec(lab: Optional[Lab], node: str) -> str:
    """How testinfra gets to a node: into namespaces of this machine by fork, else as Ansible's inventory says."""
    assert lab is not None
    is_here = lab.cluster.node(node).kind != "ssh"
    return f"netns://{node}@{lab.cluster.id}" if is_here else f"inventory://{node}"


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Lab:
    """The running lab."""
    found = request.config.stash[LAB]
    if found is not None and (found.elsewhere or found.running):
        return found
    source = request.config.getoption("--podwire-inventory")
    reason = f"no lab of {source} is running; build it: sudo ./run site -i {source}"
    if request.config.getoption("--podwire-results") or request.config.getoption("--podwire-must-run"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
