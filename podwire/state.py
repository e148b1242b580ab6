"""State: a network namespace as a value, and the scope that says which part of it is ours."""

from __future__ import annotations

from typing import FrozenSet, Iterator, NamedTuple, Optional

from .model import (
    ROUTE_PROTOCOL,
    Address,
    FdbEntry,
    File,
    IPNetwork,
    Link,
    NatRule,
    Neighbour,
    NextHop,
    Object,
    Route,
    Sysctl,
)


class State(NamedTuple):
    """The objects of one network namespace. The fields stand in dependency order: each object needs
    only objects of fields before its own, so adding goes forwards and removing backwards."""

    links: FrozenSet[Link] = frozenset()
    sysctls: FrozenSet[Sysctl] = frozenset()
    addresses: FrozenSet[Address] = frozenset()
    neighbours: FrozenSet[Neighbour] = frozenset()
    fdb: FrozenSet[FdbEntry] = frozenset()
    next_hops: FrozenSet[NextHop] = frozenset()
    routes: FrozenSet[Route] = frozenset()
    nat_rules: FrozenSet[NatRule] = frozenset()
    files: FrozenSet[File] = frozenset()

    def __or__(self, other: State) -> State:  # type: ignore[override]
        return State(*(mine | theirs for mine, theirs in zip(self, other)))

    def objects(self) -> Iterator[Object]:
        """Every object, in dependency order."""
        for field in self:
            yield from field


EMPTY = State()


class Scope(NamedTuple):
    """Which objects of a namespace ``show`` reads, and podwire therefore owns.

    links:     names of devices owned whole: with their addresses, permanent neighbours, FDB
               entries and (kernel-made ones apart) routes.
    alias:     IFLA_IFALIAS that marks further owned devices.
    protocol:  routes and next hops with this rtm_protocol are owned wherever they point; None: none.
    prefixes:  destinations wanted by the desired state: a route to one of them that is not owned is
               shown as foreign.
    sysctls:   keys to read (a sysctl is never removed, only set).
    files:     paths to read.
    nat:       name of the nftables table whose rules are owned; "" for none.
    """

    links: FrozenSet[str] = frozenset()
    alias: Optional[str] = None
    protocol: Optional[int] = None
    prefixes: FrozenSet[IPNetwork] = frozenset()
    sysctls: FrozenSet[str] = frozenset()
    files: FrozenSet[str] = frozenset()
    nat: str = ""


def scope_of(
    desired: State,
    *,
    alias: Optional[str] = None,
    protocol: Optional[int] = ROUTE_PROTOCOL,
    nat: str = "",
    links: FrozenSet[str] = frozenset(),
    files: FrozenSet[str] = frozenset(),
) -> Scope:
    """The scope that a desired state needs: what it names, and what is marked as ours beside it."""
    return Scope(
        links=frozenset(link.name for link in desired.links if link.kind) | links,
        alias=alias,
        protocol=protocol,
        prefixes=frozenset(route.destination for route in desired.routes),
        sysctls=frozenset(sysctl.key for sysctl in desired.sysctls),
        files=frozenset(file.path for file in desired.files) | files,
        nat=nat,
    )
