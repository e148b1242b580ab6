"""Create and remove a lab's nodes and underlay."""

from __future__ import annotations

from typing import Callable, Sequence

from ...intent.cluster import Cluster
from ...intent.cluster_json import cluster_to_json
from ...intent.ids import cluster_id
from ...lab import docker, netns, registry
from ...lab.image import Image
from .. import Result, diff_result
from ..node import install_plugins


def plugins(cluster: Cluster, check: bool) -> Result:
    """Install the CNI plugins that the lab's nodes see in /opt/cni/bin: once for all of them."""
    return install_plugins(registry.plugin_dir(cluster.id), check=check)


def present(
    cluster: Cluster, hosts: Sequence[str], image: Image, check: bool, report: Callable[[str], None] = lambda _: None
) -> Result:
    """Create the lab's nodes and underlay, and before them the CNI plugins that nodes of kind netns share.

    ``hosts`` are those that this run is limited to, ``image`` is what nodes of kind docker run, ``report`` is called
    with the progress (see docker.present).
    """
    kinds = {node.kind for node in cluster.nodes}
    if kinds == {"ssh"}:
        if not check:
            registry.write_intent(cluster.id, cluster_to_json(cluster))
        return {"changed": False}
    installed: Result = plugins(cluster, check) if "netns" in kinds else {"changed": False, "diff": []}
    limit = None if {node.name for node in cluster.nodes} <= set(hosts) else set(hosts)
    lines = netns.present(cluster, limit=limit, check=check).lines
    lines += docker.present(cluster, limit=limit, check=check, image=image, tell=report).lines
    created = diff_result(lines, f"lab {cluster.id}")
    return {"changed": installed["changed"] or created["changed"], "diff": [*installed["diff"], *created["diff"]]}


def absent(source: str, check: bool) -> Result:
    """Remove what was created for the inventory at ``source``, also if that cannot be read any more."""
    identity = cluster_id(source)
    lines = docker.absent(identity, check=check).lines + netns.absent(identity, check=check).lines
    return diff_result(lines, f"lab {identity}")


def leave(cluster: Cluster, names: Sequence[str], check: bool) -> Result:
    """Remove the nodes ``names``; ``cluster`` is what stays."""
    lines = netns.leave(cluster, names, check=check).lines + docker.leave(cluster, names, check=check).lines
    return diff_result(lines, f"lab {cluster.id}")
