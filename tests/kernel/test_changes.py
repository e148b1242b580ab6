"""A running cluster changes its backend or its MTU: pods stay, and what cannot stay is in the plan before."""

from __future__ import annotations

import re
import select
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import Dict, List, NamedTuple

import pytest

from podwire.backend import BackendSettings
from podwire.intent.cluster import Cluster, CniSettings, Pod
from podwire.kernel import enter
from podwire.kernel.namespaces import CLONE_NEWNET, Namespace, setns
from podwire.lab import netns
from podwire.prove import packets
from podwire.sandbox import sandboxes
from podwire.stages import node as doors
from tests.kernel.labs import make_cluster, make_node, pid_of

NODES = ("node-1", "node-2")
VXLAN, HOST_GW = BackendSettings(), BackendSettings(type="host-gw")


@pytest.fixture(scope="module")
def lab() -> Iterator[Cluster]:
    """Two nodes, three pods, VXLAN."""
    cluster = make_cluster(*(make_node(name, number) for number, name in enumerate(NODES, 11)))
    cluster = replace(cluster, pods=(Pod("pod-a", "node-1"), Pod("pod-b", "node-2"), Pod("pod-c", "node-1")))
    try:
        netns.present(cluster)
        converge(cluster)
        yield cluster
    finally:
        netns.absent(cluster.id)


def converge(cluster: Cluster, check: bool = False) -> List[str]:
    """What site.yml does after the lab stands: the plans of both stages on all nodes."""
    lines: List[str] = []
    for stage in ("node", "attach"):
        for name in NODES:
            answer = enter.call(pid_of(cluster, name), doors.STAGES[stage], cluster, name, {"diff": True}, check)
            assert not answer.get("failed"), answer
            lines += [line for each in answer["diff"] for line in each["prepared"].splitlines()[1:]]
    return lines


class Seen(NamedTuple):
    """A pod as it is."""

    container: str
    address: str
    mtu: int


def look(cluster: Cluster) -> Dict[str, Seen]:
    def see() -> Dict[str, Seen]:
        found = {}
        for name, each in sandboxes.running().items():
            text = subprocess.check_output(
                ["nsenter", f"--net={each.netns}", "ip", "-o", "addr", "show", "eth0"], text=True
            )
            link = subprocess.check_output(
                ["nsenter", f"--net={each.netns}", "ip", "-o", "link", "show", "eth0"], text=True
            )
            address, mtu = re.findall(r"inet (\S+)/", text)[0], int(re.findall(r"mtu (\d+)", link)[0])
            found[name] = Seen(each.container_id, address, mtu)
        return found

    return {pod: seen for node in NODES for pod, seen in enter.call(pid_of(cluster, node), see).items()}


def passes(cluster: Cluster, size: int) -> bool:
    """Whether packets of so many bytes pass from pod-a to pod-b, with DF, and no larger ones."""
    target = look(cluster)["pod-b"].address

    def echoes(length: int) -> bool:
        buffer = bytearray(2048)
        with packets.echo_socket(4) as raw:
            packet = packets.EchoTemplate(4, packets.FITS, length, length - packets.IP_HEADER[4]).packet(1)
            try:
                raw.sendto(packet, (target, 0))
            except OSError:  # more than the device takes
                return False
            while select.select([raw], [], [], 5)[0]:
                answer = packets.parse_echo(4, length, buffer, raw.recv_into(buffer))
                if answer is not None:
                    return answer.meaning == "reply"
        return False

    def both() -> bool:
        with Namespace.open(sandboxes.running()["pod-a"].netns, "pod-a") as pod:
            setns(pod.fd, CLONE_NEWNET)
        return echoes(size) and not echoes(size + 1)

    return enter.call(pid_of(cluster, "node-1"), both)


@pytest.mark.parametrize(
    ("backend", "mtu"),
    [
        (HOST_GW, 1500),
        (VXLAN, 1450),
        (BackendSettings(mtu=1300), 1300),
        (BackendSettings(vni=7, port=4789), 1450),
        (VXLAN, 1450),
    ],
)
def test_the_backend_changes_under_pods_that_stay(lab: Cluster, backend: BackendSettings, mtu: int) -> None:
    changed = replace(lab, backend=backend)
    before = look(lab)
    shown = converge(changed, check=True)
    assert look(lab) == before, "check mode changed something"
    assert not [line for line in shown if "pod pod-" in line], "no pod has to be made anew"
    done = converge(changed)
    assert {line for line in done if "intent.json" not in line} <= set(shown)
    assert converge(changed, check=True) == []
    after = look(changed)
    assert {pod: seen[:2] for pod, seen in after.items()} == {pod: seen[:2] for pod, seen in before.items()}
    assert {seen.mtu for seen in after.values()} == {mtu}
    assert passes(changed, mtu)


def test_what_cannot_stay_is_in_the_plan_first(lab: Cluster) -> None:
    """Another plugin means other devices: addresses may change, processes do not."""
    changed = replace(lab, cni=CniSettings(type="ptp"))
    before = look(lab)
    shown = converge(changed, check=True)
    for pod in before:
        assert [line for line in shown if line.startswith(f"~ pod {pod} ")], (pod, shown)
    assert any(line.startswith("- link cni0") for line in shown)
    converge(changed)
    after = look(changed)
    assert {pod: seen.container for pod, seen in after.items()} == {pod: seen.container for pod, seen in before.items()}
    assert passes(changed, 1450)
    converge(lab)
    assert passes(lab, 1450)
