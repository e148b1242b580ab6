"""Sandboxes inside a node: the pods' processes, their names, and what a crash leaves."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from podwire.errors import LabError
from podwire.intent.cluster import Cluster, Pod
from podwire.kernel import enter
from podwire.kernel.namespaces import Namespace
from podwire.lab import netns
from podwire.sandbox import sandboxes
from podwire.sandbox.process import Process, kill
from tests.kernel.labs import make_cluster, make_node, pid_of

T = TypeVar("T")
WEB = Pod("web", "node-1")
AGENT = Pod("agent", "node-1", host_network=True, port=9000)


@pytest.fixture(scope="module")
def lab() -> Iterator[Cluster]:
    cluster = make_cluster(make_node("node-1", 11))
    netns.present(cluster)
    yield cluster
    netns.absent(cluster.id)


@pytest.fixture
def inside(lab: Cluster) -> Iterator[Callable[..., object]]:
    """``inside(function, *arguments)`` runs it in a node that has no sandboxes yet."""
    pid = pid_of(lab, "node-1")
    yield lambda function, *arguments: enter.call(pid, function, *arguments)
    enter.call(pid, lambda: sandboxes.stop(sandboxes.recorded()))


def get(port: int, namespace: str, host: str = "127.0.0.1") -> dict[str, object]:
    """What a pod's server says to a client in a namespace of the same node."""
    with (
        Namespace.open(namespace, "client") as client,
        client.entered(),
        socket.create_connection((host, port), 5) as connection,
    ):
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    found: dict[str, object] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return found


def test_a_pod_has_a_namespace_with_a_name_and_a_server(inside: Callable[..., object]) -> None:
    def scene() -> tuple[sandboxes.Sandbox, dict[str, object], bool, bool, str]:
        web = sandboxes.start([WEB])["web"]
        same = os.stat(web.netns).st_ino == os.stat(f"/proc/{web.pid}/ns/net").st_ino
        apart = os.stat(web.netns).st_ino != os.stat("/proc/self/ns/net").st_ino
        with open(f"/proc/{web.pid}/comm") as comm:
            return web, get(8080, web.netns), same, apart, comm.read().strip()

    web, answer, same, apart, comm = inside(scene)  # type: ignore[misc]
    assert web.netns == "/run/netns/web"
    assert len(bytes.fromhex(web.container_id)) == 32
    assert answer == {"pod": "web", "node": "node-1", "client": "127.0.0.1"}
    assert same and apart
    assert comm == "web"


def test_a_pod_on_the_host_network_shares_the_nodes(inside: Callable[..., object]) -> None:
    def scene() -> tuple[bool, dict[str, object], dict[str, object], bool]:
        agent = sandboxes.start([AGENT])["agent"]
        same = os.stat(agent.netns).st_ino == os.stat("/proc/self/ns/net").st_ino
        answers = [get(9000, agent.netns, host) for host in ("127.0.0.1", "172.30.0.11")]
        return same, answers[0], answers[1], os.path.exists("/run/netns/agent")

    same, local, by_address, named = inside(scene)  # type: ignore[misc]
    assert same and not named
    assert local == {"pod": "agent", "node": "node-1", "client": "127.0.0.1"}
    assert by_address["client"] == "172.30.0.11"


def test_start_again_starts_only_what_is_missing(inside: Callable[..., object]) -> None:
    def scene() -> tuple[list[str], list[str], bool]:
        first = sandboxes.start([WEB])
        again = sandboxes.start([WEB, AGENT])
        return list(again), sorted(sandboxes.running()), sandboxes.running()["web"] == first["web"]

    assert inside(scene) == (["agent"], ["agent", "web"], True)


def test_stop_leaves_nothing(inside: Callable[..., object]) -> None:
    def scene() -> tuple[list[str], list[str], bool]:
        started = sandboxes.start([WEB, AGENT])
        sandboxes.stop(["web", "agent", "never-there"])
        alive = any(each.alive for each in started.values())
        return os.listdir("/run/netns"), os.listdir(sandboxes.RECORDS), alive

    assert inside(scene) == ([], [], False)


def test_a_pod_that_died_gets_a_new_sandbox(inside: Callable[..., object]) -> None:
    def scene() -> tuple[bool, bool, bool, list[str]]:
        old = sandboxes.start([WEB])["web"]
        kill([Process(old.pid, old.start_time)])
        shown = "web" in sandboxes.running(), "web" in sandboxes.recorded()
        new = sandboxes.start([WEB])["web"]
        return (*shown, new.container_id != old.container_id and new.alive, os.listdir("/run/netns"))

    assert inside(scene) == (False, True, True, ["web"])


def test_a_namespace_of_somebody_else_is_left_alone(inside: Callable[..., object]) -> None:
    def scene() -> tuple[str, bool, list[str]]:
        open("/run/netns/web", "x").close()
        try:
            sandboxes.start([WEB, AGENT])
            message = ""
        except LabError as error:
            message = str(error)
        exists = os.path.exists("/run/netns/web")
        os.unlink("/run/netns/web")
        return message, exists, sorted(sandboxes.recorded())

    message, exists, recorded = inside(scene)  # type: ignore[misc]
    assert "failed to start pod web: /run/netns/web exists" in message
    assert exists
    assert recorded == []


def test_a_port_in_use_is_an_error_and_starts_nothing(inside: Callable[..., object]) -> None:
    def scene() -> list[str]:
        with socket.create_server(("", 9000)):
            try:
                sandboxes.start([WEB, AGENT])
            except LabError as error:
                assert "9000" in str(error), error
                return sorted(sandboxes.recorded())
        raise AssertionError("it started")

    assert inside(scene) == []


@pytest.mark.parametrize("step", ["_record", "_name"])
def test_a_crash_between_start_and_record_leaves_no_process(inside: Callable[..., object], step: str) -> None:
    """The recorder dies in the middle of each step; the next start clears up and succeeds."""

    def scene() -> tuple[int, bool]:
        recorder = os.fork()
        if recorder == 0:
            whole = getattr(sandboxes, step)

            def dies(*arguments: object) -> None:
                whole(*arguments)
                os.kill(os.getpid(), 9)

            setattr(sandboxes, step, dies)
            sandboxes.start([WEB])
        os.waitpid(recorder, 0)
        left = sandboxes.recorded()["web"]
        kill([Process(left.pid, left.start_time)])  # waits only: nobody acknowledged, so it exits by itself
        sandboxes.start([WEB])
        servers = [name for name in os.listdir("/proc") if name.isdigit() and _comm(name) == "web"]
        return len(servers), sandboxes.running()["web"].alive

    assert inside(scene) == (1, True)


def _comm(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/comm") as comm:
            return comm.read().strip()
    except OSError:
        return ""


def test_many_pods_come_and_go_together(inside: Callable[..., object]) -> None:
    def scene() -> tuple[int, int, int]:
        pods = [Pod(f"pod-{number}", "node-1") for number in range(100)]
        started = sandboxes.start(pods)
        ids = {each.container_id for each in started.values()}
        spaces = {os.stat(each.netns).st_ino for each in started.values()}
        sandboxes.stop(started)
        return len(ids), len(spaces), len(os.listdir("/run/netns"))

    assert inside(scene) == (100, 100, 0)


def test_servers_belong_to_the_nodes_first_process(inside: Callable[..., object]) -> None:
    def scene() -> tuple[str, set[str], str]:
        web = sandboxes.start([WEB])["web"]
        get(8080, web.netns)  # it answers once it is on its own
        with open(f"/proc/{web.pid}/status") as status:
            parent = next(line.split()[1] for line in status if line.startswith("PPid:"))
        kept = {os.readlink(f"/proc/{web.pid}/fd/{fd}").partition(":")[0] for fd in (0, 1, 2)}
        return parent, kept, os.readlink(f"/proc/{web.pid}/cwd")

    assert inside(scene) == ("1", {"/dev/null"}, "/")
