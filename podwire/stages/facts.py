"""The interfaces of an existing node, and its routes to its peers."""

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
from . import Result

#: Routes are read for this many peers. Nodes that reach some of them by another interface have to declare one anyway.
PEERS = 16
_TIMEOUT = 5.0  # seconds for looking up names
_DISCARD = 9


def facts(peers: Sequence[str]) -> Result:
    """``facts``: ``{"interfaces": [[name, mtu, [address/length]]], "routes": [[peer, device, source]]}``, one route
    for each device and source. ``peers`` are addresses, or names that the node can resolve."""
    with Namespace.current("the node") as network:
        routes: Dict[tuple[str, str], str] = {}
        for peer, address in _addresses(peers):
            route = route_get(network, address)
            if route is not None and route.device and route.source:
                routes.setdefault((route.device, str(route.source)), peer)
        result: Dict[str, Any] = {
            "interfaces": [list(interface) for interface in interfaces(network)],
            "routes": [[peer, *device_and_source] for device_and_source, peer in routes.items()],
        }
    return {"changed": False, "facts": result}


def _addresses(peers: Sequence[str]) -> Iterator[Tuple[str, IPAddress]]:
    """Peers with their addresses. Names are looked up only if there are no addresses, and not for long."""
    names = []
    for peer in peers:
        try:
            yield peer, ip_address(peer)
        except ValueError:
            names.append(peer)
    deadline = time.monotonic() + _TIMEOUT
    for name in names if len(names) == len(peers) else ():
        if time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                for answer in socket.getaddrinfo(name, _DISCARD, type=socket.SOCK_DGRAM):
                    yield name, ip_address(answer[4][0])


def peers_of(name: str, hosts: Mapping[str, Mapping[str, Any]]) -> List[str]:
    """The addresses of some of a node's peers, for ``facts``."""
    others = (host for host in hosts if host != name)
    return [_address(host, hosts[host]) for _, host in zip(range(PEERS), others)]


def _address(host: str, variables: Mapping[str, Any]) -> str:
    """By the first variable that has one; otherwise the name."""
    for variable in ("node_public_ip", "node_public_ips", "node_address", "node_addresses", "ansible_host"):
        value = variables.get(variable)
        for address in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(address, str):
                return address.partition("/")[0]
    return host


def wanted(variables: Mapping[str, Any]) -> bool:
    """Whether anything has to be read: of an existing node that does not declare interface, address and MTU."""

    def declared(*names: str) -> bool:
        return any(variables.get(name) is not None for name in names)

    complete = declared("node_interface") and declared("node_address", "node_addresses") and declared("node_mtu")
    return variables.get("node_kind") == "ssh" and not complete
