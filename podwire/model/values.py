"""What objects of several kinds are made of: addresses, MAC addresses, and the marks of what podwire makes."""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)

from ..startup_typing import Union

IPAddress = Union[IPv4Address, IPv6Address]
IPNetwork = Union[IPv4Network, IPv6Network]
IPInterface = Union[IPv4Interface, IPv6Interface]

#: rtm_protocol of routes and next hops made by a backend. Free in iproute2's rt_protos; not 12
#: (BIRD), 17 (mrouted, used by kube-router) or 80 (Calico's Felix).
ROUTE_PROTOCOL = 112
#: RTPROT_BOOT: what ``ip route add`` and the Go CNI plugins leave on a pod's routes.
PROTOCOL_BOOT = 3
#: IFLA_IFALIAS that marks devices made by a backend, so that one left by an old VNI is still ours.
BACKEND_ALIAS = "podwire backend"
#: What was broken on purpose, on the node's disk, a file a fault (podwire.faults.journal).
FAULT_JOURNAL = "/var/lib/podwire/faults"
MAIN_TABLE = 254


class MacAddress(bytes):
    """Six bytes that print as ``02:00:00:00:00:01``."""

    @classmethod
    def parse(cls, text: str) -> MacAddress:
        """Read ``aa:bb:cc:dd:ee:ff``; ValueError for anything else."""
        parts = text.split(":")
        if len(parts) != 6 or any(len(part) != 2 for part in parts):
            raise ValueError(f"{text!r} is not a MAC address")
        return cls(int(part, 16) for part in parts)

    def __str__(self) -> str:
        return ":".join(f"{byte:02x}" for byte in self)

    __repr__ = __str__
