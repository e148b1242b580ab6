"""Labs to break, and the way to break them: what the doors do, without Ansible."""

from __future__ import annotations

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

from podwire.explain import Cause, Explanation, ask, explain
from podwire.explain.collect import collect
from podwire.explain.trace_probe import look
from podwire.faults import engine, revert
from podwire.faults.attach import PLUGIN_DIR
from podwire.faults.catalogue import CATALOGUE
from podwire.faults.context import Context
from podwire.faults.namespaces import Namespaces
from podwire.faults.namespaces import look as look_at
from podwire.faults.places import MACHINE, UNDERLAY
from podwire.faults.symptom import Expected
from podwire.intent import underlay
from podwire.intent.cluster import Cluster
from podwire.intent.inventory import read
from podwire.kernel import Namespace, enter
from podwire.lab import netns, registry
from podwire.model.command import script
from podwire.model.state import State
from podwire.sandbox import sandboxes
from podwire.stages import node as stages
from podwire.stages.controller.lab import plugins

#: A lab of each kind that some fault needs: variables of its inventory.
KINDS: Dict[str, Dict[str, Any]] = {
    "vxlan": {
        "pods": [*(f"pod-{letter}" for letter in "abcdef"), {"name": "agent", "node": "node-1", "hostNetwork": True}]
    },
    "host-gw": {"backend": {"type": "host-gw"}},
    "dual-stack": {
        "cluster_cidrs": ["10.244.0.0/16", "fd00:10:244::/48"],
        "service_cidrs": ["10.96.0.0/16", "fd00:10:96::/112"],
        "node_prefix_length": {"ipv4": 24, "ipv6": 64},
        "underlay": {"segments": {"underlay": {"cidrs": ["172.30.0.0/16", "fd00:30::/64"]}}},
    },
}
_NEEDS = {"next_hop_not_adjacent": "host-gw"}


def kind_for(name: str) -> str:
    """The kind of lab that a fault is injected in."""
    return _NEEDS.get(name, "vxlan")


class Lab:
    """A running lab of a few nodes."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.addresses: Dict[str, List[str]] = {}
        plugins(cluster, False)
        try:
            self.build()
        except BaseException:
            self.close()
            raise

    def build(self) -> None:
        """Nodes, their networks and pods."""
        netns.present(self.cluster)
        for node in self.cluster.nodes:
            self.converge(node.name)

    def converge(self, node: str) -> bool:
        """What site.yml does on a node; whether anything was changed."""
        done = [self.call(node, stage, self.cluster, node, {}, False) for stage in (stages.node, stages.attach)]
        self.addresses.update(done[1]["pods"])
        return any(each["changed"] for each in done)

    def pid(self, name: str) -> int:
        """The process that holds a namespace."""
        lab = registry.read(self.cluster.id)
        assert lab is not None
        return lab.processes[name].pid

    def call(self, node: str, function: Any, *arguments: Any) -> Any:
        """A function inside a node."""
        return enter.call(self.pid(node), function, *arguments)

    def within(self, node: str, function: Any, *arguments: Any) -> Any:
        """A function inside a node that gets the node's namespaces first, with the switch and the machine among
        them."""
        with ExitStack() as stack:
            paths = {UNDERLAY: f"/proc/{self.pid(underlay.SWITCH)}/ns/net", MACHINE: "/proc/self/ns/net"}
            given = {place: stack.enter_context(Namespace.open(path, place)) for place, path in paths.items()}
            return self.call(node, _with_places, given, function, *arguments)

    def inject(
        self, name: str, node: str, peer: Optional[str] = None, pod: Optional[str] = None, blind: bool = False
    ) -> revert.Done:
        """Break a node."""
        return self.within(node, _inject, self.cluster, node, self.addresses, name, peer, pod, blind)  # type: ignore[no-any-return]

    def mend(self, node: str, *names: str) -> List[Tuple[str, revert.Done]]:
        """Mend a node."""
        return self.within(node, revert.mend, names)  # type: ignore[no-any-return]

    def lacking(self, name: str, node: str) -> str:
        """Why a fault cannot be injected."""
        return self.within(node, _lacking, self.cluster, node, self.addresses, name)  # type: ignore[no-any-return]

    def states(self, node: str) -> Dict[str, Any]:
        """All there is of a node, its pods and the switch: objects, rules, files, flags of ports."""
        return self.within(node, _states, self.cluster)  # type: ignore[no-any-return]

    def explain(self) -> Explanation:
        """What explain.yml does: evidence of all nodes at once, traced probes where they are asked for, a diagnosis."""
        names = [node.name for node in self.cluster.nodes]
        with ThreadPoolExecutor(len(names)) as pool:
            found = pool.map(lambda name: self.call(name, collect, self.cluster, name, self.addresses), names)
            told = dict(zip(names, found))
            asked = ask(self.cluster, self.addresses, told)
            looks = pool.map(lambda name: self.call(name, look, name, asked[name]), asked)
            return explain(self.cluster, self.addresses, told, looks=dict(zip(asked, looks)))

    def execute(self, cause: Cause) -> str:
        """A cause's fix as it was printed, on the node or on the switch; what it says where it fails."""
        where = underlay.SWITCH if cause.place == UNDERLAY else cause.node
        said = self.call(where, shell, script(cause.fix)) if cause.fix else ""
        if cause.id == "host_port_clash":  # the port is free; the server itself only podwire can start again
            self.converge(cause.node)
        return str(said)

    def close(self) -> None:
        """Remove it."""
        netns.absent(self.cluster.id)


def make(name: str, hosts: int = 3, **variables: Any) -> Lab:
    """A lab of some nodes under an id of its own."""
    source = f"/tmp/{name}-{os.urandom(4).hex()}/hosts.yml"
    return Lab(read({f"node-{number}": variables for number in range(1, hosts + 1)}, source=source))


def _with_places(given: Mapping[str, Namespace], function: Any, *arguments: Any) -> Any:
    with Namespaces(given) as namespaces:
        return function(namespaces, *arguments)


def _inject(
    namespaces: Namespaces,
    cluster: Cluster,
    node: str,
    addresses: Any,
    name: str,
    peer: Optional[str],
    pod: Optional[str],
    blind: bool,
) -> revert.Done:
    return engine.inject(CATALOGUE[name], Context(cluster, node, addresses, namespaces, peer, pod), blind=blind)


def _lacking(namespaces: Namespaces, cluster: Cluster, node: str, addresses: Any, name: str) -> str:
    return engine.refuse(CATALOGUE[name], Context(cluster, node, addresses, namespaces), host_wide=False)


def _states(namespaces: Namespaces, cluster: Cluster) -> Dict[str, Any]:
    blocks = [block for node in cluster.nodes for block in node.pod_cidrs]
    names = ["node", UNDERLAY, *(f"pod:{name}" for name, each in sandboxes.running().items() if not each.host_network)]
    keys = (
        "net/ipv4/ip_forward",
        "net/ipv4/conf/all/rp_filter",
        "net/bridge/bridge-nf-call-iptables",
        "net/ipv4/conf/cni0/arp_ignore",
    )
    found: Dict[str, Any] = {name: look_at(namespaces[name], keys, blocks) for name in names}
    found.update({f"{name} rules": _rules(namespaces[name]) for name in names})
    ports = re.sub(r"(?m)^\d+: (\S+?)@\S+", r"\1", _output(namespaces["node"], "bridge", "-d", "link", "show"))
    found["ports"] = sorted(each.split() for each in re.split(r"\n(?=\S)", ports))
    entries = _output(namespaces["node"], "bridge", "fdb", "show").splitlines()
    found["servers"] = sorted(sandboxes.running())
    found["pinned"] = sorted(line for line in entries if "sticky" in line)
    found["policy rules"] = _output(namespaces["node"], "ip", "rule")
    found["qdiscs"] = sorted(
        line.split(" refcnt")[0] for line in _output(namespaces["node"], "tc", "qdisc").splitlines()
    )
    found["files"] = {
        path: Path(path).read_bytes()
        for top in ("/etc/cni", "/etc/podwire", "/run/flannel", "/var/lib/cni/networks")
        for where, _, files in os.walk(top)
        for path in (os.path.join(where, file) for file in files)
        if "last_reserved" not in path and ".podwire" not in path
    }
    plugins = [
        os.path.join(directory, name)
        for directory in cluster.cni.plugin_dirs or (PLUGIN_DIR,)
        for name in os.listdir(directory)
    ]
    found["plugins"] = {path: os.stat(path).st_mode for path in plugins}
    found["journal"] = (
        [name for name in os.listdir("/var/lib/podwire/faults") if name != "lock"]
        if os.path.isdir("/var/lib/podwire/faults")
        else []
    )
    return found


def _rules(namespace: Namespace) -> str:
    return _output(namespace, "nft", "-s", "list", "ruleset")


def _output(namespace: Namespace, *command: str) -> str:
    from podwire.faults.resource import run

    return run(namespace, command)


def differences(one: Dict[str, Any], other: Dict[str, Any]) -> List[str]:
    """What differs between two readings, in words."""
    found = []
    for name in sorted(one.keys() | other.keys()):
        a, b = one.get(name), other.get(name)
        if isinstance(a, State) and isinstance(b, State):
            found += [f"{name}: - {each}" for each in sorted(set(a.objects()) - set(b.objects()), key=str)]
            found += [f"{name}: + {each}" for each in sorted(set(b.objects()) - set(a.objects()), key=str)]
        elif isinstance(a, dict) and isinstance(b, dict):
            found += [f"{name}: {each[0]}: {each[1]!r}" for each in sorted(a.items() ^ b.items(), key=str)]
        elif isinstance(a, list) and isinstance(b, list):
            found += [f"{name}: - {each}" for each in a if each not in b]
            found += [f"{name}: + {each}" for each in b if each not in a]
        elif a != b:
            found.append(f"{name}: {a!r} became {b!r}")
    return found


def check_explained(lab: Lab, name: str, node: str) -> None:
    """A fault of the catalogue is the only cause found, with its object, and the fix mends when it is executed."""
    healthy = lab.states(node)
    expects = lab.inject(name, node).expects
    assert expects is not None
    try:
        broken = lab.states(node)
        found = lab.explain()
        assert differences(broken, lab.states(node)) == [], "explain changed something"
        assert [each.id for each in found.causes] == [expects.cause]
        assert names(found.causes[0], expects), found.causes[0]
        check_fix(lab, found)
    finally:
        lab.mend(node)
    assert differences(healthy, lab.states(node)) == []


def check_fix(lab: Lab, found: Explanation) -> None:
    """The first cause's fix mends all that fails."""
    assert found.unexplained == ()
    assert lab.execute(found.causes[0]) == ""
    after = lab.explain()
    assert (after.causes, after.failing) == ((), {})


def shell(command: str) -> str:
    """A command of bash; what it says where it fails."""
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    return done.stderr.strip() or f"status {done.returncode}" if done.returncode else ""


def names(cause: Cause, expects: Expected) -> bool:
    """Whether a cause is the one that was injected, and names the object that was."""
    if (cause.id, cause.node) != (expects.cause, expects.node):
        return False
    pods = (cause.place.startswith("pod:"), expects.place.startswith("pod:"))
    # Of others' pods the name begins with the node's, and with Kubernetes' namespace where a runtime told it.
    if all(pods) and re.split(r"[:/.]", cause.place)[-1] != expects.place.partition(":")[2]:
        return False
    words = set(cause.object.split())
    if words & {"process"}:
        return expects.found.startswith("process ")
    told = [text for text in (expects.wanted, expects.found) if text]
    return any(
        words <= set(text.split()) or (cause.object[-1] == "/" and text.startswith(cause.object)) for text in told
    )
