"""Single questions to a namespace's kernel that concern no declared object."""

from __future__ import annotations

from typing import List, Optional, Tuple

from ..model.address import RTM_GETADDR, Address
from ..model.link import peer_of
from ..model.route import RT_TABLE_LOCAL, RTM_GETROUTE, Route
from . import devices
from .namespaces import Namespace


def all_addresses(namespace: Namespace) -> List[Address]:
    """The addresses of all devices, without those that the kernel gives by itself."""
    names = devices.names(namespace)
    dump = namespace.socket.dump(RTM_GETADDR, bytes(8))
    return [address for address in (Address.decode(payload, names) for _, payload in dump) if address is not None]


def all_routes(namespace: Namespace) -> List[Route]:
    """The routes of all tables but the kernel's own (local)."""
    names = devices.names(namespace)
    dump = namespace.socket.dump(RTM_GETROUTE, bytes(12))
    routes = (Route.decode(payload, names) for _, payload in dump)
    return [route for route in routes if route.table != RT_TABLE_LOCAL]


def other_end(inside: Namespace, device: str, outside: Namespace) -> Optional[str]:
    """The name in ``outside`` of the other end of a veth device in ``inside``; None without the device or that end."""
    payload = devices.find(inside, device)
    return None if payload is None else devices.name_of(outside, peer_of(payload))


def fragments_made(namespace: Namespace) -> int:
    """Ip.FragCreates (RFC 4293's ipIfStatsOutFragCreates). ValueError if the kernel does not say."""
    rows = namespace.call(_ip_counters)
    try:
        return int(dict(zip(*rows))["FragCreates"])
    except (KeyError, TypeError) as error:
        raise ValueError("no Ip.FragCreates") from error


def _ip_counters() -> Tuple[List[str], ...]:
    with open("/proc/thread-self/net/snmp", encoding="ascii") as file:
        return tuple(line.split() for line in file if line.startswith("Ip:"))
