"""Backends: what a node's root namespace needs so that pods of other nodes are reached."""

from __future__ import annotations

from ..intent.cluster import Cluster, vxlan_device
from ..model.objects import BACKEND_ALIAS, ROUTE_PROTOCOL
from ..model.state import Scope, State, scope_of
from . import common, host_gw, vxlan

BACKENDS = {"vxlan": vxlan.desired, "host-gw": host_gw.desired}


def desired(cluster: Cluster, node: str) -> State:
    """Everything that a node needs towards its peers. KeyError for a node that is not declared."""
    own = cluster.node(node)
    return common.base(cluster, own) | BACKENDS[cluster.backend.type](cluster, own)


def scope(cluster: Cluster, node: str, desired: State) -> Scope:
    """What podwire owns in a node's root namespace, as far as backends go.

    The names of both families' devices belong to it whatever the backend, and so do devices with the
    alias: what an earlier type, VNI or family left is removed.
    """
    cluster.node(node)
    devices = frozenset(vxlan_device(cluster.backend.vni, version) for version in (4, 6))
    return scope_of(desired, alias=BACKEND_ALIAS, protocol=ROUTE_PROTOCOL, nat=common.NAT_TABLE, links=devices)
