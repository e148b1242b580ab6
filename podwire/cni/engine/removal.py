"""DEL and GC: everything is found by names and comments that follow from the attachment, so that no namespace, cached
result or address is needed. Devices and rules first, then addresses."""

from __future__ import annotations

from ...converge import Target, converge
from ...errors import KernelError, PodwireError
from ...kernel import Namespace, link_of
from ...kernel.netlink.link_removal import remove_links
from ...model.state import EMPTY, Scope
from ...startup_typing import TYPE_CHECKING, Callable
from ..plugins.base import NODE
from .background import beside
from .ipam import Ipam

if TYPE_CHECKING:
    from typing import Dict, FrozenSet, Iterable, List, Mapping, Sequence, Set, Tuple

    from ...errors import CniError
    from ...ipam.store import Claim
    from ..plugins.plugin import Plugin
    from ..spec.netconf import Attachment, NetConf
    from ..spec.result import Result


class Removal:
    """The part of the engine that takes away, without what it takes to build."""

    def __init__(self, name: str, chain: Sequence[Tuple[NetConf, Plugin]], ipam: Ipam) -> None:
        self.name = name
        self.ipam = ipam
        self._chain = tuple(chain)

    def _devices(self, attachment: Attachment) -> FrozenSet[str]:
        devices: FrozenSet[str] = frozenset()
        for conf, plugin in self._chain:
            devices |= plugin.devices(conf, attachment)
        return devices

    def devices(self, attachment: Attachment) -> Set[str]:
        """The node's devices that belong to the attachment alone."""
        return set(self._devices(attachment))

    # --- DEL -----------------------------------------------------------------------------------------

    def delete(
        self, attachments: Sequence[Attachment], previous: Mapping[Attachment, Result]
    ) -> Dict[Attachment, CniError]:
        """Devices and rules, then addresses. Nothing of it has to be there, nor the namespace."""
        if attachments:
            with Namespace.current(NODE) as node, beside(lambda: self._unbind(attachments, previous, node)) as rest:
                missing = self._remove_devices(attachments, node)
            for attachment in missing:
                _remove_inside(attachment)
            release: Callable[[], None] = rest.result
            release()
        return {}

    def _unbind(
        self, attachments: Sequence[Attachment], previous: Mapping[Attachment, Result], node: Namespace
    ) -> Callable[[], None]:
        """What can be done while the kernel waits for the devices' last users. Addresses are released after that."""
        self._remove_rules(attachments, previous, node)
        return self.ipam.prepare_release(attachments)

    def _remove_devices(self, attachments: Sequence[Attachment], node: Namespace) -> List[Attachment]:
        """The devices on the node; a container's end goes with them. Attachments that had none, since another plugin
        made them, whose devices have other names."""
        devices = {attachment: self._devices(attachment) for attachment in attachments}
        names = sorted(frozenset().union(*devices.values()))
        if len(attachments) == 1:
            gone = not names or remove_links(node, names)
            return [] if gone else list(attachments)
        from ...kernel.devices import names as names_of

        present = set(names_of(node).values())
        names = [name for name in names if name in present]
        if names:
            remove_links(node, names)
        return [attachment for attachment, own in devices.items() if own and present.isdisjoint(own)]

    def _remove_rules(
        self, attachments: Sequence[Attachment], previous: Mapping[Attachment, Result], node: Namespace
    ) -> None:
        if any(plugin.chains(conf) or plugin.iptables_chains(conf) for conf, plugin in self._chain):
            from .rules import scope_of_rules

            converge([Target(node, EMPTY, scope_of_rules(self.name, self._chain, attachments, previous))])
        for conf, plugin in self._chain:
            for attachment in attachments:
                plugin.after_delete(conf, attachment, node)

    # --- GC, STATUS, whose is what -------------------------------------------------------------------

    def collect(self, valid: Sequence[Attachment]) -> None:
        """Devices and rules of attachments that are not valid, then IPAM's turn, also after an error."""
        errors: List[PodwireError] = []
        claims = [attachment.claim for attachment in valid]
        try:
            with Namespace.current(NODE) as node:
                self._collect_node(node, claims)
        except PodwireError as error:
            errors.append(error)
        self.ipam.collect(claims)
        if errors:
            raise errors[0]

    def _collect_node(self, node: Namespace, valid: List[Claim]) -> None:
        from ..spec.netconf import Attachment
        from .rules import scope_of_stale_rules

        gone = [Attachment(claim.container_id, claim.ifname) for claim in self.ipam.stale(valid)]
        devices = frozenset(name for attachment in gone for name in self._devices(attachment))
        if devices:
            converge([Target(node, EMPTY, Scope(links=devices, routes=False))])
        pairs = frozenset((claim.container_id, claim.ifname) for claim in valid)
        scope = scope_of_stale_rules(self.name, self._chain, node, pairs)
        if scope.owners or scope.iptables:
            converge([Target(node, EMPTY, scope)])
        for conf, plugin in self._chain:
            plugin.after_collect(conf, pairs, node)

    def status(self) -> None:
        """As ready as IPAM is."""
        for conf, plugin in self._chain:
            plugin.validate(conf)
        self.ipam.status()

    def stale(self, valid: Iterable[Claim]) -> List[Claim]:
        """Who holds addresses and is none of these."""
        return self.ipam.stale(valid)

    def owners(self, attachments: Iterable[Attachment]) -> Dict[str, Attachment]:
        """Attachments by the names of their devices, and by the owners of their rules."""
        from ..plugins.owned import owner
        from .rules import names_of_chains

        names: Dict[str, Attachment] = {}
        for attachment in attachments:
            rules = owner(self.name, attachment.container_id, attachment.ifname)
            own = (*self._devices(attachment), rules, *names_of_chains(self.name, self._chain, attachment))
            names.update(dict.fromkeys(own, attachment))
        return names


def _remove_inside(attachment: Attachment) -> None:
    """The container's end of a veth pair."""
    if not attachment.netns:
        return
    try:
        with Namespace.open(attachment.netns, attachment.name) as pod:
            link = link_of(pod, attachment.ifname)
            if link is not None and link.kind == "veth":
                remove_links(pod, [link.name])
    except (KernelError, ValueError):
        return  # no namespace, or none any more
