"""Hypotheses: from evidence to candidate causes, one file a layer."""

from __future__ import annotations

from typing import Iterator

from ..cause import Cause
from ..evidence import World
from . import bridge, files, forwarding, holders, limits, netfilter, pods, policies, routes, traced, underlay, vxlan

_FILES = (bridge, pods, routes, vxlan, forwarding, netfilter, policies, traced, underlay, limits, files, holders)


def candidates(world: World) -> Iterator[Cause]:
    """Everything that might be a cause, the layers in order."""
    for each in _FILES:
        yield from each.hypotheses(world)
