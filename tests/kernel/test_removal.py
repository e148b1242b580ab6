"""Reset on a node: what is podwire's goes, also after a death at any point and without memory; all else stays."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, List

import pytest

from podwire.agent import intent_store, unit
from podwire.errors import LabError
from podwire.intent.cluster import Cluster, Pod
from podwire.kernel import enter
from podwire.lab import netns
from podwire.stages import node as doors
from podwire.stages import removal
from tests.death import Death
from tests.kernel.labs import make_cluster, make_node, pid_of

NODE = "node-1"
PLUGINS = "/run/plugins"
#: Somebody else's, of each kind that podwire makes too.
THEIRS = """
ip link add theirs type bridge; ip link set theirs up; ip address add 198.18.0.1/24 dev theirs
ip route add 198.51.100.0/24 via 198.18.0.2; ip route add 203.0.113.0/24 via 198.18.0.2 proto 80
ip neigh add 198.18.0.9 lladdr 02:00:00:00:00:09 dev theirs nud permanent
nft add table ip theirs; nft 'add chain ip theirs forward { type filter hook forward priority 0; }'
nft add rule ip theirs forward ip saddr 10.244.0.0/16 accept
ip netns add theirs; mkdir -p /etc/cni/net.d /run/plugins; echo {} >/etc/cni/net.d/99-theirs.conflist
echo '#!/bin/sh' >/run/plugins/theirs
"""
#: Ages, indexes that differ, and neighbours that the kernel learns are nobody's.
LOOK = """
ip -o link | sed 's/^[0-9]*: //; s/@.*//; s/ .*//'; ip -4 -o address | awk '{print $2, $4}'; ip route show table all
ip neigh show nud permanent; nft list ruleset; ls /run/netns /etc/cni/net.d /run/plugins
find /etc/podwire /var/lib/cni ! -type d
ip netns exec theirs ip -o link | wc -l
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Cluster]:
    cluster = make_cluster(make_node(NODE, 11), make_node("node-2", 12))
    cluster = replace(cluster, pods=(Pod("pod-a", NODE), Pod("pod-c", NODE)))
    try:
        netns.present(cluster)
        inside(cluster, lambda: subprocess.run(["sh", "-ec", THEIRS], check=True))
        yield cluster
    finally:
        netns.absent(cluster.id)


def inside(cluster: Cluster, function: Callable[..., Any], *arguments: Any) -> Any:
    return enter.call(pid_of(cluster, NODE), function, *arguments)


def look(cluster: Cluster) -> List[str]:
    done = inside(cluster, lambda: subprocess.run(["sh", "-c", LOOK], capture_output=True, text=True).stdout)
    return list(done.splitlines())


def build(cluster: Cluster) -> None:
    for stage in ("node", "attach"):
        inside(cluster, doors.STAGES[stage], cluster, NODE, {}, False)
    inside(cluster, doors.install_plugins, PLUGINS)


def remove(check: bool = False) -> Any:
    """A lab's node shows this machine's own /opt, which is nobody's business here."""
    removal.HOME = "/run/opt/podwire"
    unit.COMMAND = "/run/opt/podwire/podwire"
    return removal.remove(PLUGINS, check=check)


def traced(at: int) -> int:
    death = Death(at)
    sys.settrace(death)
    try:
        remove()
    finally:
        sys.settrace(None)
    return death.count


def test_a_death_at_any_point_is_finished_by_the_next_run(lab: Cluster) -> None:
    before = look(lab)
    build(lab)
    assert look(lab) != before
    shown = inside(lab, remove, True)["diff"][0]["prepared"]
    for word in (
        "- pod pod-a",
        "- link flannel.1",
        "- link cni0",
        "- masquerade",
        intent_store.INTENT,
    ):
        assert word in shown
    assert "theirs" not in shown
    total = inside(lab, traced, 0)
    assert look(lab) == before
    assert total > 2000
    for number in range(8):
        build(lab)
        with pytest.raises(LabError, match="its process died"):
            inside(lab, traced, 1 + total * number // 8)
        assert inside(lab, remove)["changed"]
        assert look(lab) == before, f"after a death at line {total * number // 8} of {total}"
    assert not inside(lab, remove)["changed"]


@pytest.mark.parametrize("memory", ["lost", "broken"])
def test_a_node_that_lost_its_memory(lab: Cluster, memory: str) -> None:
    before = look(lab)
    build(lab)

    def forget() -> None:
        if memory == "lost":
            os.unlink(intent_store.INTENT)
        else:
            with open(intent_store.INTENT, "w") as file:
                file.write("{")

    inside(lab, forget)
    inside(lab, remove)
    assert look(lab) == before
