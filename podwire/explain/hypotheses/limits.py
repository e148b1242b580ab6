"""Tables of the machine's kernel that are full: of connections, of neighbours."""

from __future__ import annotations

from typing import Iterator

from ..cause import Cause
from ..commands import sysctl
from ..evidence import NodeView, World
from ..titles import cause

#: A table counts as full from here on: entries come and go while it is read.
_FULL = 0.97
_ROOMY = {"connections": 262144, "neighbours": 8192}
_IDS = {"connections": "conntrack_full", "neighbours": "neighbour_table_full"}
_KEYS = {"connections": "net/netfilter/nf_conntrack_max", "neighbours": "net/ipv4/neigh/default/gc_thresh3"}


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes."""
    for node in world.nodes.values():
        for table, (entries, most) in node.told["limits"].items():
            if entries >= _FULL * most:
                yield _full(world, node, table, entries, most)


def _full(world: World, node: NodeView, table: str, entries: int, most: int) -> Cause:
    # Nodes of a lab share their machine's kernel, and have no say in its limits.
    own = node.node.kind == "ssh"
    key, room = _KEYS[table], max(_ROOMY[table], 2 * entries)
    return cause(
        _IDS[table], f"sysctl {key}", node.name, place="node" if own else "machine",
        keys=frozenset({f"{node.name if own else 'machine'} {table}"}),
        pairs=world.far(node.name) | world.near(node.name) | world.local(node.name),
        evidence=[f"expected: room for more {table}", f"found: {entries} of {most}"], fix=sysctl(key, str(room)),
        quiet=True,
    )  # fmt: skip
