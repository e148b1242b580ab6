"""Every node's /etc/hosts, so that nodes find each other by name."""

from __future__ import annotations

from typing import List, Mapping

from ..intent.cluster import Cluster


def name_nodes(cluster: Cluster, pids: Mapping[str, int], *, check: bool) -> List[str]:
    """Write the /etc/hosts, which is private to each, of the nodes whose first processes are ``pids``."""
    names = [f"{address}\t{node.name}" for node in cluster.nodes for address in node.public_ips]
    content = "\n".join(["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback", *names, ""])
    lines = []
    for name, pid in pids.items():
        path = f"/proc/{pid}/root/etc/hosts"
        with open(path, encoding="utf-8") as file:
            if file.read() == content:
                continue
        lines.append(f"{name}: ~ file /etc/hosts")
        if not check:
            with open(path, "w", encoding="utf-8") as file:
                file.write(content)
    return lines
