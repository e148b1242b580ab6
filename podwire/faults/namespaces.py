"""The namespaces of one node by the names that edits give them, and all that is in one. Lives inside the node."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Dict, Iterable, Mapping, Sequence

from ..boot import boot_id
from ..errors import FaultError
from ..kernel import Namespace, devices, execute, show
from ..model.objects import ROUTE_PROTOCOL, IPNetwork, Link
from ..model.state import Scope, State
from ..plan import Operation
from ..sandbox import sandboxes
from .places import NODE, PROCESS
from .processes import StrayProcess

#: Sysctls that a device loses when it is made anew.
_OF_DEVICE = (
    "net/ipv4/conf/{}/rp_filter",
    "net/ipv4/conf/{}/forwarding",
    "net/ipv4/conf/{}/arp_notify",
    "net/ipv6/conf/{}/disable_ipv6",
    "net/ipv6/conf/{}/accept_ra",
    "net/ipv6/conf/{}/accept_dad",
)


class Namespaces:
    """Open namespaces of one node by the names that edits give them: ``node``, ``pod:NAME``, ``ghost:TOKEN``, and
    those given."""

    def __init__(self, given: Mapping[str, Namespace]) -> None:
        self._given = given
        self._open: Dict[str, Namespace] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Namespaces:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __getitem__(self, place: str) -> Namespace:
        """Open, once. FaultError for a pod that does not run, and for what cannot be reached from here."""
        found = self._given.get(place) or self._open.get(place)
        if found is None:
            found = self._open[place] = self._stack.enter_context(self._new(place))
        return found

    def execute(self, place: str, operations: Sequence[Operation]) -> None:
        """Do operations in a place. KernelError."""
        for each in (operation.object for operation in operations):
            if isinstance(each, Link) and each.peer:
                self[each.peer.namespace]  # is opened
        namespaces = {each.name: each for each in self.opened().values()}
        execute([(self[place], operation) for operation in operations], namespaces)

    def opened(self) -> Dict[str, Namespace]:
        """Every namespace that was asked for, by its place."""
        return {**self._given, **self._open}

    @staticmethod
    def _new(place: str) -> Namespace:
        if place == NODE:
            return Namespace.current(NODE)
        kind, _, pod = place.partition(":")
        if kind == PROCESS:
            return Namespace.open(f"/proc/{StrayProcess('orphan', pod).pid()}/ns/net", place)
        running = sandboxes.running().get(pod)
        if running is None:
            where = "it does not run here" if pod else "it cannot be reached from this node"
            raise FaultError(f"failed to enter {place}: {where}")
        return Namespace.open(running.netns, place)

    def identity(self, place: str) -> str:
        """What tells a namespace from a later one of the same name: an undo is for this one only."""
        running = sandboxes.running().get(place.partition(":")[2]) if place.startswith("pod:") else None
        return f"{boot_id()}/{os.fstat(self[place].fd).st_ino}/{running.container_id if running else ''}"


def look(
    namespace: Namespace, sysctls: Iterable[str], blocks: Iterable[IPNetwork], *, only_sysctls: bool = False
) -> State:
    """All that a State can hold of a namespace, whoever made it; of ``blocks`` also routes that lead nowhere."""
    if only_sysctls:
        return show(namespace, Scope(sysctls=frozenset(sysctls))).state
    names = frozenset(devices.names(namespace).values())
    keys = {pattern.format(name) for name in names for pattern in _OF_DEVICE}
    scope = Scope(links=names, protocol=ROUTE_PROTOCOL, prefixes=frozenset(blocks), sysctls=frozenset(sysctls) | keys)
    shown = show(namespace, scope)
    return shown.state._replace(routes=shown.state.routes | shown.foreign.routes)
