"""Tables of the machine's kernel that are full: of connections, of neighbours."""

from __future__ import annotations

from typing import Iterator, List

from ..cause import Cause
from ..commands import sysctl
from ..evidence import World
from ..titles import cause
from ..views import NodeView

#: Connections count as full from here on: they come and go while they are counted.
_FULL = 0.97
#: What there should be room for at least: the kernel's own default on a machine of some gigabytes; kops' for clusters.
_CONNECTIONS, _NEIGHBOURS = 262144, 8192


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes."""
    for node in world.nodes.values():
        connections, limit = node.evidence["limits"]["connections"]
        if connections >= _FULL * limit:
            yield _full(
                world, node, "conntrack_full", "net/netfilter/nf_conntrack_max", max(_CONNECTIONS, 2 * connections),
                ["expected: room for more connections", f"found: {connections} of {limit}"],
            )  # fmt: skip
        refused, limit = node.evidence["limits"]["neighbours"]
        count = sum(map(_neighbours, [node] if node.node.kind == "ssh" else world.nodes.values()))
        if refused > 0 or count >= limit > 0:
            yield _full(
                world, node, "neighbour_table_full", "net/ipv4/neigh/default/gc_thresh3", max(_NEIGHBOURS, 2 * limit),
                ["expected: room for more neighbours",
                 f"found: {count} of {limit}, {refused} more were refused while probes ran"],
            )  # fmt: skip


def _neighbours(node: NodeView) -> int:
    """Those of a node and its pods that count: permanent ones do not (neigh_alloc)."""
    namespaces = [node.namespace, *(pod.namespace for pod in node.pods.values())]
    rows = (row for namespace in namespaces for row in namespace["neighbours"])
    return sum(row["state"] != "permanent" and ":" not in row["address"] for row in rows)


def _full(world: World, node: NodeView, id: str, key: str, room: int, evidence: List[str]) -> Cause:
    # Nodes of a lab share their machine's kernel, and cannot change its limits.
    is_machine = node.node.kind == "ssh"
    names = [node.name] if is_machine else list(world.nodes)
    pairs = frozenset().union(*(world.far(name) | world.near(name) | world.local(name) for name in names))
    return cause(
        id, f"sysctl {key}", node.name, place="node" if is_machine else "machine",
        keys=frozenset({f"{node.name if is_machine else 'machine'} {id}"}), pairs=pairs, evidence=evidence,
        fix=[sysctl(key, str(room))], quiet=True,
    )  # fmt: skip
