"""Snapshots of healthy nodes with a VXLAN backend and pods on bridges, as plain values to be broken by tests."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence

from podwire.backend.vxlan import vtep_mac
from podwire.intent.cluster import Cluster

EMPTY: Dict[str, Any] = {
    "links": [], "addresses": [], "routes": [], "rules": [], "neighbours": [], "fdb": [], "next_hops": [],
    "sysctls": {}, "counters": {},
}  # fmt: skip


def healthy(cluster: Cluster, name: str, addresses: Mapping[str, Sequence[str]]) -> Dict[str, Any]:
    """What ``podwire.observe.snapshot.take`` gives on a node."""
    node = cluster.node(name)
    block, underlay = node.pod_cidrs[0], node.addresses[0]
    pods = [pod.name for pod in cluster.pods_of(name) if addresses.get(pod.name)]
    links = [
        link("eth0", 2, mac=f"02:00:00:00:01:{underlay.ip.packed[3]:02x}"),
        link("cni0", 3, kind="bridge", mtu=1450, mac="02:00:00:00:00:01"),
        link("flannel.1", 4, kind="vxlan", mtu=1450, mac=str(vtep_mac(name, 1, 4))),
    ]
    links[2]["vxlan"] = {"vni": 1, "port": 8472, "local": str(underlay.ip), "device": "eth0"}
    links[2]["vxlan"].update(learning=False, df=False)
    for number in range(len(pods)):
        veth = link(f"veth{number}", 10 + number, kind="veth", mtu=1450)
        links.append({**veth, "link": 2, "link_netnsid": number, "master": "cni0", "port": {"state": "forwarding"}})
    namespace = {
        **EMPTY,
        "links": links,
        "addresses": [
            {"device": "eth0", "address": str(underlay.ip), "prefix": 24},
            {"device": "cni0", "address": str(block[1]), "prefix": block.prefixlen},
            {"device": "flannel.1", "address": str(block[0]), "prefix": 32},
        ],
        "routes": [
            route("0.0.0.0/0", "eth0", "192.168.1.1"),
            *(route(str(each.pod_cidrs[0]), "flannel.1", str(each.pod_cidrs[0][0])) for each in others(cluster, name)),
        ],
        "neighbours": [
            {"device": "flannel.1", "address": str(each.pod_cidrs[0][0]), "state": "permanent", "mac": mac_of(each)}
            for each in others(cluster, name)
        ],
        "fdb": [
            {"device": "flannel.1", "mac": mac_of(each), "destination": str(each.public_ips[0]), "permanent": True}
            for each in others(cluster, name)
        ],
    }
    return {
        "node": name,
        "namespace": namespace,
        "sandboxes": {
            pod: sandbox(pod, number, addresses[pod][0].partition("/")[0]) for number, pod in enumerate(pods)
        },
        "unattached": {},
        "unnamed": [],
        "conflists": [
            {"file": "10-podwire.conflist", "name": "podwire", "version": "1.0.0", "plugins": [bridge(str(block))]}
        ],
        "attachments": [],
        "reservations": {"podwire": {addresses[pod][0].partition("/")[0]: [f"id-{pod}", "eth0"] for pod in pods}},
        "subnet_env": {},
        "seconds": 0.01,
    }


def others(cluster: Cluster, name: str) -> List[Any]:
    return [node for node in cluster.nodes if node.name != name]


def mac_of(node: Any) -> str:
    return str(vtep_mac(node.name, 1, 4))


def bridge(block: str) -> Dict[str, Any]:
    return {"type": "bridge", "bridge": "cni0", "ipam": {"type": "host-local", "ranges": [[{"subnet": block}]]}}


def link(name: str, index: int, kind: str = "", mtu: int = 1500, mac: str = "02:00:00:00:00:09") -> Dict[str, Any]:
    return {"ifindex": index, "name": name, "kind": kind, "mtu": mtu, "mac": mac, "up": True, "state": "up"}


def route(destination: str, device: str, gateway: str) -> Dict[str, Any]:
    row = {"destination": destination, "kind": "unicast", "protocol": 112, "table": 254}
    return {**row, "device": device, "gateway": gateway}


def sandbox(pod: str, nsid: int, ip: str) -> Dict[str, Any]:
    gateway = ip.rpartition(".")[0] + ".1"
    namespace = {
        **EMPTY,
        "links": [{**link("eth0", 2, kind="veth", mtu=1450, mac=f"0a:58:00:00:00:{nsid:02x}"), "link": 10 + nsid,
                   "link_netnsid": 0}],
        "addresses": [{"device": "eth0", "address": ip, "prefix": 24}],
        "routes": [route("0.0.0.0/0", "eth0", gateway)],
        "neighbours": [{"device": "eth0", "address": gateway, "state": "reachable", "mac": "02:00:00:00:00:01"}],
    }  # fmt: skip
    known = {"name": pod, "netns": f"/run/netns/{pod}", "inode": 4026532000 + nsid, "pids": [], "known_by": "podwire"}
    return {**known, "container": f"id-{pod}", "nsid": nsid, "namespace": namespace}


def evidence(snapshot: Dict[str, Any], failures: Sequence[Sequence[str]] = ()) -> Dict[str, Any]:
    """What ``podwire.explain.collect`` gives of a node: ``failures`` are pairs that do not reach each other."""
    nothing: Dict[str, Any] = {"failures": []}
    observations = {
        "snapshot": snapshot, "pairs": {"failures": list(failures)}, "agents": nothing, "nodes": nothing,
        "path_mtu": nothing, "bulk": nothing, "fragments": 0, "absent": [], "second_owners": {}, "strangers": [],
    }  # fmt: skip
    return {
        "observations": observations, "plan": [], "foreign": [], "nft": {}, "hits": [], "cannot": [], "qdiscs": {},
        "filters": [], "plugins": {}, "podwire": [], "policies": {}, "listeners": {}, "oracle": {},
        "limits": {"connections": [0, 9], "neighbours": [0, 0]},
    }  # fmt: skip
