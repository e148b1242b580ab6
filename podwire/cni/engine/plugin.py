"""What a plugin is: a pure projection of its configuration, an attachment and a reservation.

A plugin does nothing. It says what should be there; ADD makes it so, CHECK plans towards it and finds
nothing to do, DEL plans towards its absence. So a plugin run by the runtime in this process for two hundred
attachments and one run as an executable for one are the same code.
"""

from __future__ import annotations

from ...ipam.allocator import Reservation
from ...model.state import EMPTY, State
from ...startup_typing import TYPE_CHECKING, NamedTuple, Protocol
from ..spec.netconf import Attachment, NetConf
from ..spec.result import Result

if TYPE_CHECKING:
    from typing import FrozenSet, Optional, Tuple, Union

    from ...model.objects import Chain
    from ..plugins.chains import Kind


#: What the node's namespace is called, in messages and as the place of a veth's other end; no container's name has
#: a space.
NODE = "the node"


class Projection(NamedTuple):
    """What an attachment should look like.

    node:    objects in the node's namespace that are this attachment's own: gone after its DEL.
    pod:     objects in the container's namespace.
    shared:  objects in the node's namespace that all attachments stand on (a bridge, forwarding): each ADD sees to
             them, no DEL touches them.
    """

    result: Result
    node: State = EMPTY
    pod: State = EMPTY
    shared: State = EMPTY

    def behind(self, earlier: Projection) -> Projection:
        """This one behind an earlier one of the same chain."""
        return Projection(self.result, earlier.node | self.node, earlier.pod | self.pod, earlier.shared | self.shared)


class Plugin(Protocol):
    """One plugin. ``type`` is what a NetConf calls it; all methods are pure and raise CniError."""

    type: str

    def project(
        self,
        conf: NetConf,
        attachment: Attachment,
        reservation: Union[Reservation, Result, None],
        previous: Optional[Result],
    ) -> Projection:
        """What the attachment should look like, given the result of the plugins before it in the chain.

        ``reservation``: addresses held by this process's own IPAM, or the result of any IPAM plugin.
        """

    def devices(self, conf: NetConf, attachment: Attachment) -> FrozenSet[str]:
        """Names of the node's devices that are the attachment's own; needs no namespace and no reservation."""

    def chains(self, conf: NetConf) -> Tuple[Chain, ...]:
        """nftables chains in which attachments may have rules of their own."""

    def iptables_chains(self, conf: NetConf) -> Tuple[Kind, ...]:
        """Of which kinds containers may have chains in iptables, by whichever plugin and backend."""
