"""Nodes come and go: peers' entries for them are all that changes, and traffic between the others never stops."""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest

from podwire.kernel import Namespace, enter
from podwire.kernel.namespaces import CLONE_NEWNET, setns
from podwire.lab import registry
from podwire.prove import packets
from podwire.sandbox import sandboxes

from .playbooks import Playbooks

POD_B = "10.244.1.2"
_RUN = 7


@pytest.fixture(scope="module")
def built(copied: Callable[[str], Playbooks]) -> Playbooks:
    """The lab inventory, built."""
    lab = copied("lab")
    lab.run("site.yml")
    return lab


def ping_until(closed: int) -> List[int]:
    """Inside node-1: an echo from its pod to pod-b every 5 ms, until ``closed`` is. (sent, lost)."""
    found = sandboxes.running()["pod-a"]
    with Namespace.open(f"/proc/{found.pid}/ns/net", "pod-a") as pod:
        setns(pod.fd, CLONE_NEWNET)
    template = packets.EchoTemplate(4, packets.REACH, _RUN)
    open_numbers, sent = set(), 0
    buffer = bytearray(2048)

    def hear(seconds: float) -> None:
        while select.select([raw], [], [], seconds)[0]:
            answer = packets.parse_echo(4, _RUN, buffer, raw.recv_into(buffer))
            if answer is not None and answer.meaning == "reply":
                open_numbers.discard(answer.number)
            if not seconds or not open_numbers:
                return

    with packets.echo_socket(4) as raw:
        while not select.select([closed], [], [], 0.005)[0]:
            sent += 1
            open_numbers.add(sent)
            raw.sendto(template.packet(sent), (POD_B, 0))
            hear(0)
        hear(5)
    return [sent, len(open_numbers)]


@contextmanager
def traffic(lab: Playbooks) -> Iterator[Dict[str, int]]:
    """Echoes between two pods while the block runs; how many were sent and lost stands in the dict after it."""
    told: Dict[str, int] = {}
    ending, end = os.pipe()
    reader, writer = os.pipe()

    def body() -> int:
        os.close(end)
        os.write(writer, " ".join(map(str, ping_until(ending))).encode())
        return 0

    child = enter.fork_into(lab.node("node-1"), body)
    os.close(ending)
    os.close(writer)
    try:
        yield told
    finally:
        os.close(end)
        words = os.read(reader, 100).split()
        os.close(reader)
        assert os.waitpid(child, 0)[1] == 0
    told["sent"], told["lost"] = map(int, words)


def grow(lab: Playbooks, *names: str) -> None:
    """Write nodes into the inventory."""
    hosts = lab.inventory / "hosts.yml"
    text = "all:\n  hosts:\n" + "".join(f"    {name}:\n" for name in names)
    hosts.write_text(text)


def lines_of(output: str, sign: str) -> List[str]:
    return [line for line in output.splitlines() if line.startswith(sign)]


def test_a_node_joins_and_leaves_while_pods_talk(built: Playbooks) -> None:
    grow(built, "node-1", "node-2", "node-3", "node-4")
    with traffic(built) as told:
        run = built.run("playbooks/join.yml", "-e", "node=node-4", "--diff")
        assert set(run.recap) == {"node-1", "node-4"}
        assert run.recap["node-1"].changed == 1
        assert "FAILED" not in run.output
        peers = run.output[run.output.index("Configure its peers") : run.output.index("Prove the new node")]
        added = lines_of(peers, "+ ")
        assert len(added) == 9, "a route, a neighbour and an FDB entry on each of three"
        assert all("10.244.3.0" in line or "dst 172.30.0.14" in line for line in added)
        assert set(lines_of(peers, "~ ")) == {"~ file /etc/podwire/intent.json mode 0600"}
        assert lines_of(peers, "- ") == []
        left = built.run("playbooks/leave.yml", "-e", "node=node-4", "--diff")
        removed = lines_of(left.output, "- ")
        assert len([line for line in removed if "10.244.3.0" in line or "dst 172.30.0.14" in line]) == 9
        assert registry.node_pid(built.id, "node-4") is None
    assert told["lost"] == 0, told
    assert told["sent"] > 100
    grow(built, "node-1", "node-2", "node-3")
    assert built.run("site.yml").changed == 0, "nothing is left of it"


def test_check_shows_who_leaves_and_a_dead_node_can_leave_too(built: Playbooks) -> None:
    shown = built.run("playbooks/leave.yml", "-e", "node=node-3", "--check", "--diff")
    assert "- node node-3" in shown.output
    assert "- route 10.244.2.0/24" in shown.output
    built.node("node-3")
    os.kill(built.node("node-3"), signal.SIGKILL)
    built.run("playbooks/leave.yml", "-e", "node=node-3")
    grow(built, "node-1", "node-2")
    assert registry.node_pid(built.id, "node-3") is None
    run = built.run("site.yml")  # its pods, which may be anywhere, move
    assert "\nFAILED" not in run.output and "\nNOT RUN" not in run.output, run.output


def test_a_node_that_is_not_in_the_inventory_is_said(built: Playbooks) -> None:
    for playbook in ("join", "leave"):
        run = built.run(f"playbooks/{playbook}.yml", "-e", "node=nowhere", status=2)
        assert f"failed to {playbook} nowhere" in run.output


def test_the_positive_control_of_traffic(built: Playbooks) -> None:
    """What the zero of lost echoes is worth: a gap is counted."""

    def gap(path: str) -> Any:
        import subprocess

        subprocess.run(["ip", "link", "set", "flannel.1", "down"], check=True)
        time.sleep(0.1)  # the gap itself
        Path(path).touch()

    with traffic(built) as told:
        enter.call(built.node("node-1"), gap, "/run/gap")
    assert told["lost"] > 0
