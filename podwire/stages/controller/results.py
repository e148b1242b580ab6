"""What nodes returned in a run, in files: too much for Ansible to carry, and needed by later stages and runs.

::

    DIRECTORY/pods/NODE.json    likewise found, observations, evidence, looks, findings, heard
"""

from __future__ import annotations

import os
from typing import Any, Dict, List

from ...errors import LabError
from ...intent.cluster import Cluster
from ...json_files import read_json, write_json
from .. import Result

#: The keys of a stage's result that are stored.
_KINDS = ("pods", "found", "observations", "evidence", "looks", "findings", "heard")


def store(result: Result, directory: str, node: str) -> Result:
    """Store the parts of a node's result that are large or that other nodes need. Returns the result with their
    paths instead. LabError if they cannot be stored."""
    for kind in _KINDS:
        if kind in result:
            path = os.path.join(directory, kind, f"{node}.json")
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                write_json(path, result[kind])
            except OSError as error:
                raise LabError(f"failed to store {kind} of {node} in {path}: {error.strerror}") from error
            result = {**result, kind: path}
    return result


def stored(kind: str, directory: str, cluster: Cluster) -> Dict[str, Any]:
    """What ``store`` stored, by node. Nodes that returned nothing are missing."""
    by_node = {node.name: read_json(os.path.join(directory, kind, f"{node.name}.json")) for node in cluster.nodes}
    return {node: content for node, content in by_node.items() if content is not None}


def pod_addresses(directory: str, cluster: Cluster) -> Dict[str, List[str]]:
    """The stored addresses of the pods of all nodes, by pod."""
    return {pod: ips for pods in stored("pods", directory, cluster).values() for pod, ips in pods.items()}
