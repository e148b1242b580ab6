"""What a node says of itself before anything is made of it: its interfaces, and how it sends to its peers."""

from __future__ import annotations

import contextlib
import socket
import time
from ipaddress import ip_address
from typing import Any, Dict, Iterator, List, Mapping, Sequence, Tuple

from ..kernel import Namespace
from ..kernel.interfaces import interfaces
from ..kernel.lookup import route_get
from ..model.objects import IPAddress
from . import Answer

#: So many peers are asked for; nodes that send to some of them by another interface have to name one anyway.
PEERS = 16
_PATIENCE = 5.0  # seconds for looking up names
_DISCARD = 9


def facts(peers: Sequence[str]) -> Answer:
    """``facts``: ``{"interfaces": [[name, mtu, [address/length]]], "routes": [[peer, device, source]]}``, one route
    for each device and source. ``peers`` are addresses, or names that the node itself can look up."""
    with Namespace.current("the node") as here:
        routes: Dict[tuple[str, str], str] = {}
        for peer, address in _addresses(peers):
            route = route_get(here, address)
            if route is not None and route.device and route.source:
                routes.setdefault((route.device, str(route.source)), peer)
        told: Dict[str, Any] = {
            "interfaces": [list(interface) for interface in interfaces(here)],
            "routes": [[peer, *device_and_source] for device_and_source, peer in routes.items()],
        }
    return {"changed": False, "facts": told}


def _addresses(peers: Sequence[str]) -> Iterator[Tuple[str, IPAddress]]:
    """Peers with their addresses; names are looked up only where there are no addresses, and not for long."""
    names = []
    for peer in peers:
        try:
            yield peer, ip_address(peer)
        except ValueError:
            names.append(peer)
    deadline = time.monotonic() + _PATIENCE
    for name in names if len(names) == len(peers) else ():
        if time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                for each in socket.getaddrinfo(name, _DISCARD, type=socket.SOCK_DGRAM):
                    yield name, ip_address(each[4][0])


def peers_of(name: str, hosts: Mapping[str, Mapping[str, Any]]) -> List[str]:
    """Where a node's peers are reached, by the first variable that says so: some of them, for ``facts``."""
    others = (host for host in hosts if host != name)
    return [_place(host, hosts[host]) for _, host in zip(range(PEERS), others)]


def _place(host: str, variables: Mapping[str, Any]) -> str:
    for variable in ("node_public_ip", "node_public_ips", "node_address", "node_addresses", "ansible_host"):
        value = variables.get(variable)
        for each in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(each, str):
                return each.partition("/")[0]
    return host


def wanted(variables: Mapping[str, Any]) -> bool:
    """Whether anything has to be found: a node that exists, and does not declare all of it."""

    def declared(*names: str) -> bool:
        return any(variables.get(name) is not None for name in names)

    complete = declared("node_interface") and declared("node_address", "node_addresses") and declared("node_mtu")
    return variables.get("node_kind") == "ssh" and not complete
