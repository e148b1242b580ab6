"""show(namespace, scope): the kernel's state as values, from a few bulk dumps."""

from __future__ import annotations

import os

from ..errors import KernelError
from ..model import fdb, neighbour, next_hop, route
from ..model.address import RTM_GETADDR, Address, address_request
from ..model.file import File
from ..model.kind import NETLINK, REMOVE
from ..model.link import Link, alias_of, index_and_name, index_request, link_request, master_of
from ..model.port_vlans import VLAN_REQUEST, PortVlans
from ..model.state import EMPTY, Scope, State
from ..model.sysctl import Sysctl
from ..model.values import MAIN_TABLE
from ..model.wire import RTM_GETLINK
from ..startup_typing import TYPE_CHECKING, NamedTuple, defaultdict
from . import devices
from .namespaces import Namespace
from .netlink.expected import expected
from .netlink.socket import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any, Callable, Optional, TypeVar

    from ..model.fdb import FdbEntry
    from ..model.next_hop import NextHop
    from ..model.route import Route
    from ..model.wire import Names
    from ..plan import Operation

    T = TypeVar("T")

ALL = frozenset(State._fields)

#: So many owned devices are asked for one by one.
_FEW_LINKS = 4
#: Errors of a dump that say "no such kind on this kernel": EOPNOTSUPP, EPROTONOSUPPORT, EAFNOSUPPORT.
_UNKNOWN_KIND = (95, 93, 97)


class Observed(NamedTuple):
    """What a scope owns, and the foreign objects that stand on prefixes it wants."""

    state: State
    foreign: State


def show(namespace: Namespace, scope: Scope) -> Observed:
    """Read what ``scope`` owns in a namespace. Reads files in the caller's mount namespace."""
    return Reader(namespace, scope).show()


def link_of(namespace: Namespace, name: str) -> Link | None:
    """One device as it is, without its master's name; None if there is none of that name."""
    payload = devices.find(namespace, name)
    return None if payload is None else Link.decode(payload, {})


def addresses_of(namespace: Namespace, name: str) -> frozenset[Address]:
    """The addresses of one device; none if it is not there."""
    payload = devices.find(namespace, name)
    if payload is None:
        return frozenset()
    index = index_and_name(payload)[0]
    return _addresses_on(namespace, index, {index: name})


def _addresses_on(namespace: Namespace, index: int, names: Names) -> frozenset[Address]:
    try:
        dump = namespace.socket.dump(RTM_GETADDR, address_request(index))
    except KernelError as error:
        if error.errno in ABSENT:  # the device is gone
            return frozenset()
        raise
    return frozenset(filter(None, (Address.decode(payload, names) for _, payload in dump)))


def routes(namespace: Namespace) -> list[Route]:
    """Every route of the main table, whoever made it."""
    names = devices.names(namespace)
    dump = namespace.socket.dump(route.RTM_GETROUTE, bytes(12))
    decoded = (route.Route.decode(payload, names) for _, payload in dump)
    return [held for held in decoded if held.table == MAIN_TABLE]


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
        scope = self.scope
        owned = frozenset() if scope.only_links else frozenset(link.name for link in links)
        reads: dict[str, Callable[[], frozenset[Any]]] = {
            "sysctls": lambda: self._sysctls(scope.sysctls),
            "addresses": lambda: self._on(owned, RTM_GETADDR, bytes(8), address_request, Address.decode),
            "neighbours": lambda: self._neighbours(owned) if scope.neighbours and owned else frozenset(),
            "fdb": lambda: self._fdb(frozenset(link.name for link in links if link.kind == "vxlan")),
            "vlans": self._vlans,
            "next_hops": lambda: self._next_hops(owned),
            "nat_rules": self._nat,
            "rules": self._rules,
            "iptables": self._iptables,
            "files": lambda: _files(scope.files),
        }
        state = EMPTY._replace(links=links, **{name: read() for name, read in reads.items() if name in fields})
        if "routes" not in fields:
            return Observed(state, EMPTY)
        routes_shown, foreign = self._routes(owned)
        return Observed(state._replace(routes=routes_shown), EMPTY._replace(routes=foreign))

    def shows(self, operations: Sequence[Operation]) -> bool:
        """Whether the kernel, asked for each object by itself, shows all that few operations did.

        False also where it cannot be asked that way: then a ``show`` decides.
        """
        by_field: dict[str, list[Operation]] = defaultdict(list)
        for operation in operations:
            by_field[operation.object.field()].append(operation)
        set_now = {operation.object for operation in by_field.pop("sysctls", ())}
        if set_now and not self._sysctls(sysctl.identity() for sysctl in set_now).issuperset(set_now):
            return False
        names = dict(self._names)
        if not all(self._shows_link(operation, names) for operation in by_field.pop("links", ())):
            return False
        indices = {name: number for number, name in names.items()}
        if not self._shows_addresses(by_field.pop("addresses", ()), names, indices):
            return False
        return all(self._shows_object(op, names, indices) for group in by_field.values() for op in group)

    def _shows_object(self, operation: Operation, names: Names, indices: dict[str, int]) -> bool:
        target: Any = operation.object
        if target.batch(operation.action) != NETLINK:
            return False
        try:
            request = target.request(indices.__getitem__)
            answer = None if request is None else self.namespace.socket.get(*request)
        except (KeyError, KernelError):  # its device is none of ours; ENETUNREACH, or a kernel that knows only dumps
            return False
        shown = None if answer is None else target.decode(answer, names)
        return request is not None and bool(shown == (None if operation.action == REMOVE else target))

    def _shows_link(self, operation: Operation, names: dict[int, str]) -> bool:
        """Whether a device is as an operation left it. Adds it to ``names``, and its master."""
        link: Link = operation.object  # type: ignore[assignment]
        payload = self._ask_link(link.name, names)
        if payload is None or operation.action == REMOVE:
            return (payload is None) == (operation.action == REMOVE)
        shown = Link.decode(payload, names)
        return not link.recreation(shown) and not link.differences(shown)

    def _shows_addresses(self, operations: Sequence[Operation], names: Names, indices: dict[str, int]) -> bool:
        """Whether the addresses are as operations left them, from one dump a device."""
        shown: dict[str, frozenset[Any]] = {}
        for action, target, _ in operations:
            address: Address = target  # type: ignore[assignment]
            if address.device not in indices:
                return False
            if address.device not in shown:
                shown[address.device] = _addresses_on(self.namespace, indices[address.device], names)
            if (address in shown[address.device]) == (action == REMOVE):
                return False
        return True

    def _ask_link(self, name: str, names: dict[int, str]) -> bytes | None:
        """One device's RTM_NEWLINK; adds it to ``names``, and its master."""
        payload = self.namespace.socket.get(RTM_GETLINK, link_request(name))
        if payload is None:
            return None
        names[index_and_name(payload)[0]] = name
        master = master_of(payload)
        if master and master not in names:
            answer = self.namespace.socket.get(RTM_GETLINK, index_request(master))
            if answer is not None:
                names[master] = index_and_name(answer)[1]
        return payload

    def _asks_one_by_one(self) -> bool:
        """Whether a few devices are all that is owned, so that the others need not even be listed."""
        scope = self.scope
        return scope.alias is None and scope.protocol is None and len(scope.links) <= _FEW_LINKS

    def _links(self) -> tuple[frozenset[Link], dict[int, str]]:
        """Owned devices, and names by ifindex: all of them, or those of the few that are of interest."""
        if self._asks_one_by_one():
            known: dict[int, str] = {}
            answers = [self._ask_link(name, known) for name in sorted(self.scope.links)]
            return frozenset(Link.decode(answer, known) for answer in answers if answer is not None), known
        names: dict[int, str] = {}
        owned: list[bytes] = []
        for payload in devices.dump(self.namespace):
            index, name = index_and_name(payload)
            names[index] = name
            if name in self.scope.links or (self.scope.alias and alias_of(payload) == self.scope.alias):
                owned.append(payload)
        return frozenset(Link.decode(payload, names) for payload in owned), names

    def _cached(self, payload: bytes, decode: Callable[[bytes, Names], T]) -> T:
        try:
            held: T = self._parsed[payload]
        except KeyError:
            held = self._parsed[payload] = decode(payload, self._names)
        return held

    def _decoded(
        self, kind: int, request: bytes, decode: Callable[[bytes, Names], Any], head: Optional[int] = None
    ) -> Iterator[Any]:
        """The objects of a dump. The first ``head`` bytes of each tell it from all others."""
        known, names = self._expected.get, self._names
        for _, payload in self.namespace.socket.dump(kind, request):
            held = known(payload[:head]) or decode(payload, names)
            if held is not None:
                yield held

    def _on(
        self,
        owned: frozenset[str],
        kind: int,
        of_all: bytes,
        of_one: Callable[[int], bytes],
        decode: Callable[[bytes, Names], Any],
        head: Optional[int] = None,
    ) -> frozenset[Any]:
        """What stands on owned devices: from one dump of everything, or one a device where these are few."""
        requests = [of_all] if owned else []
        if self._asks_one_by_one():
            requests = [of_one(index) for index, name in self._names.items() if name in owned]
        dumps = (self._decoded(kind, request, decode, head) for request in requests)
        return frozenset(held for dump in dumps for held in dump if held.device in owned)

    def _neighbours(self, owned: frozenset[str]) -> frozenset[Any]:
        """Neighbours carry their age (NDA_CACHEINFO) at their end, so no two dumps are alike as a whole."""
        kind, decode = neighbour.RTM_GETNEIGH, neighbour.Neighbour.decode
        return self._on(owned, kind, bytes(12), neighbour.neighbour_request, decode, neighbour.HEAD_BYTES)

    def _fdb(self, owned: frozenset[str]) -> frozenset[FdbEntry]:
        """Entries of owned VXLAN devices, one filtered dump each."""
        entries: set[FdbEntry] = set()
        for index in [index for index, name in self._names.items() if name in owned]:
            request = fdb.fdb_request(index)
            entries.update(self._decoded(neighbour.RTM_GETNEIGH, request, fdb.FdbEntry.decode, fdb.HEAD_BYTES))
        return frozenset(entries)

    def _vlans(self) -> frozenset[PortVlans]:
        """Of the ports whose VLANs are desired: as desired, if they are."""
        wanted = {vlan.device: vlan for vlan in self._desired.vlans}
        ports = set()
        for shown in self._decoded(RTM_GETLINK, VLAN_REQUEST, PortVlans.decode) if wanted else ():
            port = wanted.get(shown.device)
            if port is not None:
                enough = set(port.vlans) <= set(shown.vlans) if port.others else port.vlans == shown.vlans
                ports.add(port if enough else shown)
        return frozenset(ports)

    def _next_hops(self, owned: frozenset[str]) -> frozenset[NextHop]:
        protocol = self.scope.protocol
        if protocol is None:
            return frozenset()
        try:
            hops = list(self._decoded(next_hop.RTM_GETNEXTHOP, bytes(8), next_hop.NextHop.decode))
        except KernelError as error:
            if error.errno in _UNKNOWN_KIND:  # before Linux 5.3
                return frozenset()
            raise
        return frozenset(hop for hop in hops if hop.protocol == protocol or hop.device in owned)

    def _routes(self, owned: frozenset[str]) -> tuple[frozenset[Route], frozenset[Route]]:
        """(owned, foreign on a wanted prefix). The local table and the kernel's own routes are neither,
        except that a connected route can hold a wanted prefix."""
        scope = self.scope
        ours: set[Route] = set()
        foreign: set[Route] = set()
        if scope.protocol is None and not (owned and (scope.routes or scope.prefixes)):
            return frozenset(), frozenset()
        known, decode, head = self._expected.get, route.Route.decode, route.HEAD_BYTES
        for _, payload in self.namespace.socket.dump(route.RTM_GETROUTE, bytes(12)):
            table, protocol, is_known_kind = route.header_of(payload)
            if table == route.RT_TABLE_LOCAL or not is_known_kind:
                continue
            held = known(payload[:head]) or self._cached(payload, decode)
            on_owned = held.device in owned
            if on_owned and protocol == route.RTPROT_KERNEL:
                continue
            if protocol == scope.protocol or (on_owned and scope.routes):
                ours.add(held)
            elif held.table == MAIN_TABLE and held.destination in scope.prefixes:
                if held.device == "":  # for people to read
                    self._names = {**self._names, **devices.names(self.namespace)}
                    held = decode(payload, self._names)
                foreign.add(held)
        return frozenset(ours), frozenset(foreign)

    def _sysctls(self, keys: Iterable[str]) -> frozenset[Sysctl]:
        listed = list(keys)
        if not listed:
            return frozenset()
        sysctls = set()
        with self.namespace.entered():
            for key in listed:
                try:
                    sysctls.add(Sysctl(key, read_sysctl(key)))
                except FileNotFoundError:
                    continue
        return frozenset(sysctls)

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


def _files(paths: frozenset[str]) -> frozenset[File]:
    files = set()
    for path in paths:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                files.add(File(path, file.read(), os.fstat(file.fileno()).st_mode & 0o7777))
        except FileNotFoundError:
            continue
    return frozenset(files)
