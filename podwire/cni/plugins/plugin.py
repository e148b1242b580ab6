"""What a plugin is: a projection of its configuration, an attachment and the addresses that IPAM gave.

A plugin says what should be there; ADD makes it so, CHECK plans towards it and finds nothing to do, DEL plans towards
its absence. So one engine runs a plugin as an executable for one attachment, and in the runtime's process for hundreds.
"""

from __future__ import annotations

from ...model.state import EMPTY, State
from ...startup_typing import TYPE_CHECKING, NamedTuple, Protocol
from ..spec.result import Result

if TYPE_CHECKING:
    from typing import FrozenSet, List, Optional, Tuple

    from ...kernel import Namespace
    from ...model.objects import Chain
    from ..spec.netconf import Attachment, NetConf
    from .chains import Kind


class Projection(NamedTuple):
    """What an attachment should look like.

    node:    objects in the node's namespace that belong to this attachment alone: gone after its DEL.
    pod:     objects in the container's namespace.
    shared:  objects in the node's namespace that all attachments need (a bridge, forwarding): each ADD makes sure of
             them, no DEL touches them.
    """

    result: Result
    node: State = EMPTY
    pod: State = EMPTY
    shared: State = EMPTY

    def after(self, earlier: Projection) -> Projection:
        """This one and an earlier one of the same chain."""
        return Projection(self.result, earlier.node | self.node, earlier.pod | self.pod, earlier.shared | self.shared)


class Plugin(Protocol):
    """One plugin. ``type`` is what a NetConf calls it. ``makes_interface``: whether it makes the container's interface,
    so that it must not be there before, and may have IPAM. All methods raise CniError; the first ones are pure."""

    @property
    def type(self) -> str: ...

    @property
    def makes_interface(self) -> bool: ...

    def project(
        self, conf: NetConf, attachment: Attachment, ipam: Optional[Result], previous: Optional[Result]
    ) -> Projection:
        """What the attachment should look like, given IPAM's result and that of the plugins before it in the chain."""

    def devices(self, conf: NetConf, attachment: Attachment) -> FrozenSet[str]:
        """Names of the node's devices that belong to the attachment alone; needs no namespace and no address."""

    def chains(self, conf: NetConf) -> Tuple[Chain, ...]:
        """nftables chains in which attachments may have rules of their own."""

    def iptables_chains(self, conf: NetConf) -> Tuple[Kind, ...]:
        """Of which kinds containers may have chains in iptables, by whichever plugin and backend."""

    def refuse_clash(self, conf: NetConf, shared: State, device: State) -> State:
        """What of a shared device that exists already has to go; CniError if that must not be."""

    def without_device(self, conf: NetConf, shared: State, device: str) -> State:
        """What is still to be made where a shared device exists already."""

    def optional_features(self, conf: NetConf) -> str:
        """The keys, with their values, that not every kernel can do."""

    def validate(self, conf: NetConf) -> None:
        """CniError for a configuration that no ADD takes."""

    # What is on the node and not in the model:

    def after_add(self, conf: NetConf, attachment: Attachment, result: Result, node: Namespace) -> None:
        """Add it; everything of the projection is there."""

    def lacking(self, conf: NetConf, attachment: Attachment, result: Result, node: Namespace) -> List[str]:
        """What of it is not there."""

    def after_delete(self, conf: NetConf, attachment: Attachment, node: Namespace) -> None:
        """Remove it, whatever configuration it was added by."""

    def after_collect(self, conf: NetConf, valid: FrozenSet[Tuple[str, str]], node: Namespace) -> None:
        """Remove it for attachments that are not valid."""
