"""What podwire has to know of a backend. Whoever needs to know asks here, and compares no type."""

from __future__ import annotations

from typing import ClassVar, Mapping, Optional, Sequence, Tuple

from ..model.objects import Link
from ..model.state import State
from .endpoint import Endpoint
from .settings import BackendSettings


class Backend:
    """A backend with the cluster's settings. A new one overrides what differs, and gets a line in ``BACKENDS``.

    type:                   as ``backend.type`` of an inventory.
    title:                  its name in messages.
    overhead:               bytes that it adds to a pod's packet, by the IP version between nodes.
    needs_adjacency:        it works only between nodes on one segment, without NAT.
    offers_direct_routing:  it can leave adjacent peers to plain routes.
    """

    type: ClassVar[str]
    title: ClassVar[str]
    overhead: ClassVar[Mapping[int, int]] = {4: 0, 6: 0}
    needs_adjacency: ClassVar[bool] = False
    offers_direct_routing: ClassVar[bool] = False

    def __init__(self, settings: BackendSettings) -> None:
        self.settings = settings

    @property
    def routes_directly(self) -> bool:
        """Whether adjacent peers are reached by plain routes through the external interface."""
        return self.needs_adjacency or (self.offers_direct_routing and self.settings.direct_routing)

    @property
    def udp_port(self) -> Optional[int]:
        """The UDP port that nodes have to let in from peers."""
        return None

    @property
    def network_id(self) -> Optional[int]:
        """The number that tells its packets from those of other networks, such as a VNI."""
        return None

    def device(self, version: int) -> str:
        """Name of its device for an IP version; "" without one."""
        return ""

    def probe_links(self) -> Tuple[Link, ...]:
        """Devices that a node's kernel has to be able to make; preflight makes them in a namespace that goes again."""
        return ()

    def kernel_warning(self, release: Tuple[int, ...], device: str) -> Optional[Tuple[str, str]]:
        """(problem, fix) of a known bug of this Linux release, such as (5, 4), with the backend's device."""
        return None

    def desired(self, node: Endpoint, peers: Sequence[Endpoint], mtu: int) -> State:
        """What the node's root namespace needs to reach the peers' pods over one IP version.

        ``mtu`` is that of the backend's device. IntentError for a peer that this backend cannot reach.
        """
        raise NotImplementedError
