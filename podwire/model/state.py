"""State: a network namespace as a value, and the scope that says which part of it is ours."""

from __future__ import annotations

from ..startup_typing import TYPE_CHECKING, NamedTuple
from .objects import (
    ROUTE_PROTOCOL,
    Address,
    Chain,
    FdbEntry,
    File,
    IPAddress,
    IPNetwork,
    IptablesRule,
    Link,
    NatRule,
    Neighbour,
    NextHop,
    Object,
    PortVlans,
    Route,
    Rule,
    Sysctl,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


class State(NamedTuple):
    """The objects of one network namespace. The fields stand in dependency order: each object needs
    only objects of fields before its own, so adding goes forwards and removing backwards."""

    links: frozenset[Link] = frozenset()
    sysctls: frozenset[Sysctl] = frozenset()
    addresses: frozenset[Address] = frozenset()
    neighbours: frozenset[Neighbour] = frozenset()
    fdb: frozenset[FdbEntry] = frozenset()
    vlans: frozenset[PortVlans] = frozenset()
    next_hops: frozenset[NextHop] = frozenset()
    routes: frozenset[Route] = frozenset()
    nat_rules: frozenset[NatRule] = frozenset()
    rules: frozenset[Rule] = frozenset()
    iptables: frozenset[IptablesRule] = frozenset()
    files: frozenset[File] = frozenset()

    def __or__(self, other: State) -> State:
        return State._make(ours | theirs for ours, theirs in zip(self, other))

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
    routes:    whether routes over owned devices are owned whatever their protocol. Not so on a
               lab node's external interface, where a backend has routes of its own.
    neighbours: whether permanent neighbours on owned devices are owned. The kernel keeps neighbours of all
               namespaces in one table, so that a dump costs more than all that an attachment needs.
    prefixes:  destinations wanted by the desired state: a route to one of them that is not owned is
               shown as foreign.
    sysctls:   keys to read (a sysctl is never removed, only set).
    files:     paths to read.
    nat:       name of the nftables table whose rules are owned; "" for none.
    only_links: whether devices are owned without the addresses, neighbours and routes on them.
    chains:    nftables chains in which the rules of these ``owners`` are owned.
    iptables:  chains of iptables' nat table that are owned, with the rules that jump to them.
    iptables_of: addresses: where such a chain also serves others, only the rules of these. None: all.
    """

    links: frozenset[str] = frozenset()
    alias: str | None = None
    protocol: int | None = None
    prefixes: frozenset[IPNetwork] = frozenset()
    sysctls: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    nat: str = ""
    routes: bool = True
    only_links: bool = False
    neighbours: bool = True
    chains: tuple[Chain, ...] = ()
    owners: frozenset[str] = frozenset()
    iptables: frozenset[str] = frozenset()
    iptables_of: frozenset[IPAddress] | None = None


def scope_of(
    desired: State,
    *,
    alias: str | None = None,
    protocol: int | None = ROUTE_PROTOCOL,
    nat: str = "",
    links: frozenset[str] = frozenset(),
    files: frozenset[str] = frozenset(),
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
        chains=tuple({rule.chain: None for rule in desired.rules}),
        owners=frozenset(rule.owner for rule in desired.rules),
    )
