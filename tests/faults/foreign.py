"""Labs that podwire did not wire: nodes and underlay are podwire's, all else is by hand or by Go's reference plugins.

Backends are written with ``ip`` and ``bridge`` as flannel does it (permanent neighbours, FDB entries, onlink routes),
as a mesh that learns, or as plain routes; pods are attached by the plugins of Debian's containernetworking-plugins,
called as a runtime calls them. The declared cluster is for breaking alone: what explains gets an inventory of wrong
values, and finds no record of podwire's.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Sequence, Tuple

from podwire.errors import PodwireError
from podwire.explain import Explanation, explain
from podwire.explain.commands import FLOOD
from podwire.explain.inferred import recorded
from podwire.faults import revert
from podwire.intent.cluster import Cluster
from podwire.intent.inventory import read
from podwire.lab import netns, registry
from podwire.prove.discovery import infer
from podwire.sandbox import sandboxes
from podwire.stages import node as stages

from .labs import Lab, shell

PLUGINS = "/usr/lib/cni"
NETWORK = "cbr0"
_HIDDEN = "/run/hidden"
_PODS = [f"pod-{letter}" for letter in "abcdef"]


class Style(NamedTuple):
    """How a foreign cluster is set up.

    ``backend``: ``flannel``, ``mesh`` or ``routes``. ``cached``: whether the runtime keeps what CNI answered, as
    containerd and CRI-O do by libcni; one that calls plugins by itself does not.
    """

    backend: str = "flannel"
    cached: bool = True
    hairpin: bool = False


STYLES: Dict[str, Style] = {
    "flannel": Style(),
    "uncached": Style(cached=False, hairpin=True),
    "mesh": Style("mesh"),
    "routes": Style("routes"),
}
#: Nothing that is declared may reach a diagnosis: these values are all wrong.
_WRONG: Mapping[str, Any] = {
    "pods": "discover",
    "cluster_cidrs": ["10.200.0.0/16"],
    "backend": {"type": "vxlan", "vni": 99, "port": 9999},
    "cni": {"name": "wrong", "bridge": "wrong0"},
}


class ForeignLab(Lab):
    """A running lab of nodes that somebody else wired."""

    def __init__(self, style: str) -> None:
        source = f"/tmp/foreign-{style}-{os.urandom(4).hex()}/hosts.yml"
        hosts = [f"node-{number}" for number in range(1, 4)]
        self.style = STYLES[style]
        backend = {"type": "host-gw" if self.style.backend == "routes" else "vxlan"}
        cni = {"name": NETWORK, "plugin_dirs": [PLUGINS]}
        self.found = read(dict.fromkeys(hosts, _WRONG), source=source)
        super().__init__(read(dict.fromkeys(hosts, {"backend": backend, "cni": cni, "pods": _PODS}), source=source))

    def build(self) -> None:
        folder = Path(registry.plugin_dir(self.cluster.id))
        for each in folder.iterdir():  # flannel leaves its plugin there, and others are elsewhere
            if each.is_file() and each.name != "flannel":
                each.unlink()
        netns.present(self.cluster)
        for node in self.cluster.nodes:
            self.addresses.update(self.call(node.name, wire, self.cluster, node.name, self.style))

    def explain(self) -> Explanation:
        """What explain.yml does with ``-e pods=discover``; records of podwire's are out of its sight."""
        names = [node.name for node in self.cluster.nodes]
        for name in names:
            self.call(name, os.renames, sandboxes.RECORDS, _HIDDEN)
        try:
            with ThreadPoolExecutor(len(names)) as pool:
                looked = pool.map(lambda name: self.call(name, stages.discover, self.found, name, {}, False), names)
                found = _as_json({name: each["found"] for name, each in zip(names, looked)})
                told = pool.map(
                    lambda name: self.call(name, stages.evidence, self.found, name, {"found": found}, False), names
                )
                evidence = _as_json({name: each["evidence"] for name, each in zip(names, told)})
        finally:
            for name in names:
                self.call(name, stages.discover, self.found, name, {"state": "absent"}, False)
                self.call(name, os.renames, _HIDDEN, sandboxes.RECORDS)
        cluster, addresses, _, notes = infer(self.found, recorded(found))
        return explain(cluster, addresses, evidence, notes)

    def lacking(self, name: str, node: str) -> str:
        if self.style.backend == "mesh" and name in ("subnet_env_missing", "subnet_env_stale", "duplicate_pod_cidr"):
            return "there is no flannel, and no lease file of its"
        return super().lacking(name, node)

    def mend(self, node: str, *names: str) -> List[Tuple[str, revert.Done]]:
        try:
            return super().mend(node, *names)
        except PodwireError:
            # The pair that a fix made has another name outside, where nobody wrote down the old one.
            self.call(node, shell, f"ip -n {self.cluster.pods_of(node)[0].name} link del eth0")
            return super().mend(node, *names)

    def close(self) -> None:
        netns.absent(self.cluster.id)


def is_installed() -> bool:
    """Whether the machine has Go's plugins."""
    return os.path.exists(f"{PLUGINS}/bridge")


def _as_json(value: Any) -> Any:
    """As it comes from a module."""
    return json.loads(json.dumps(value))


# --- inside a node -------------------------------------------------------------------------------


def wire(cluster: Cluster, node: str, style: Style) -> Dict[str, List[str]]:
    """All of a node by hand; its pods' addresses."""
    said = shell("set -e\n" + "\n".join(_commands(cluster, node, style)))
    assert not said, said
    block = cluster.node(node).pod_cidrs[0]
    if style.backend != "mesh":
        os.makedirs("/run/flannel")
        Path("/run/flannel/subnet.env").write_text(
            f"FLANNEL_NETWORK={cluster.cluster_cidrs[0]}\nFLANNEL_SUBNET={block[1]}/{block.prefixlen}\n"
            "FLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
        )
    plugin = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": style.hairpin,
        "mtu": cluster.mtu,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": str(block)}]], "routes": [{"dst": "0.0.0.0/0"}]},
    }
    network = {"cniVersion": "1.0.0", "name": NETWORK, "plugins": [plugin]}
    text = json.dumps(network, indent=2) + "\n"
    Path("/etc/cni/net.d/10-containerd-net.conflist").write_text(text)
    started = sandboxes.start(cluster.pods_of(node))
    return {name: _attach(each, plugin, text, style.cached) for name, each in started.items()}


def _commands(cluster: Cluster, node: str, style: Style) -> List[str]:
    own = cluster.node(node)
    lines = ["sysctl -qw net.ipv4.ip_forward=1", *_DEVICES[style.backend](cluster, node)]
    for peer in cluster.nodes:
        theirs, at = peer.pod_cidrs[0], peer.addresses[0].ip
        if peer is own:
            continue
        if style.backend == "flannel":
            lines += [
                f"ip neigh replace {theirs[0]} lladdr {_mac(peer.name)} dev flannel.1 nud permanent",
                f"bridge fdb append {_mac(peer.name)} dev flannel.1 dst {at} self permanent",
                f"ip route add {theirs} via {theirs[0]} dev flannel.1 onlink",
            ]
        elif style.backend == "routes":
            lines.append(f"ip route add {theirs} via {at}")
    return lines


def _flannel(cluster: Cluster, node: str) -> List[str]:
    own = cluster.node(node)
    return [
        f"ip link add flannel.1 address {_mac(node)} mtu 1450 "
        f"type vxlan id 1 dev eth0 local {own.addresses[0].ip} dstport 8472 nolearning",
        f"ip address add {own.pod_cidrs[0][0]}/32 dev flannel.1",
        "ip link set flannel.1 up",
    ]


def mesh(cluster: Cluster, node: str, vni: int = 1, port: int = 8472, local: str = "") -> List[str]:
    """A VXLAN device that floods what it does not know to all peers, and learns; with a network of its own."""
    own = cluster.node(node)
    numbers = {each.name: number for number, each in enumerate(cluster.nodes, 1)}
    lines = [
        f"ip link add vx0 address {_mac(node)} mtu 1450 "
        f"type vxlan id {vni} dev eth0 local {local or own.addresses[0].ip} dstport {port}",
        f"ip address add 192.168.99.{numbers[node]}/24 dev vx0",
        "ip link set vx0 up",
    ]
    for peer in cluster.nodes:
        if peer is not own:
            lines += [
                f"bridge fdb append {FLOOD} dev vx0 dst {peer.addresses[0].ip}",
                f"ip route add {peer.pod_cidrs[0]} via 192.168.99.{numbers[peer.name]}",
            ]
    return lines


_DEVICES: Dict[str, Callable[[Cluster, str], List[str]]] = {
    "flannel": _flannel,
    "mesh": mesh,
    "routes": lambda cluster, node: [],
}


def _mac(node: str) -> str:
    return f"5e:0d:00:00:00:{int(node.rpartition('-')[2]):02x}"


def _attach(each: sandboxes.Sandbox, plugin: Mapping[str, Any], text: str, cached: bool) -> List[str]:
    """ADD as libcni calls it, and its cache (libcni/api.go, cacheAdd)."""
    arguments = [["IgnoreUnknown", "1"], ["K8S_POD_NAMESPACE", "default"], ["K8S_POD_NAME", each.pod]]
    call = {
        "CNI_COMMAND": "ADD", "CNI_CONTAINERID": each.container_id, "CNI_IFNAME": "eth0", "CNI_PATH": PLUGINS,
        "CNI_NETNS": each.netns, "CNI_ARGS": ";".join("=".join(pair) for pair in arguments),
    }  # fmt: skip
    conf = json.dumps({"cniVersion": "1.0.0", "name": NETWORK, **plugin})
    command: Sequence[str] = (f"{PLUGINS}/{plugin['type']}",)
    done = subprocess.run(command, input=conf, env={**os.environ, **call}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    if cached:
        os.makedirs("/var/lib/cni/results", exist_ok=True)
        Path(f"/var/lib/cni/results/{NETWORK}-{each.container_id}-eth0").write_text(
            json.dumps(
                {
                    "kind": "cniCacheV1", "containerId": each.container_id, "ifName": "eth0", "networkName": NETWORK,
                    "config": base64.b64encode(text.encode()).decode(), "netns": each.netns, "cniArgs": arguments,
                    "result": result,
                }
            )
        )  # fmt: skip
    return [ip["address"] for ip in result["ips"]]
