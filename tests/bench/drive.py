"""podwire's side of the benches that have no Ansible module of their own: one call a process."""

from __future__ import annotations

import json
import sys
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from podwire.backend import BackendSettings
from podwire.intent.cluster import Cluster, CniSettings, Node, Pod, Port, Segment, Underlay
from podwire.intent.cluster_json import cluster_from_json, cluster_to_json

from .fleet import PODS, UNDERLAY

LAB = "bench-00000000"
_SEGMENT = "lan"


def lab(size: int, pods: int = 0) -> Cluster:
    """``size`` netns nodes on one segment, ``pods`` pods on the first."""
    nodes = []
    for number in range(size):
        address = IPv4Interface((IPv4Address(UNDERLAY + number), 12))
        nodes.append(
            Node(
                name=f"node{number}",
                kind="netns",
                interface="eth0",
                addresses=(address,),
                public_ips=(address.ip,),
                pod_cidrs=(IPv4Network((PODS + (number << 8), 24)),),
                ports=(Port(_SEGMENT, "eth0", (address,)),),
            )
        )
    return Cluster(
        id=LAB,
        cluster_cidrs=(IPv4Network("10.0.0.0/8"),),
        service_cidrs=(IPv4Network("192.168.0.0/16"),),
        node_prefix_lengths=(24,),
        backend=BackendSettings(),
        cni=CniSettings(),
        masquerade=True,
        nodes=tuple(nodes),
        pods=tuple(Pod(f"pod{number}", "node0") for number in range(pods)),
        underlay=Underlay((Segment(_SEGMENT, (IPv4Network("172.16.0.0/12"),)),)),
    )


def load(path: str) -> Cluster:
    """An intent as ``podwire_declare`` writes it."""
    with open(path) as file:
        return cluster_from_json(json.load(file))


def main(verb: str, path: str, *numbers: str) -> None:
    """``intent PATH NODES [PODS]`` writes one; the others do the work that is measured."""
    if verb == "intent":
        with open(path, "w") as file:
            json.dump(cluster_to_json(lab(*map(int, numbers))), file)
    elif verb == "converge":
        from podwire.stages.node import run_in_module

        run_in_module("node", {"intent": path, "node": "node0"}, check=False, diff=False)
    elif verb == "nodes":
        from podwire.lab import netns

        netns.present(load(path))
    elif verb == "pids":
        from podwire.lab import registry

        with open(f"{path}.pids", "w") as file:
            json.dump([registry.node_pid(LAB, node.name) for node in load(path).nodes], file)
    elif verb == "sandboxes":
        from podwire.sandbox import sandboxes

        sandboxes.start(load(path).pods_of("node0"))
    elif verb == "pods":
        from podwire.sandbox import pods

        pods.reconcile(load(path), "node0")


if __name__ == "__main__":
    main(*sys.argv[1:])
