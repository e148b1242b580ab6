"""``podwire inspect``: the nodes and pods of an inventory, and which of them run."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from ..errors import LabError
from ..intent.cluster import Cluster, Node, Pod
from ..lab import registry
from ..sandbox import sandboxes
from ..sandbox.process import pids_inside
from .intent import load

_CACHE = "/var/lib/cni/results"


def inspect(inventory: Optional[str], *, as_json: bool) -> None:
    """Print the nodes and pods."""
    described = describe(load(inventory))
    if as_json:
        print(json.dumps(described, indent=2))
    else:
        sys.stdout.write(_text(described))


def describe(cluster: Cluster) -> Dict[str, List[Dict[str, Any]]]:
    """``{"nodes": [...], "pods": [...]}``; ``mtu`` of a node is the MTU of its pods.

    Process ids are this machine's; null if nothing runs, or if it runs on another machine.
    """
    lab = registry.read(cluster.id)
    if lab and lab.nodes() and os.geteuid() != 0:
        raise LabError(f"failed to inspect lab {cluster.id}: this needs root", "run it by sudo")
    holders = {name: process.pid for name, process in lab.nodes().items()} if lab else {}
    inside = pids_inside(holders[node.name] for node in cluster.nodes if node.name in holders)
    nodes = [
        {
            "name": node.name,
            "kind": node.kind,
            "pid": holders.get(node.name),
            "public_ip": str(node.public_ips[0]) if node.public_ips else None,
            "pod_cidrs": [str(cidr) for cidr in node.pod_cidrs],
            "backend": cluster.backend.type,
            "mtu": cluster.mtu,
        }
        for node in cluster.nodes
    ]
    pods = [_pod(cluster.node(pod.node), pod, holders.get(pod.node), inside) for pod in cluster.pods]
    return {"nodes": nodes, "pods": pods}


def _pod(node: Node, pod: Pod, holder: Optional[int], inside: Mapping[int, Mapping[int, int]]) -> Dict[str, Any]:
    sandbox = _sandbox(holder, pod.name) if holder else None
    pid = inside.get(holder or 0, {}).get(sandbox.pid) if sandbox else None
    ips: List[str] = []
    if sandbox and pid:
        ips = [str(ip) for ip in node.public_ips] if pod.host_network else _addresses(holder, sandbox.container_id)
    return {"name": pod.name, "node": pod.node, "ips": ips, "pid": pid, "host_network": pod.host_network}


def _sandbox(holder: int, pod: str) -> Optional[sandboxes.Sandbox]:
    try:
        return sandboxes.Sandbox(**json.loads(Path(f"/proc/{holder}/root{sandboxes.RECORDS}/{pod}.json").read_text()))
    except (FileNotFoundError, ProcessLookupError):
        return None


def _addresses(holder: Optional[int], container_id: str) -> List[str]:
    """The addresses that CNI gave, from the runtime's cache (libcni's format)."""
    directory = f"/proc/{holder}/root{_CACHE}"
    try:
        names = [name for name in os.listdir(directory) if f"-{container_id}-" in name]
        results = [json.loads(Path(directory, name).read_text())["result"] for name in names]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [ip["address"].partition("/")[0] for result in results for ip in result.get("ips", ())]


def _text(described: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    nodes = [
        [n["name"], n["kind"], n["pid"], n["public_ip"], " ".join(n["pod_cidrs"]), n["backend"], n["mtu"]]
        for n in described["nodes"]
    ]
    pods = [
        [p["name"], p["node"], " ".join(p["ips"]), p["pid"], "yes" if p["host_network"] else "no"]
        for p in described["pods"]
    ]
    return (
        _table(["NODE", "KIND", "PID", "PUBLIC IP", "POD CIDRS", "BACKEND", "MTU"], nodes)
        + "\n"
        + _table(["POD", "NODE", "IPS", "PID", "HOST NETWORK"], pods)
    )


def _table(head: List[str], rows: Sequence[Sequence[Any]]) -> str:
    cells = [head, *([str(cell) if cell not in (None, "") else "-" for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]
    return "\n".join(lines) + "\n"
