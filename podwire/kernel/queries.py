"""Single questions to a namespace's kernel that concern no declared object."""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

from ..model.objects import Address, Route
from .namespaces import Namespace
from .netlink import rtnetlink
from .netlink.socket import attributes

_IFLA_LINK = 5


def all_addresses(namespace: Namespace) -> List[Address]:
    """The addresses of all devices."""
    names = _names(namespace)
    dump = namespace.socket.dump(rtnetlink.RTM_GETADDR, bytes(8))
    return [
        address for address in (rtnetlink.read_address(payload, names) for _, payload in dump) if address is not None
    ]


def all_routes(namespace: Namespace) -> List[Route]:
    """The routes of all tables but the kernel's own (local)."""
    names = _names(namespace)
    dump = namespace.socket.dump(rtnetlink.RTM_GETROUTE, bytes(12))
    decoded = (rtnetlink.read_route(payload, names) for _, payload in dump)
    return [route for route in decoded if route.table != rtnetlink.RT_TABLE_LOCAL]


def other_end(inside: Namespace, device: str, outside: Namespace) -> Optional[str]:
    """The name in ``outside`` of the other end of a veth device in ``inside``; None without the device or that end."""
    answer = inside.socket.get(rtnetlink.RTM_GETLINK, rtnetlink.link_request(device))
    if answer is None:
        return None
    index = int.from_bytes(dict(attributes(answer, 16, len(answer))).get(_IFLA_LINK, b""), "little")
    end = outside.socket.get(rtnetlink.RTM_GETLINK, rtnetlink.index_request(index))
    return None if end is None else rtnetlink.read_link_name(end)[1]


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


def _names(namespace: Namespace) -> Dict[int, str]:
    links = namespace.socket.dump(rtnetlink.RTM_GETLINK, bytes(16))
    return dict(rtnetlink.read_link_name(payload) for _, payload in links)
