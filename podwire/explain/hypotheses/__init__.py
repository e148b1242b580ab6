"""Hypotheses: from evidence to candidate causes, one file a layer."""

from __future__ import annotations

from typing import Iterator

from ..cause import Cause
from ..evidence import World
from . import (
    bridge,
    drops,
    files,
    forwarding,
    leases_and_listeners,
    limits,
    netfilter,
    pods,
    policies,
    route_overlaps,
    routes,
    underlay,
    vxlan,
)

_LAYERS = (
    bridge,
    pods,
    routes,
    route_overlaps,
    vxlan,
    forwarding,
    netfilter,
    policies,
    drops,
    underlay,
    limits,
    files,
    leases_and_listeners,
)


def candidates(world: World) -> Iterator[Cause]:
    """Everything that might be a cause, the layers in order."""
    for layer in _LAYERS:
        yield from layer.hypotheses(world)
