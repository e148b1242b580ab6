"""Converge this node to what it keeps: the underlay's part of a lab's node, the backend, and attachments."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import List, Tuple

from ..converge import Target, converge
from ..intent import underlay
from ..intent.cluster import Cluster
from ..intent.projection import desired, scope
from ..kernel import Namespace, link_of
from ..model.state import State
from ..plan import Operation
from ..sandbox import pods
from . import intent_store


def network(cluster: Cluster, node: str, *, check: bool = False) -> Tuple[Operation, ...]:
    """Converge the node's own network, its kept intent included; the operations that were needed.

    The caller is in the node, and alone on it (``node_lock``) unless it only checks.
    """
    state = desired(cluster, node) | State(files=frozenset((intent_store.intent_file(cluster, node),)))
    owned = scope(cluster, node, state)
    owned = owned._replace(links=owned.links | pods.outdated_bridges(cluster, node))
    with Namespace.current(node) as namespace:
        outcome = converge([Target(namespace, state, owned)], check=check)
    return tuple(operation for _, operation in outcome.operations)


def apply(*, check: bool = False, intent: str = "", node: str = "") -> List[str]:
    """Converge everything; one line a change (or what would be). Safe to repeat.

    ``intent`` is a file with a whole cluster, as the controller has it: it is taken in the place of what is kept, and
    kept from then on. This node is its ``node``, or the one that it has been.

    Pods of podwire's own that are gone are started and attached anew. Attachments of other runtimes are put
    right as long as their sandboxes and devices are there; what is gone is theirs to bring back.
    """
    if not intent and not os.path.exists(intent_store.INTENT):
        intent_store.load()  # which says so: a machine that is no node gets not even a lock
    with nullcontext() if check else intent_store.node_lock():
        cluster, node = intent_store.taken(intent, node) if intent else intent_store.load()
        operations = network(cluster, node, check=check) if intent else _backend(cluster, node, check)
        lines = [str(operation) for operation in (*_underlay(cluster, node, check), *operations)]
        return lines + list(pods.reconcile(cluster, node, check=check, keep_others=True).lines)


def _backend(cluster: Cluster, node: str, check: bool) -> Tuple[Operation, ...]:
    """Like ``network``; the kept intent itself is what is applied, and therefore not written."""
    state = desired(cluster, node)
    with Namespace.current(node) as namespace:
        outcome = converge([Target(namespace, state, scope(cluster, node, state))], check=check)
    return tuple(operation for _, operation in outcome.operations)


def _underlay(cluster: Cluster, node: str, check: bool) -> Tuple[Operation, ...]:
    """What a machine's own network configuration would bring back after a flap, and a lab's node has nobody for:
    routes, and IPv6 addresses, which the kernel removes from a device that goes down (addrconf_ifdown)."""
    state = underlay.desired(cluster).get(node)
    if state is None:
        return ()
    with Namespace.current(node) as namespace:
        links = (link_of(namespace, port.device) for port in cluster.node(node).ports)
        if not all(link is not None and link.up for link in links):
            return ()  # a device that is down is somebody's will; when it comes up again, the kernel says so
        outcome = converge([Target(namespace, state, underlay.scope(state))], check=check)
    return tuple(operation for _, operation in outcome.operations)
