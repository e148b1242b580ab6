"""verify.yml on pods that podwire did not make: wired by hand with ip, and by Go's reference plugins."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Iterator

import pytest

from podwire.kernel import enter
from podwire.lab import netns
from podwire.lab.registry import state_dir
from podwire.prove.responders import RECORD

from .playbooks import Playbooks, link, processes

PLUGINS = "/usr/lib/cni"
NODES = ("node-1", "node-2", "node-3")
BY_HAND = """
ip link add br0 type bridge
ip link set br0 mtu 1450 up
ip address add 10.244.{n}.1/24 dev br0
"""
POD_BY_HAND = """
ip netns add hand-{i}
ip link add v{i} mtu 1450 type veth peer name eth0 mtu 1450 netns hand-{i}
ip link set v{i} master br0 up
ip -n hand-{i} link set lo up
ip -n hand-{i} link set eth0 up
ip -n hand-{i} address add 10.244.{n}.{i}/24 dev eth0
ip -n hand-{i} route add default via 10.244.{n}.1
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playbooks]:
    """Nodes with a VXLAN backend, and no pods of podwire's; their CNI configuration is taken away."""
    folder = tmp_path_factory.mktemp("foreign")
    inventory, scratch = folder / "foreign", folder / "ansible"
    scratch.mkdir()
    inventory.mkdir()
    variables = {
        "ansible_connection": "netns",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "pods": 0,
    }
    hosts = {"all": {"hosts": dict.fromkeys(NODES, {}), "vars": variables}}
    (inventory / "hosts.json").write_text(json.dumps(hosts))
    made = Playbooks(inventory, scratch)
    try:
        made.run("site.yml")
        yield made
    finally:
        netns.absent(made.id)


def inside(lab: Playbooks, node: str, commands: str) -> None:
    def run() -> None:
        subprocess.run(["sh", "-e", "-c", commands], check=True)

    enter.call(lab.node(node), run)


def by_go(number: int) -> None:
    """Inside a node: what a runtime does with the list that it finds in /etc/cni/net.d."""
    ipam = {"type": "host-local", "ranges": [[{"subnet": f"10.244.{number}.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {"type": "bridge", "bridge": "cni7", "isGateway": True, "mtu": 1450, "ipam": ipam}
    conf = {"cniVersion": "1.0.0", "name": "gonet", **bridge}
    Path("/etc/cni/net.d/10-gonet.conf").write_text(json.dumps(conf))
    for pod in ("cni-a", "cni-b"):
        subprocess.run(["ip", "netns", "add", pod], check=True)
        call = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": f"id-{pod}", "CNI_IFNAME": "eth0", "CNI_PATH": PLUGINS}
        environment = {**os.environ, **call, "CNI_NETNS": f"/run/netns/{pod}"}
        command = [f"{PLUGINS}/bridge"]
        subprocess.run(
            command, input=json.dumps(conf), env=environment, check=True, text=True, stdout=subprocess.DEVNULL
        )


def test_pods_wired_by_hand(lab: Playbooks) -> None:
    for number, node in enumerate(NODES):
        pods = "".join(POD_BY_HAND.format(n=number, i=i) for i in (2, 3))
        inside(lab, node, BY_HAND.format(n=number) + pods)
    try:
        run = lab.run("playbooks/verify.yml", "-e", "pods=discover", "-e", "throughput=true")
        assert "30 of 30 pairs" in run.output and "\nFAILED" not in run.output
        assert "6 of 6 measurements" in run.output and "of the underlay)" in run.output
        assert "inferred: 6 pods found by their network namespaces on 3 nodes" in run.output
        assert left_behind(lab) == []
        inside(lab, "node-2", "ip link set v3 mtu 1400; ip -n hand-3 link set eth0 mtu 1400")
        broken = lab.run("playbooks/verify.yml", "-e", "pods=discover", status=2)
        assert "to and from node-2/hand-3: 10" in broken.output
        assert "the path MTU is 1400" in broken.output
        inside(lab, "node-1", "bridge fdb | sed -n 's/ dst 172.30.0.13 self permanent//p' | xargs -L 1 bridge fdb del")
        assert explained(lab) == {"vxlan_fdb_missing": "node-1", "pod_mtu_wrong": "node-2"}
        assert explained(lab) == {}, "the fixes were executed as printed"
        assert left_behind(lab) == [], "after a failure too"
    finally:
        for node in NODES:
            inside(lab, node, "ip netns delete hand-2; ip netns delete hand-3; ip link delete br0")


def test_nothing_found_is_nothing_proven(lab: Playbooks) -> None:
    assert "NOT RUN every pod" in lab.run("playbooks/verify.yml", "-e", "pods=discover", status=2).output


@pytest.mark.skipif(
    not os.path.exists(f"{PLUGINS}/bridge"), reason="needs Go's plugins: apt-get install containernetworking-plugins"
)
def test_pods_wired_by_gos_plugins(lab: Playbooks) -> None:
    for number, node in enumerate(NODES):
        enter.call(lab.node(node), by_go, number)
    run = lab.run("playbooks/verify.yml", "-e", "pods=discover")
    assert "30 of 30 pairs" in run.output and "\nFAILED" not in run.output
    assert "12 of 12 checks" in run.output, "reservations of both nodes' pods"
    assert "inferred: pod CIDRs from CNI configuration" in run.output
    inside(lab, "node-1", "ip route flush 10.244.2.0/24; ip -n cni-b route del default")
    assert explained(lab) == {"route_missing": "node-1", "pod_routes_lost": "node-1"}
    assert explained(lab) == {}, "the fixes were executed as printed"
    inside(lab, "node-3", "ip netns delete cni-a")
    broken = lab.run("playbooks/verify.yml", "-e", "pods=discover", status=2)
    assert "is allocated to container id-cni-a, which is gone" in broken.output
    assert left_behind(lab) == []


def explained(lab: Playbooks) -> dict[str, str]:
    """The causes that explain.yml names, and their nodes; each fix is executed as it is printed."""
    output = lab.run("playbooks/explain.yml", "-e", "pods=discover").output
    assert "inferred: what nodes should have of each other from what most of them have" in output
    found = json.loads(Path(state_dir(lab.id), "results", "causes.json").read_text())
    assert found["unexplained"] == []
    for cause in found["causes"]:
        assert cause["fix"] in output
        inside(lab, cause["node"], cause["fix"])
    return {cause["id"]: cause["node"] for cause in found["causes"]}


def left_behind(lab: Playbooks) -> list[str]:
    """Processes in the pods' namespaces, and the record of those that answered there."""
    nodes = [lab.node(node) for node in NODES]
    spaces = {link(pid, "pid") for pid in nodes}
    inside = [pid for pid in processes() if link(pid, "pid") in spaces and pid not in nodes]
    return [str(pid) for pid in inside] + [f for pid in nodes if os.path.exists(f := f"/proc/{pid}/root{RECORD}")]
