"""Devices that attachments share and that exist already: bridges, and gateways of VLANs on them.

==============  ===================================================================================================
of others       what the list asks for is added, and nothing else changes: no MAC address, MTU or sysctl
podwire's own   likewise, since other networks may be on it, but that it takes no router advertisements
and ``exact``   exactly as the list says: for whoever has made the bridge for this list alone, as a lab
==============  ===================================================================================================
"""

from __future__ import annotations

from ...errors import CNI_CONFLICT, CniError
from ...kernel import execute, link_of
from ...kernel.show import addresses_of
from ...model.state import EMPTY, State
from ...plan import ADD, REMOVE, Operation
from ...startup_typing import TYPE_CHECKING
from ..plugins import naming

if TYPE_CHECKING:
    from typing import Dict, FrozenSet, Optional

    from ...kernel import Namespace
    from ...model.objects import Address, Link, MacAddress
    from ..plugins.plugin import Plugin, Projection
    from ..spec.netconf import NetConf


class Adoption:
    """What is found on the node is read once for all attachments of a call."""

    def __init__(self, node: Namespace, *, exact: bool = False) -> None:
        self._node = node
        self._exact = exact
        self._observed: Dict[str, State] = {}
        #: Devices of others.
        self.foreign: FrozenSet[str] = frozenset()
        #: Addresses that have to go before those of the list come.
        self._clashing: FrozenSet[Address] = frozenset()

    def adopt(self, conf: NetConf, plugin: Plugin, projection: Projection) -> Projection:
        """A projection that takes the shared devices as they are; CniError if that cannot be."""
        for link in projection.shared.links:
            observed = self._observe(link.name)
            if observed.links:
                projection = self._adopt(conf, plugin, projection, link, observed)
        return projection

    def _observe(self, name: str) -> State:
        state = self._observed.get(name)
        if state is None:
            link = link_of(self._node, name)
            state = EMPTY if link is None else State(frozenset({link}), addresses=addresses_of(self._node, name))
            self._observed[name] = state
        return state

    def _adopt(
        self, conf: NetConf, plugin: Plugin, projection: Projection, wanted: Link, observed: State
    ) -> Projection:
        [current] = observed.links
        if current.kind != wanted.kind:
            raise CniError(
                CNI_CONFLICT, f"{wanted.name} already exists but is not a {wanted.kind}", "choose another name"
            )
        ours = naming.is_ours(current, observed.addresses, *([wanted.mac] if wanted.mac else ()))
        shared = projection.shared._replace(links=projection.shared.links - {wanted})
        if self._exact and ours:
            return projection._replace(shared=shared | State(frozenset({wanted._replace(alias=None)})))
        kept = wanted._replace(mac=None, mtu=None, alias=None)
        shared = plugin.without_device(conf, shared | State(frozenset({kept})), wanted.name)
        if not ours:
            self.foreign |= {wanted.name}
            shared = shared._replace(
                sysctls=frozenset(sysctl for sysctl in shared.sysctls if f"/conf/{wanted.name}/" not in sysctl.key)
            )
        clashing = plugin.refuse_clash(conf, shared, observed).addresses
        self._clashing |= clashing
        shared |= State(addresses=observed.addresses - clashing)
        return _told(projection._replace(shared=shared), wanted, current)

    # --- addresses that clash ------------------------------------------------------------------------

    def clear(self) -> None:
        """Remove addresses that clash: a first address takes along those that came behind it, so it goes before."""
        self._execute(REMOVE)

    def restore(self) -> None:
        """Undo ``clear`` after an error."""
        self._execute(ADD)

    def _execute(self, action: str) -> None:
        execute([(self._node, Operation(action, address)) for address in sorted(self._clashing, key=str)], {})


def _told(projection: Projection, wanted: Link, current: Link) -> Projection:
    """The projection with the device's own MAC address and MTU where it tells of them."""
    result = projection.result
    interfaces = tuple(
        interface._replace(mac=current.mac, mtu=current.mtu or 0)
        if (interface.name, interface.sandbox) == (wanted.name, "")
        else interface
        for interface in result.interfaces
    )
    mac: Optional[MacAddress] = current.mac
    pins = frozenset(
        neighbour._replace(mac=mac) if mac and neighbour.mac == wanted.mac else neighbour
        for neighbour in projection.pod.neighbours
    )
    return projection._replace(
        result=result._replace(interfaces=interfaces), pod=projection.pod._replace(neighbours=pins)
    )
