"""From projections to what converge takes: a target for the node, and one a container's namespace."""

from __future__ import annotations

import os

from ...converge import Target
from ...kernel import Reader
from ...model.state import EMPTY, State, scope_of
from ...startup_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Dict, FrozenSet, Iterable, List, Mapping, Tuple

    from ...kernel import Namespace
    from ...model.objects import IPNetwork, Route
    from ...model.state import Scope
    from ..plugins.plugin import Projection
    from ..spec.netconf import Attachment
    from .namespaces import Namespaces

#: No rtm_protocol: whose routes they are is known by their device.
_NO_PROTOCOL = -1


def targets(
    projections: Mapping[Attachment, Projection],
    namespaces: Namespaces,
    foreign: FrozenSet[str] = frozenset(),
    *,
    exact: bool = False,
) -> List[Target]:
    """``exact``: what is on devices and in no projection is to go, but for ``foreign`` ones, which podwire did not
    make."""
    if not projections:
        return []
    pods: Dict[str, State] = {}
    opened: Dict[str, Namespace] = {}
    for attachment, projection in projections.items():
        pods[attachment.name] = pods.get(attachment.name, EMPTY) | projection.pod
        opened[attachment.name] = namespaces[attachment]
    node = union(projection.node for projection in projections.values())
    shared = union(projection.shared for projection in projections.values())
    inside = [_target(opened[name], state, exact=exact) for name, state in pods.items() if state != EMPTY]
    if exact and foreign:
        return [node_target(namespaces.node, shared), _target(namespaces.node, node, exact=True), *inside]
    return [node_target(namespaces.node, node | shared, exact=exact), *inside]


def node_target(node: Namespace, state: State, *, exact: bool = False) -> Target:
    """A target for the node, whose shared devices may have others' routes."""
    target = _target(node, state, exact=exact)
    if exact or not any(link.kind == "bridge" for link in state.links):
        return target
    return target._replace(scope=target.scope._replace(routes=False))


def _target(namespace: Namespace, state: State, *, exact: bool) -> Target:
    state = _possible(state)
    scope = scope_of(state, protocol=None)
    return Target(namespace, state, scope if exact else _few_neighbours(state, scope))


def _few_neighbours(state: State, scope: Scope) -> Scope:
    """A dump of neighbours goes through those of all namespaces of the machine: only where some are wanted."""
    return scope._replace(neighbours=bool(state.neighbours))


def _possible(state: State) -> State:
    """A kernel without IPv6 has neither its sysctls nor what they guard against."""
    if os.access("/proc/sys/net/ipv6", os.F_OK):
        return state
    return state._replace(
        sysctls=frozenset(sysctl for sysctl in state.sysctls if not sysctl.key.startswith("net/ipv6/"))
    )


def without_rivals(
    projections: Mapping[Attachment, Projection], namespaces: Namespaces
) -> Dict[Attachment, Projection]:
    """A destination to which another interface of the container has a route already stays with that."""
    return {
        attachment: _without_rivals(projection, namespaces[attachment])
        for attachment, projection in projections.items()
    }


def _without_rivals(projection: Projection, pod: Namespace) -> Projection:
    inside = projection.pod
    if not inside.routes:
        return projection
    scope = scope_of(inside, protocol=_NO_PROTOCOL)._replace(neighbours=False)
    foreign = Reader(pod, scope).show(frozenset({"routes"})).foreign.routes
    places = {_place(route) for route in foreign}
    routes = frozenset(route for route in inside.routes if _place(route) not in places)
    return projection._replace(pod=inside._replace(routes=routes))


def _place(route: Route) -> Tuple[IPNetwork, int, int]:
    return route.destination, route.table, route.metric


def union(states: Iterable[State]) -> State:
    """All objects of some states."""
    return State(*(frozenset().union(*fields) for fields in zip(EMPTY, *states)))
