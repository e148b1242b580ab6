"""How the kernel's dumps will begin for objects that are there as desired.

Most of a dump is what was desired, and comparing bytes costs a third of parsing them. What is not
recognised here, for whatever reason (another kernel's order of attributes, a flag), is parsed: nothing is
ever taken for granted. Covers the kinds that exist by the thousand (their ``heads``), for IPv4.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from ...model.fdb import FdbEntry
from ...model.neighbour import Neighbour
from ...model.next_hop import NextHop
from ...model.route import Route
from ...model.wire import ONLINK
from ...startup_typing import TYPE_CHECKING, defaultdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from ...model.objects import NetlinkObject
    from ...model.state import State


def expected(state: State, indices: Mapping[str, int]) -> dict[bytes, NetlinkObject]:
    """The beginning of a dumped payload to the object that it is. ``indices``: device name to ifindex."""
    known: dict[bytes, NetlinkObject] = {}
    for index, neighbours in _by_index(state.neighbours, indices):
        known.update(Neighbour.heads(neighbours, index))
    for index, entries in _by_index(state.fdb, indices):
        known.update(FdbEntry.heads(entries, index))
    for index, hops in _by_index(state.next_hops, indices):
        known.update(NextHop.heads(hops, index))
    onlink = {
        hop.id: ONLINK if hop.onlink else 0
        for hop in state.next_hops
        if hop.device in indices and type(hop.gateway) is IPv4Address
    }
    if onlink:
        known.update(Route.heads(state.routes, onlink))
    return known


def _by_index(objects: frozenset[Any], indices: Mapping[str, int]) -> Iterator[tuple[int, list[Any]]]:
    """Objects by the ifindex of their device, where there is that device."""
    by_device: dict[str, list[Any]] = defaultdict(list)
    for held in objects:
        by_device[held.device].append(held)
    return ((indices[device], held) for device, held in by_device.items() if device in indices)
