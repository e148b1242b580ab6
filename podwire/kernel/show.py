"""show(namespace, scope): the kernel's state as values, from a few bulk dumps."""

from __future__ import annotations

import os
import struct

from ..errors import KernelError
from ..model.objects import MAIN_TABLE, Address, FdbEntry, File, Link, Neighbour, NextHop, PortVlans, Route, Sysctl
from ..model.state import EMPTY, Scope, State
from ..plan import REMOVE, Operation, link_differences, link_recreation
from ..startup_typing import TYPE_CHECKING, NamedTuple
from .namespaces import Namespace
from .netlink import rtnetlink
from .netlink.expected import FDB_BYTES, NEIGHBOUR_BYTES, ROUTE_BYTES, expected
from .netlink.socket import ABSENT, attribute

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, Callable, TypeVar

    Names = Mapping[int, str]
    T = TypeVar("T")

ALL = frozenset(State._fields)

#: So many owned devices are asked for one by one.
_FEW_LINKS = 4
#: Errors of a dump that say "no such thing on this kernel": EOPNOTSUPP, EPROTONOSUPPORT, EAFNOSUPPORT.
_ABSENT = (95, 93, 97)


class Observed(NamedTuple):
    """What a scope owns, and the foreign objects that stand on prefixes it wants."""

    state: State
    foreign: State


def show(namespace: Namespace, scope: Scope) -> Observed:
    """Read what ``scope`` owns in a namespace. Reads files in the caller's mount namespace."""
    return Reader(namespace, scope).show()


def link_of(namespace: Namespace, name: str) -> Link | None:
    """One device as it is, without its master's name; None if there is none of that name."""
    payload = namespace.socket.get(rtnetlink.RTM_GETLINK, rtnetlink.link_request(name))
    return None if payload is None else rtnetlink.read_link(payload, {})


def addresses_of(namespace: Namespace, name: str) -> frozenset[Address]:
    """The addresses of one device; none if it is not there."""
    payload = namespace.socket.get(rtnetlink.RTM_GETLINK, rtnetlink.link_request(name))
    if payload is None:
        return frozenset()
    index = rtnetlink.read_link_name(payload)[0]
    dump = _dump_addresses(namespace, index)
    return frozenset(filter(None, (rtnetlink.read_address(each, {index: name}) for _, each in dump)))


def _dump_addresses(namespace: Namespace, index: int) -> Sequence[tuple[int, bytes]]:
    try:
        return namespace.socket.dump(rtnetlink.RTM_GETADDR, rtnetlink.address_request(index))
    except KernelError as error:
        if error.errno in ABSENT:  # the device is gone, and its addresses with it
            return ()
        raise


def devices(namespace: Namespace) -> list[str]:
    """The names of all devices."""
    return [
        rtnetlink.read_link_name(payload)[1] for _, payload in namespace.socket.dump(rtnetlink.RTM_GETLINK, bytes(16))
    ]


def routes(namespace: Namespace) -> list[Route]:
    """Every route of the main table, whoever made it."""
    names = {}
    for _, payload in namespace.socket.dump(rtnetlink.RTM_GETLINK, bytes(16)):
        index, name = rtnetlink.read_link_name(payload)
        names[index] = name
    found = (
        rtnetlink.read_route(payload, names) for _, payload in namespace.socket.dump(rtnetlink.RTM_GETROUTE, bytes(12))
    )
    return [route for route in found if route.table == MAIN_TABLE]


class Reader:
    """Shows one scope as often as asked. What a dump gives in the same bytes is not parsed again, and
    what it gives in the bytes of something desired not even once (see expected.py)."""

    def __init__(self, namespace: Namespace, scope: Scope, desired: State = EMPTY) -> None:
        self.namespace = namespace
        self.scope = scope
        self._desired = desired
        self._expected: dict[bytes, Any] = {}
        self._parsed: dict[bytes, Any] = {}
        self._names: dict[int, str] = {}

    def show(self, fields: frozenset[str] = ALL) -> Observed:
        """The state now; of ``fields`` only (names of State's), if less than all is asked for."""
        links, names = self._links()
        if names != self._names:  # an ifindex that means another device: cached objects name the wrong one
            self._parsed.clear()
            self._names = names
            if _has_many(self._desired):
                self._expected = expected(self._desired, {name: index for index, name in names.items()})
        owned = frozenset() if self.scope.only_links else frozenset(link.name for link in links)
        reads: dict[str, Callable[[], frozenset[Any]]] = {
            "sysctls": lambda: self._sysctls(self.scope.sysctls),
            "addresses": lambda: self._addresses(owned),
            "neighbours": lambda: self._neighbours(owned) if self.scope.neighbours else frozenset(),
            "fdb": lambda: self._fdb(links),
            "vlans": self._vlans,
            "next_hops": lambda: self._next_hops(owned),
            "nat_rules": self._nat,
            "rules": self._rules,
            "iptables": self._iptables,
            "files": lambda: _files(self.scope.files),
        }
        state = EMPTY._replace(links=links, **{name: read() for name, read in reads.items() if name in fields})
        if "routes" not in fields:
            return Observed(state, EMPTY)
        routes, foreign = self._routes(owned)
        return Observed(state._replace(routes=routes), EMPTY._replace(routes=foreign))

    def shows(self, operations: Sequence[Operation]) -> bool:
        """Whether the kernel, asked for each object by itself, shows all that few operations did.

        False also where it cannot be asked that way: then a ``show`` has to tell.
        """
        sysctls = [operation.object for operation in operations if isinstance(operation.object, Sysctl)]
        if sysctls and not self._sysctls(sysctl.key for sysctl in sysctls).issuperset(sysctls):
            return False
        names = dict(self._names)
        links = [operation for operation in operations if isinstance(operation.object, Link)]
        if not all(self._shows_link(operation, names) for operation in links):
            return False
        indices = {name: number for number, name in names.items()}
        if not self._shows_addresses(operations, names, indices):
            return False
        for action, each, _ in operations:
            if isinstance(each, (Link, Sysctl, Address)):
                continue
            if getattr(each, "device", None) not in indices and getattr(each, "device", None) is not None:
                return False
            request = rtnetlink.get_request(each, indices.__getitem__)
            if request is None:
                return False
            try:
                answer = self.namespace.socket.get(*request)
            except KernelError:  # such as ENETUNREACH, or a kernel that knows only dumps
                return False
            found = _READERS[type(each).__name__](answer, names) if answer is not None else None
            if found != (None if action == REMOVE else each):
                return False
        return True

    def _shows_link(self, operation: Operation, names: dict[int, str]) -> bool:
        """Whether a device is as an operation left it. Adds it to ``names``, and its master."""
        link = operation.object
        assert isinstance(link, Link)
        payload = self._ask_link(link.name, names)
        if payload is None or operation.action == REMOVE:
            return (payload is None) == (operation.action == REMOVE)
        found = rtnetlink.read_link(payload, names)
        return not link_recreation(link, found) and not link_differences(link, found)

    def _shows_addresses(
        self, operations: Sequence[Operation], names: Mapping[int, str], indices: Mapping[str, int]
    ) -> bool:
        """Whether the addresses are as operations left them, from one dump a device."""
        found: dict[str, frozenset[Any]] = {}
        for action, each, _ in operations:
            if not isinstance(each, Address):
                continue
            if each.device not in indices:
                return False
            if each.device not in found:
                dump = _dump_addresses(self.namespace, indices[each.device])
                found[each.device] = frozenset(rtnetlink.read_address(payload, names) for _, payload in dump)
            if (each in found[each.device]) == (action == REMOVE):
                return False
        return True

    def _ask_link(self, name: str, names: dict[int, str]) -> bytes | None:
        """One device's RTM_NEWLINK; adds it to ``names``, and its master."""
        payload = self.namespace.socket.get(rtnetlink.RTM_GETLINK, rtnetlink.link_request(name))
        if payload is None:
            return None
        names[rtnetlink.read_link_name(payload)[0]] = name
        master = rtnetlink.read_master(payload)
        if master and master not in names:
            answer = self.namespace.socket.get(rtnetlink.RTM_GETLINK, rtnetlink.index_request(master))
            if answer is not None:
                names[master] = rtnetlink.read_link_name(answer)[1]
        return payload

    def _asks_each(self) -> bool:
        """Whether a few devices are all that is owned, so that the others need not even be listed."""
        scope = self.scope
        return scope.alias is None and scope.protocol is None and len(scope.links) <= _FEW_LINKS

    def _links(self) -> tuple[frozenset[Link], dict[int, str]]:
        """Owned devices, and names by ifindex: all of them, or those of the few that are of interest."""
        if self._asks_each():
            known: dict[int, str] = {}
            answers = [self._ask_link(name, known) for name in sorted(self.scope.links)]
            return frozenset(rtnetlink.read_link(answer, known) for answer in answers if answer is not None), known
        request = bytes(16) + attribute(29, struct.pack("=I", rtnetlink.RTEXT_FILTER_SKIP_STATS))
        payloads = [payload for _, payload in self.namespace.socket.dump(rtnetlink.RTM_GETLINK, request)]
        names: dict[int, str] = {}
        mine: list[bytes] = []
        for payload in payloads:
            index, name = rtnetlink.read_link_name(payload)
            names[index] = name
            if name in self.scope.links or (self.scope.alias and rtnetlink.read_alias(payload) == self.scope.alias):
                mine.append(payload)
        return frozenset(rtnetlink.read_link(payload, names) for payload in mine), names

    def _cached(self, payload: bytes, read: Callable[[bytes, Names], T]) -> T:
        try:
            found: T = self._parsed[payload]
        except KeyError:
            found = self._parsed[payload] = read(payload, self._names)
        return found

    def _addresses(self, owned: frozenset[str]) -> frozenset[Address]:
        """Addresses of owned devices, of both families in one dump."""
        found: set[Address] = set()
        for request in self._requests(owned, bytes(8), rtnetlink.address_request):
            for _, payload in self.namespace.socket.dump(rtnetlink.RTM_GETADDR, request):
                each = rtnetlink.read_address(payload, self._names)
                if each is not None and each.device in owned:
                    found.add(each)
        return frozenset(found)

    def _requests(self, owned: frozenset[str], everything: bytes, of_device: Callable[[int], bytes]) -> list[bytes]:
        """Payloads of the dumps that tell of owned devices: one for everything, or one a device."""
        if self._asks_each():
            return [of_device(index) for index, name in self._names.items() if name in owned]
        return [everything] if owned else []

    def _neighbours(self, owned: frozenset[str]) -> frozenset[Neighbour]:
        """Neighbours carry their age (NDA_CACHEINFO) at their end, so no two dumps are alike as a whole."""
        found: set[Neighbour] = set()
        names, known = self._names, self._expected.get
        for request in self._requests(owned, bytes(12), rtnetlink.neighbour_request):
            for _, payload in self.namespace.socket.dump(rtnetlink.RTM_GETNEIGH, request):
                each = known(payload[:NEIGHBOUR_BYTES]) or rtnetlink.read_neighbour(payload, names)
                if each is not None and each.device in owned:
                    found.add(each)
        return frozenset(found)

    def _fdb(self, links: frozenset[Link]) -> frozenset[FdbEntry]:
        """Entries of owned VXLAN devices, one filtered dump each (valid_fdb_dump_strict)."""
        found: set[FdbEntry] = set()
        indices = {name: index for index, name in self._names.items()}
        known = self._expected.get
        for link in links:
            if link.vxlan is not None:
                request = struct.pack("=BxxxiHBB", rtnetlink.AF_BRIDGE, indices[link.name], 0, 0, 0)
                for _, payload in self.namespace.socket.dump(rtnetlink.RTM_GETNEIGH, request):
                    entry = known(payload[:FDB_BYTES]) or rtnetlink.read_fdb(payload, self._names)
                    if entry is not None:
                        found.add(entry)
        return frozenset(found)

    def _vlans(self) -> frozenset[PortVlans]:
        """Of the ports whose VLANs are desired: as desired, if they are."""
        wanted = {vlan.device: vlan for vlan in self._desired.vlans}
        found = set()
        dump = self.namespace.socket.dump(rtnetlink.RTM_GETLINK, rtnetlink.vlan_request()) if wanted else []
        for index, vlans in (rtnetlink.read_vlans(payload) for _, payload in dump):
            each = wanted.get(self._names.get(index, ""))
            if each is not None:
                enough = set(each.vlans) <= set(vlans) if each.others else each.vlans == vlans
                found.add(each if enough else each._replace(vlans=vlans, others=False))
        return frozenset(found)

    def _next_hops(self, owned: frozenset[str]) -> frozenset[NextHop]:
        if self.scope.protocol is None:
            return frozenset()
        try:
            dump = self.namespace.socket.dump(rtnetlink.RTM_GETNEXTHOP, bytes(8))
        except KernelError as error:
            if error.errno in _ABSENT:  # before Linux 5.3
                return frozenset()
            raise
        known = self._expected.get
        hops = (known(payload) or rtnetlink.read_next_hop(payload, self._names) for _, payload in dump)
        return frozenset(hop for hop in hops if hop and (hop.protocol == self.scope.protocol or hop.device in owned))

    def _routes(self, owned: frozenset[str]) -> tuple[frozenset[Route], frozenset[Route]]:
        """(owned, foreign on a wanted prefix). The local table and the kernel's own routes are neither,
        except that a connected route can hold a wanted prefix."""
        scope = self.scope
        mine: set[Route] = set()
        foreign: set[Route] = set()
        if scope.protocol is None and not (owned and (scope.routes or scope.prefixes)):
            return frozenset(), frozenset()
        known = self._expected.get
        for _, payload in self.namespace.socket.dump(rtnetlink.RTM_GETROUTE, bytes(12)):
            table, protocol, kind = rtnetlink.route_header(payload)
            if table == rtnetlink.RT_TABLE_LOCAL or kind not in (1, 6, 7, 8):
                continue
            route = known(payload[:ROUTE_BYTES]) or self._cached(payload, rtnetlink.read_route)
            on_owned = route.device in owned
            if on_owned and protocol == rtnetlink.RTPROT_KERNEL:
                continue
            if protocol == scope.protocol or (on_owned and scope.routes):
                mine.add(route)
            elif route.table == MAIN_TABLE and route.destination in scope.prefixes:
                if route.device == "":  # for people to read
                    self._names = {**self._names, **self._all_names()}
                    route = rtnetlink.read_route(payload, self._names)
                foreign.add(route)
        return frozenset(mine), frozenset(foreign)

    def _all_names(self) -> dict[int, str]:
        dump = self.namespace.socket.dump(rtnetlink.RTM_GETLINK, bytes(16))
        return dict(rtnetlink.read_link_name(payload) for _, payload in dump)

    def _sysctls(self, keys: Iterable[str]) -> frozenset[Sysctl]:
        listed = list(keys)
        if not listed:
            return frozenset()
        found = set()
        with self.namespace.entered():
            for key in listed:
                try:
                    found.add(Sysctl(key, read_sysctl(key)))
                except FileNotFoundError:
                    continue
        return frozenset(found)

    def _nat(self) -> frozenset[Any]:
        if not self.scope.nat:
            return frozenset()
        from .nftables.masquerade import show_nat

        return show_nat(self.namespace, self.scope.nat)

    def _rules(self) -> frozenset[Any]:
        if not self.scope.chains or not self.scope.owners:
            return frozenset()
        from .nftables.rules import show_rules

        return show_rules(self.namespace, self.scope.chains, self.scope.owners, self._desired.rules)

    def _iptables(self) -> frozenset[Any]:
        scope, desired = self.scope, self._desired.iptables
        if not scope.iptables and not desired:
            return frozenset()
        if not desired:
            from .iptables.tables import flavours_of

            with self.namespace.entered():
                if not any(flavours_of(self.namespace, version, "nat", scope.iptables) for version in (4, 6)):
                    return frozenset()
        from .iptables.rules import show_iptables

        return show_iptables(self.namespace, scope.iptables, scope.iptables_of, desired)


def _has_many(state: State) -> bool:
    """Whether there may be objects that are recognised by their bytes."""
    return bool(state.neighbours or state.fdb or state.next_hops)


def read_sysctl(key: str) -> str:
    """A sysctl of the caller's own network namespace. Without Python's file objects: there are many to read."""
    file = os.open(f"/proc/sys/{key}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return " ".join(os.read(file, 4096).decode().split())
    finally:
        os.close(file)


_READERS: dict[str, Callable[[bytes, Names], Any]] = {
    "Neighbour": rtnetlink.read_neighbour,
    "FdbEntry": rtnetlink.read_fdb,
    "NextHop": rtnetlink.read_next_hop,
    "Route": rtnetlink.read_route,
}


def _files(paths: frozenset[str]) -> frozenset[File]:
    found = set()
    for path in paths:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                found.add(File(path, file.read(), os.fstat(file.fileno()).st_mode & 0o7777))
        except FileNotFoundError:
            continue
    return frozenset(found)
