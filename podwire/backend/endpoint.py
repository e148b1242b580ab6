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
        here, there = self.address, other.address
        return (
            here.ip in there.network
            and there.ip in here.network
            and self.public_ip == here.ip
            and other.public_ip == there.ip
        )
