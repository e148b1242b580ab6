"""show(namespace, scope): the kernel's state as values, from a few bulk dumps."""

from __future__ import annotations

import struct
from typing import Any, Callable, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Set, Tuple, TypeVar

from ..errors import KernelError
from ..model import Address, FdbEntry, File, Link, Neighbour, NextHop, Route, Sysctl
from ..state import EMPTY, Scope, State
from . import rtnl
from .namespace import Namespace

Names = Mapping[int, str]
T = TypeVar("T")

#: Errors of a dump that say "no such thing on this kernel": EOPNOTSUPP, EPROTONOSUPPORT, EAFNOSUPPORT.
_ABSENT = (95, 93, 97)


class Shown(NamedTuple):
    """What a scope owns, and the foreign objects that stand on prefixes it wants."""

    state: State
    foreign: State


def show(namespace: Namespace, scope: Scope) -> Shown:
    """Read what ``scope`` owns in a namespace. Reads files in the caller's mount namespace."""
    return Reader(namespace, scope).show()


class Reader:
    """Shows one scope as often as asked; what did not change since the last time is not parsed again.

    A dump gives an object the same bytes as long as it is the same, so payloads are the cache's keys:
    verifying a change among 20,000 objects costs the dump and 20,000 lookups, not a second parse.
    """

    def __init__(self, namespace: Namespace, scope: Scope) -> None:
        self.namespace = namespace
        self.scope = scope
        self._parsed: Dict[bytes, Any] = {}
        self._names: Dict[int, str] = {}

    def show(self) -> Shown:
        """The state now."""
        scope = self.scope
        links, names = self._links()
        if names != self._names:  # an ifindex that means another device: cached objects name the wrong one
            self._parsed.clear()
            self._names = names
        owned = frozenset(link.name for link in links)
        on_owned = bool(owned)
        routes, foreign = self._routes(owned) if on_owned or scope.protocol is not None else (frozenset(), frozenset())
        state = State(
            links=links,
            sysctls=self._sysctls(),
            addresses=self._on_devices(rtnl.RTM_GETADDR, bytes(8), rtnl.read_address, owned) if on_owned else frozenset(),
            neighbours=self._on_devices(rtnl.RTM_GETNEIGH, bytes(12), rtnl.read_neighbour, owned)
            if on_owned
            else frozenset(),
            fdb=self._fdb(links),
            next_hops=self._next_hops(owned) if scope.protocol is not None else frozenset(),
            routes=routes,
            nat_rules=self._nat(),
            files=_files(scope.files),
        )
        return Shown(state, EMPTY._replace(routes=foreign))

    def _links(self) -> Tuple[FrozenSet[Link], Dict[int, str]]:
        """Owned devices, and all names by ifindex."""
        request = bytes(16) + rtnl.attribute(29, struct.pack("=I", rtnl.RTEXT_FILTER_SKIP_STATS))
        payloads = [payload for _, payload in self.namespace.socket.dump(rtnl.RTM_GETLINK, request)]
        names: Dict[int, str] = {}
        mine: List[bytes] = []
        for payload in payloads:
            index, name = rtnl.read_link_name(payload)
            names[index] = name
            if name in self.scope.links or (self.scope.alias and rtnl.read_alias(payload) == self.scope.alias):
                mine.append(payload)
        return frozenset(rtnl.read_link(payload, names) for payload in mine), names

    def _cached(self, payload: bytes, read: Callable[[bytes, Names], T]) -> T:
        try:
            found: T = self._parsed[payload]
        except KeyError:
            found = self._parsed[payload] = read(payload, self._names)
        return found

    def _on_devices(
        self, kind: int, request: bytes, read: Callable[[bytes, Names], Optional[Any]], owned: FrozenSet[str]
    ) -> FrozenSet[Any]:
        """Objects on owned devices, of both families in one dump."""
        found = set()
        cached = self._cached
        for _, payload in self.namespace.socket.dump(kind, request):
            each = cached(payload, read)
            if each is not None and each.device in owned:
                found.add(each)
        return frozenset(found)

    def _fdb(self, links: FrozenSet[Link]) -> FrozenSet[FdbEntry]:
        """Entries of owned VXLAN devices, one filtered dump each (valid_fdb_dump_strict)."""
        found: Set[FdbEntry] = set()
        indices = {name: index for index, name in self._names.items()}
        for link in links:
            if link.vxlan is not None:
                request = struct.pack("=BxxxiHBB", rtnl.AF_BRIDGE, indices[link.name], 0, 0, 0)
                for _, payload in self.namespace.socket.dump(rtnl.RTM_GETNEIGH, request):
                    entry = self._cached(b"fdb" + payload, _read_fdb)
                    if entry is not None:
                        found.add(entry)
        return frozenset(found)

    def _next_hops(self, owned: FrozenSet[str]) -> FrozenSet[NextHop]:
        try:
            dump = self.namespace.socket.dump(rtnl.RTM_GETNEXTHOP, bytes(8))
        except KernelError as error:
            if error.errno in _ABSENT:  # before Linux 5.3
                return frozenset()
            raise
        hops = (self._cached(b"hop" + payload, _read_next_hop) for _, payload in dump)
        return frozenset(hop for hop in hops if hop and (hop.protocol == self.scope.protocol or hop.device in owned))

    def _routes(self, owned: FrozenSet[str]) -> Tuple[FrozenSet[Route], FrozenSet[Route]]:
        """(owned, foreign on a wanted prefix). The local table and the kernel's own routes are neither,
        except that a connected route can hold a wanted prefix."""
        scope = self.scope
        mine: Set[Route] = set()
        foreign: Set[Route] = set()
        for _, payload in self.namespace.socket.dump(rtnl.RTM_GETROUTE, bytes(12)):
            table, protocol, kind = rtnl.route_header(payload)
            if table == rtnl.RT_TABLE_LOCAL or kind not in (1, 6, 7, 8):
                continue
            route = self._cached(payload, rtnl.read_route)
            if protocol == scope.protocol and scope.protocol is not None:
                mine.add(route)
            elif protocol != rtnl.RTPROT_KERNEL and route.device in owned:
                mine.add(route)
            elif route.destination in scope.prefixes and route.device not in owned:
                foreign.add(route)
        return frozenset(mine), frozenset(foreign)

    def _sysctls(self) -> FrozenSet[Sysctl]:
        if not self.scope.sysctls:
            return frozenset()
        found = set()
        with self.namespace.entered():
            for key in self.scope.sysctls:
                try:
                    with open(f"/proc/sys/{key}") as file:
                        found.add(Sysctl(key, " ".join(file.read().split())))
                except FileNotFoundError:
                    continue
        return frozenset(found)

    def _nat(self) -> FrozenSet[Any]:
        if not self.scope.nat:
            return frozenset()
        from .nft import show_nat

        return show_nat(self.namespace, self.scope.nat)


def _read_fdb(payload: bytes, names: Names) -> Optional[FdbEntry]:
    return rtnl.read_fdb(payload[3:], names)


def _read_next_hop(payload: bytes, names: Names) -> Optional[NextHop]:
    return rtnl.read_next_hop(payload[3:], names)


def _files(paths: FrozenSet[str]) -> FrozenSet[File]:
    import os

    found = set()
    for path in paths:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                found.add(File(path, file.read(), os.fstat(file.fileno()).st_mode & 0o7777))
        except FileNotFoundError:
            continue
    return frozenset(found)


__all__ = ["Address", "Neighbour", "Reader", "Shown", "show"]
