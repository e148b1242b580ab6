"""This podwire takes over a lab that the podwire before the redesign built: its nodes, pods, agent and faults."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Dict, List

import pytest

from podwire.agent import intent_store, unit
from podwire.agent.apply import apply
from podwire.intent.inventory import read
from podwire.kernel import enter
from podwire.lab import netns, registry
from podwire.sandbox import sandboxes
from podwire.stages import library, removal
from podwire.stages import node as stages

from ..faults.labs import KINDS, Lab, differences
from .labs import wait_until
from .older import CLI, python, unpack

#: The last podwire before modules, files and names were moved.
OLD = "7f04e8c"
NODE, PEER = "node-1", "node-2"
HOSTS = dict.fromkeys((NODE, PEER), KINDS["vxlan"])
#: The old code builds a lab and says its pods' addresses, then injects the fault of each line that it is given and says
#: what the fault's probe says, or why it cannot be. Arguments: the code's root, the inventory's path.
_OLD_LAB = """
import json, sys
root, source = sys.argv[1:]
sys.path.insert(0, root)
import podwire
assert podwire.__file__.startswith(root)
from podwire.inventory import read
from tests.faults.labs import KINDS, Lab
lab = Lab(read({name: KINDS["vxlan"] for name in ("node-1", "node-2")}, source=source))
print(json.dumps(lab.addresses), flush=True)
for fault in map(str.strip, sys.stdin):
    print(json.dumps(lab.lacking(fault, "node-1") or lab.inject(fault, "node-1").said), flush=True)
"""
#: For each kind of resource that a journal holds a fault that writes one.
FAULTS = {
    "sysctl": "ip_forward_off",
    "route": "route_missing",
    "neighbour": "vxlan_neighbour_missing",
    "fdb": "vxlan_fdb_missing",
    "link made anew": "vni_mismatch",
    "veth pair": "veth_deleted",
    "address": "cidr_overlap",
    "link of the underlay": "underlay_mtu_low",
    "file": "cni_conf_malformed",
    "nftables table": "forward_dropped",
    "nftables table of a pod": "pod_firewall",
    "policy rule": "policy_rule",
    "flag of a bridge port": "port_disabled",
    "pinned fdb entry": "fdb_pinned_to_wrong_port",
    "queueing discipline": "link_slow",
    "plugin": "cni_binary_missing",
    "process with a namespace": "orphan_namespace",
    "pod's server, process with a port": "host_port_clash",
}


class OldLab(Lab):
    """A lab that the old code in a directory builds."""

    def __init__(self, old: Path, source: str) -> None:
        self.old = old
        command = [sys.executable, "-I", "-c", _OLD_LAB, str(old), source]
        self.builder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        super().__init__(read(HOSTS, source=source))

    def build(self) -> None:
        self.addresses = self._answer()

    def old_inject(self, name: str) -> str:
        """Inject a fault with the old code; what its probe says, or why it cannot be."""
        assert self.builder.stdin
        self.builder.stdin.write(f"{name}\n")
        self.builder.stdin.flush()
        return str(self._answer())

    def close(self) -> None:
        with self.builder:
            self.builder.kill()
        super().close()

    def _answer(self) -> Any:
        assert self.builder.stdout
        line = self.builder.stdout.readline()
        assert line, "the old code failed; its traceback is above"
        return json.loads(line)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OldLab]:
    old = unpack(OLD, tmp_path_factory.mktemp("old"), "podwire", "tests")
    made = OldLab(old, str(tmp_path_factory.mktemp("inventory") / "hosts.yml"))
    yield made
    made.close()


def containers(lab: OldLab) -> Dict[str, Any]:
    return {
        name: {pod: (sandbox.container_id, sandbox.pid) for pod, sandbox in lab.call(name, sandboxes.running).items()}
        for name in HOSTS
    }


def test_a_lab_of_the_old_code_needs_no_change(lab: OldLab) -> None:
    """Nodes, networks and pods are taken for what they are: running pods keep their addresses, and all is well."""
    pods, states = containers(lab), lab.states(NODE)
    assert {pod for running in pods.values() for pod in running} == {pod.name for pod in lab.cluster.pods}
    for check in (True, False):
        assert netns.present(lab.cluster, check=check).lines == ()
        for name in HOSTS:
            for stage in ("node", "attach"):
                answer = lab.call(name, stages.STAGES[stage], lab.cluster, name, {"diff": True}, check)
                assert answer["diff"] == [], answer["diff"][0]["prepared"]
    assert containers(lab) == pods
    assert differences(states, lab.states(NODE)) == []
    for name in HOSTS:
        answer = lab.call(name, stages.STAGES["pod_info"], lab.cluster, name, {}, False)
        assert answer["pods"] == {pod: lab.addresses[pod] for pod in answer["pods"]}
        assert lab.call(name, lambda: apply(check=True)) == []
    explained = lab.explain()
    assert (explained.causes, explained.failing) == ((), {})


@pytest.mark.parametrize("name", list(FAULTS.values()), ids=[kind.replace(" ", "-") for kind in FAULTS])
def test_a_fault_of_the_old_code_is_repaired_exactly(lab: OldLab, name: str) -> None:
    healthy = lab.states(NODE)
    said = lab.old_inject(name)
    if not lab.states(NODE)["journal"]:
        pytest.skip(f"{name} cannot be injected: {said}")
    assert differences(healthy, lab.states(NODE)) != []
    ((repaired, done),) = lab.mend(NODE)
    assert repaired == name
    assert done.lines
    assert done.said in ("", "ok", *(("lost", "unreachable") if name == "orphan_namespace" else ())), done.probe
    # The kernel takes its time with the namespace of a process that ended.
    wait_until(lambda: differences(healthy, lab.states(NODE)) == [])


def test_an_agent_of_the_old_code_lives_with_the_new_stages(lab: OldLab) -> None:
    """Until it is restarted it reads the new code's intent, rests while faults are journaled, and ends cleanly."""
    reader, writer = os.pipe()

    def become() -> int:
        os.dup2(writer, 1)
        os.dup2(writer, 2)
        os.chdir("/")
        os.execv(sys.executable, [sys.executable, "-I", "-c", CLI, str(lab.old), "apply", "--watch"])

    def line_with(text: str) -> str:
        heard = ""
        while text not in heard:
            assert select.select([reader], [], [], 20)[0], f"no {text!r} within 20 s, only {heard!r}"
            more = os.read(reader, 65536).decode()
            assert more, f"it ended: {heard}"
            heard += more
        return heard

    agent = enter.fork_into(lab.pid(NODE), become)
    os.close(writer)
    try:
        line_with("watching")
        healthy = lab.states(NODE)
        assert not lab.converge(NODE)
        lab.inject("route_missing", NODE)
        assert "resting" in line_with("resting")
        assert [name for name, _ in lab.mend(NODE)] == ["route_missing"]
        lab.call(NODE, lambda: os.unlink(intent_store.INTENT))
        assert lab.converge(NODE)
        lab.call(NODE, lambda: os.system("ip link delete flannel.1"))
        line_with("+ link flannel.1")
        wait_until(lambda: lab.call(NODE, lambda: apply(check=True)) == [])
        assert differences(healthy, lab.states(NODE)) == []
    finally:
        os.kill(agent, signal.SIGTERM)
        status = os.waitpid(agent, 0)[1]
        os.close(reader)
    assert status == 0, "it did not end cleanly"


_OLD_LIBRARY = """
import sys
root, home, command = sys.argv[1:]
sys.path.insert(0, root)
from podwire.doors import library
from podwire.upkeep import unit
library.install(library.pack("/run"), library.digest(), home)
unit.LIBRARY, unit.COMMAND = home + "/lib", command
assert unit.install()
"""


def test_what_the_old_code_installed_is_upgraded_and_removed(lab: OldLab) -> None:
    """On the node: the library and the command, and at the end a reset with a fault that still stands."""
    home = "/run/opt/podwire"  # a lab's node shows this machine's own /opt
    paths = ("/etc/podwire", "/var/lib/podwire", "/var/lib/cni/networks", "/var/lib/cni/results", "/run/podwire/pods")

    def relocate() -> None:
        library.HOME = unit.HOME = home
        setattr(removal, "HOME", home)  # noqa: B010  # imported there, and not exported
        unit.LIBRARY, unit.COMMAND = f"{home}/lib", f"{home}/podwire"

    def upgrade() -> List[str]:
        relocate()
        python(_OLD_LIBRARY, str(lab.old), home, unit.COMMAND)
        first = os.path.realpath(unit.LIBRARY)
        library.install(library.pack("/run"), library.digest(), home)
        lines = unit.install()
        second = os.path.realpath(unit.LIBRARY)
        assert first != second
        assert os.path.isdir(first), "whoever runs on it keeps it"
        assert os.popen(f"{unit.COMMAND} apply --check 2>&1").read() == ""
        return lines

    def reset() -> Dict[str, Any]:
        relocate()
        answer = removal.remove("/run/no-plugins")
        left = [path for path in (*paths, home, "/run/flannel") if os.path.exists(path)]
        links = os.listdir("/sys/class/net")
        rules = os.popen("nft list ruleset; ip route; ip neigh show nud permanent").read()
        return {"answer": answer, "left": left, "links": links, "rules": rules, "again": removal.remove("/run/none")}

    lab.call(NODE, upgrade)
    lab.old_inject("cni_conf_malformed")
    found = lab.call(NODE, reset)
    assert "cni_conf_malformed: node: ~ file /etc/cni/net.d/" in found["answer"]["diff"][0]["prepared"]
    assert found["left"] == []
    assert sorted(found["links"]) == ["eth0", "lo"]
    assert "10.244." not in found["rules"]
    assert not found["again"]["changed"]


def test_the_lab_of_the_old_code_is_removed_whole(lab: OldLab) -> None:
    running = registry.read(lab.cluster.id)
    assert running is not None
    pids = [process.pid for process in running.processes.values()]
    assert len(pids) == len(HOSTS) + 1
    lab.close()
    assert not os.path.exists(registry.run_dir(lab.cluster.id))
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}/ns/net") and os.path.exists(f"/proc/{pid}/exe")]
