"""A node as the backend of one IP version sees it."""

from __future__ import annotations

from typing import NamedTuple

from ..model.objects import IPAddress, IPInterface, IPNetwork


class Endpoint(NamedTuple):
    """``address`` is the external interface's, ``public_ip`` what peers send to: they differ behind NAT."""

    name: str
    interface: str
    address: IPInterface
    public_ip: IPAddress
    pod_cidr: IPNetwork

    @property
    def version(self) -> int:
        """IP version of all its addresses."""
        return self.address.version

    def is_adjacent(self, other: Endpoint) -> bool:
        """True when both nodes can send to the other's own address without a router or NAT.

        It holds in both directions or not at all: a peer that answered by another path would fail strict rp_filter.
        """
        own_address, other_address = self.address, other.address
        return (
            own_address.ip in other_address.network
            and other_address.ip in own_address.network
            and self.public_ip == own_address.ip
            and other.public_ip == other_address.ip
        )
