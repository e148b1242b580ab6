"""A backend is one file and one line in BACKENDS: inventory, desired state, MTU, preflight and report follow."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import Any, Iterator, Optional, Sequence, Tuple

import pytest

from podwire import backend
from podwire.backend import BACKENDS, Backend, BackendSettings, Endpoint
from podwire.backend.routes import routes
from podwire.converge import Target, converge
from podwire.errors import IntentError
from podwire.intent.cluster import Cluster
from podwire.intent.inventory import read
from podwire.intent.projection import desired, scope
from podwire.kernel.namespaces import Namespace
from podwire.model.objects import BACKEND_ALIAS, Link
from podwire.model.state import State
from podwire.preflight import kernel
from podwire.preflight.finding import PROBLEM, Finding
from podwire.preflight.judge import judge
from podwire.report.document import _tunnel_ends


class Third(Backend):
    """A bridge stands in for its tunnel device."""

    type = "third"
    title = "Third"
    overhead = {4: 24, 6: 44}

    @property
    def udp_port(self) -> Optional[int]:
        return 9999

    def device(self, version: int) -> str:
        return f"third{version}"

    def probe_links(self) -> Tuple[Link, ...]:
        return (Link("pw-third", "no-such-kind"),)

    def kernel_warning(self, release: Tuple[int, ...], device: str) -> Optional[Tuple[str, str]]:
        return f"has a bug of {device}", "take another"

    def desired(self, node: Endpoint, peers: Sequence[Endpoint], mtu: int) -> State:
        name = self.device(node.version)
        link = Link(name, "bridge", mtu=mtu, alias=BACKEND_ALIAS)
        paths = [(peer.pod_cidr, peer.pod_cidr.network_address) for peer in peers]
        return State(links=frozenset((link,))) | routes(paths, name, onlink=True)


@pytest.fixture(autouse=True)
def third(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "third", Third)  # the line


@pytest.fixture
def node(namespace: Namespace) -> Iterator[Namespace]:
    for words in ("link add eth0 type bridge", "link set eth0 up", "address add 172.30.0.11/16 dev eth0"):
        subprocess.run(["ip", *words.split()], check=True)
    yield namespace


def cluster(**variables: Any) -> Cluster:
    return read({f"node-{i}": {"backend": {"type": "third"}, **variables} for i in (1, 2)}, source="hosts.yml")


def bring(node: Namespace, made: Cluster) -> Tuple[object, ...]:
    state, owned = desired(made, "node-1"), scope(made, "node-1", desired(made, "node-1"))
    return converge([Target(node, state._replace(files=frozenset()), owned._replace(files=frozenset()))]).operations


def preflight(made: Cluster) -> list[Finding]:
    return list(kernel.look(made, made.node("node-1")))


def test_the_inventory_takes_it_and_works_out_the_mtu() -> None:
    made = cluster()
    assert (made.backend.type, made.mtu, made.device_mtu(4)) == ("third", 1476, 1476)
    files = {file.path: file.content for file in desired(made, "node-1").files}
    assert "FLANNEL_MTU=1476\n" in files["/run/flannel/subnet.env"]
    with pytest.raises(IntentError, match="did you mean third"):
        cluster(backend={"type": "thrid"})
    with pytest.raises(IntentError, match="is 1500, less 24 for Third; write auto, or up to 1476"):
        cluster(backend={"type": "third", "mtu": 1500})
    with pytest.raises(IntentError, match="the name of another device"):
        cluster(cni={"bridge": "third4"})


def test_it_can_ask_for_adjacency(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Third, "needs_adjacency", True)
    with pytest.raises(IntentError, match="third needs the node's own address, 172.30.0.11"):
        cluster(node_public_ip="198.51.100.7")


def test_the_kernel_takes_it_and_another_backend_leaves_nothing_of_it(node: Namespace) -> None:
    assert bring(node, cluster())
    assert bring(node, cluster()) == ()
    mtu = subprocess.run(["ip", "-o", "link", "show", "third4"], check=True, capture_output=True, text=True).stdout
    assert "mtu 1476" in mtu
    bring(node, cluster(backend={"type": "host-gw"}))
    assert subprocess.run(["ip", "link", "show", "third4"], check=False, capture_output=True).returncode == 1


def test_preflight_asks_it(node: Namespace) -> None:
    made = cluster()
    subprocess.run(["ip", "link", "add", "third4", "type", "bridge"], check=True)
    found = preflight(made)
    assert any("has a bug of third4" in finding.text for finding in found)
    problems = {finding.check: finding.text for finding in found if finding.level == PROBLEM}
    assert "no-such-kind" in problems["kernel features"]
    assert "third4" in problems["devices"]
    told = {
        name: {"findings": [], "machine_id": "", "clock": 1.0, "asked": (1.0, 1.0)} for name in ("node-1", "node-2")
    }
    silent = {name: {"4": {}} for name in told}
    rows = judge(made, list(told), told, silent).rows
    assert [finding.check for _, finding in rows if finding.level == PROBLEM] == ["UDP port", "UDP port"]


def test_the_report_shows_its_device() -> None:
    made = cluster()
    (end,) = _tunnel_ends(made, made.node("node-1"), 4)
    assert (end["device"], end["version"], end["mtu"]) == ("third4", 4, 1476)


def test_its_name_is_known_only_to_the_table() -> None:
    settings = replace(BackendSettings(), type="third")
    assert isinstance(backend.backend_of(settings), Third)
    assert {"third4", "third6"} <= backend.device_names(BackendSettings())
