"""The network namespaces of one call of the runtime, and what is to be converged in them."""

from __future__ import annotations

import os
import socket

from ...converge import Target
from ...errors import CNI_CONFLICT, CNI_INVALID_NETNS, CniError, PodwireError
from ...kernel import Namespace
from ...kernel.announce import announce, stale_neighbours
from ...model.state import EMPTY, State, scope_of
from ...startup_typing import TYPE_CHECKING
from ..spec.netconf import Attachment
from .plugin import NODE, Projection

if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Mapping, Sequence


class Namespaces:
    """The node's namespace and those of the attachments at hand, open."""

    def __init__(self) -> None:
        self._node = Namespace.current(NODE)
        self._ipv6 = os.path.isdir("/proc/sys/net/ipv6")
        self._open: Dict[str, Namespace] = {}

    def __enter__(self) -> Namespaces:
        return self

    def __exit__(self, *_: object) -> None:
        for namespace in (self._node, *self._open.values()):
            namespace.close()

    def __getitem__(self, attachment: Attachment) -> Namespace:
        return self._open[attachment.name]

    def open_all(self, attachments: Sequence[Attachment], *, vacant: bool) -> Dict[Attachment, CniError]:
        """Open the attachments' namespaces; errors for those that cannot be used, or are not ``vacant``."""
        errors: Dict[Attachment, CniError] = {}
        home = os.fstat(self._node.fd)
        for attachment in attachments:
            try:
                attachment.validate()
                if attachment.name not in self._open:
                    self._open[attachment.name] = Namespace.open(attachment.netns, attachment.name)
                if os.path.samestat(os.fstat(self[attachment].fd), home):
                    raise CniError(
                        CNI_INVALID_NETNS, f"CNI_NETNS {attachment.netns} is the node's own network namespace"
                    )
                if vacant:
                    self._require_vacant(attachment)
            except CniError as error:
                errors[attachment] = error
            except PodwireError as error:
                errors[attachment] = CniError(CNI_INVALID_NETNS, error.message, error.hint)
        return errors

    def _require_vacant(self, attachment: Attachment) -> None:
        with self[attachment].entered():
            try:
                socket.if_nametoindex(attachment.ifname)
            except OSError:
                return
        raise CniError(
            CNI_CONFLICT, f"{attachment.ifname} already exists in {attachment.name}", "detach it first (DEL)"
        )

    def announce(self, projections: Mapping[Attachment, Projection]) -> None:
        """Tell the neighbours of addresses that were at another MAC address before. Ours follow from the
        address (plugins.naming.mac_of); another plugin's may have been any."""
        places = {
            address.interface.ip: link.mac
            for projection in projections.values()
            for link in projection.pod.links
            for address in projection.pod.addresses
            if link.mac is not None
        }
        moved = stale_neighbours(self._node, places)
        for each, projection in projections.items():
            if moved and not moved.isdisjoint(address.interface.ip for address in projection.pod.addresses):
                announce(self[each], projection.pod.links)

    def targets(self, projections: Mapping[Attachment, Projection]) -> List[Target]:
        """One target for the node and one a container's namespace."""
        pods: Dict[str, State] = {}
        for attachment, projection in projections.items():
            pods[attachment.name] = pods.get(attachment.name, EMPTY) | projection.pod
        node = union(each for p in projections.values() for each in (p.node, p.shared))
        inside = [self._target(self._open[name], state) for name, state in pods.items()]
        return [self._target(self._node, node), *inside] if projections else []

    def node_target(self, state: State) -> Target:
        """A target for the node alone."""
        return self._target(self._node, state)

    def _target(self, namespace: Namespace, state: State) -> Target:
        if not self._ipv6:  # a kernel without it has neither its sysctls nor what they guard against
            state = state._replace(
                sysctls=frozenset(sysctl for sysctl in state.sysctls if not sysctl.key.startswith("net/ipv6/"))
            )
        return Target(namespace, state, scope_of(state, protocol=None))


def union(states: Iterable[State]) -> State:
    """All objects of some states."""
    return State(*(frozenset().union(*fields) for fields in zip(EMPTY, *states)))
