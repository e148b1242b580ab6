"""Addresses: ranges that the node uses already, routes to peers that are not as declared, and duplicates."""

from __future__ import annotations

import select
import socket
import struct
import time
from typing import Iterator, List

from ..backend import device_names
from ..intent.cluster import Cluster, Node, adjacent
from ..kernel import Namespace
from ..kernel.lookup import route_get
from ..kernel.queries import all_addresses, all_routes
from ..kernel.show import link_of
from ..model.command import command
from ..model.objects import ROUTE_PROTOCOL, Address, Route
from ..sandbox import conflist
from .finding import NOT_RUN, OK, PROBLEM, Finding

_ARP = 0x0806
_ARP_PACKET = struct.Struct("!HHBBH6s4s6s4s")
_BROADCAST = b"\xff" * 6
#: Seconds for whoever has our address to say so (RFC 5227 wants up to 2 for three probes; a LAN answers at once).
_ARP_PATIENCE = 0.5


def look(cluster: Cluster, node: Node) -> Iterator[Finding]:
    """Everything below."""
    with Namespace.current() as namespace:
        yield from _interface(namespace, node, all_addresses(namespace))
        yield from _overlaps(cluster, node, all_routes(namespace))
        yield from _paths(namespace, cluster, node)
        yield from _duplicates(namespace, node)


def _interface(namespace: Namespace, node: Node, addresses: List[Address]) -> Iterator[Finding]:
    """The external interface is there, up, has the declared addresses and at least the declared MTU."""
    link = link_of(namespace, node.interface)
    if link is None:
        devices = sorted({address.device for address in addresses})
        yield Finding(
            PROBLEM,
            "interface",
            f"there is no {node.interface}; addresses are on {', '.join(devices) or 'no device'}",
            "declare node_interface",
        )
        return
    if not link.up:
        fix = str(command("ip link set dev {} up", node.interface))
        yield Finding(PROBLEM, "interface", f"{node.interface} is down", fix)
    if link.mtu is not None and link.mtu < node.mtu:
        text = f"{node.interface} has MTU {link.mtu}, and {node.mtu} is declared"
        yield Finding(PROBLEM, "interface", text, f"declare node_mtu: {link.mtu}")
    held = {address.interface.ip for address in addresses if address.device == node.interface}
    missing = [address for address in node.addresses if address.ip not in held]
    for address in missing:
        text = (
            f"{node.interface} does not have {address.ip}, but {', '.join(map(str, sorted(map(str, held)))) or 'none'}"
        )
        yield Finding(PROBLEM, "interface", text, "declare node_address and node_interface as they are")
    if link.up and not missing:
        yield Finding(OK, "interface", f"{node.interface} is up and has the declared addresses, and MTU {link.mtu}")


def _overlaps(cluster: Cluster, node: Node, routes: List[Route]) -> Iterator[Finding]:
    """Routes of others into the ranges of pods and services. A default route overlaps with everything, and is none."""
    backend_devices = device_names(cluster.backend) | conflist.bridges(conflist.declared(cluster, node.name))
    block = set(node.pod_cidrs)
    overlaps = False
    for route in routes:
        base = route.destination
        inside = any(cidr.version == base.version and base.subnet_of(cidr) for cidr in block)  # type: ignore[arg-type]
        if not base.prefixlen or route.protocol == ROUTE_PROTOCOL:
            continue
        if route.device in backend_devices or (inside and base.prefixlen == base.max_prefixlen):  # a pod's own
            continue
        for variable, cidrs in (("cluster_cidrs", cluster.cluster_cidrs), ("service_cidrs", cluster.service_cidrs)):
            for cidr in cidrs:
                if cidr.version == base.version and cidr.overlaps(base):
                    overlaps = True
                    right = f"remove it, or declare other {variable}"
                    yield Finding(PROBLEM, "ranges", f"{route} is inside {variable} {cidr}", right)
    if not overlaps:
        yield Finding(OK, "ranges", "no route of others into pods' and services' ranges")


def _paths(namespace: Namespace, cluster: Cluster, node: Node) -> Iterator[Finding]:
    """How the kernel would send to each peer: by the external interface, and without a gateway to adjacent ones."""
    wrong = False
    for version in cluster.versions:
        for peer in cluster.nodes:
            target = peer.public_ip(version)
            if peer.name == node.name or target is None:
                continue
            path = route_get(namespace, target)
            if path is None:
                wrong = True
                yield Finding(PROBLEM, "routes", f"no route to {peer.name} ({target})", "repair the node's own network")
            elif path.device != node.interface:
                wrong = True
                yield Finding(
                    PROBLEM,
                    "routes",
                    f"the route to {peer.name} ({target}) leaves by {path.device}, not by {node.interface}",
                    f"declare node_interface: {path.device}",
                )
            elif path.gateway is not None and adjacent(node, peer, version) and cluster.backend_driver.routes_directly:
                wrong = True
                yield Finding(
                    PROBLEM,
                    "routes",
                    f"{peer.name} ({target}) is declared adjacent, and is behind {path.gateway}",
                    "declare the right prefix length in node_address, or backend: {type: vxlan}",
                )
    if not wrong:
        yield Finding(OK, "routes", f"all peers are reached by {node.interface}")


def _duplicates(namespace: Namespace, node: Node) -> Iterator[Finding]:
    """Ask the segment for our own IPv4 address, as a newcomer does (RFC 5227, section 2.1.1): nobody may answer.
    For IPv6 the kernel has asked already (IFA_F_DADFAILED)."""
    address, link = node.address(4), link_of(namespace, node.interface)
    if address is None or link is None or link.mac is None or not link.up:
        return
    try:
        probe = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ARP))
    except PermissionError as error:
        yield Finding(NOT_RUN, "duplicate IP", f"no packet socket: {error.strerror}", "run it as root")
        return
    with probe:
        probe.bind((node.interface, _ARP))
        packet = _ARP_PACKET.pack(1, 0x0800, 6, 4, 1, link.mac, bytes(4), bytes(6), address.ip.packed)
        probe.sendto(packet, (node.interface, _ARP, 0, 0, _BROADCAST))
        owner_mac = _answer(probe, address.ip.packed, bytes(link.mac))
    if owner_mac:
        yield Finding(
            PROBLEM,
            "duplicate IP",
            f"{address.ip} is also at {owner_mac}",
            "give one of the two machines another address",
        )
    else:
        yield Finding(OK, "duplicate IP", "nobody else on the segment has the node's address")


def _answer(probe: socket.socket, ip: bytes, mac: bytes) -> str:
    """The MAC address that says it has ``ip``; "" for none within the time."""
    deadline = time.monotonic() + _ARP_PATIENCE
    while True:
        remaining = deadline - time.monotonic()
        if remaining <= 0 or not select.select([probe], [], [], remaining)[0]:
            return ""
        data = probe.recv(64)
        if len(data) >= _ARP_PACKET.size:
            sender, claimed = data[8:14], data[14:18]
            if claimed == ip and sender != mac:
                return ":".join(f"{byte:02x}" for byte in sender)


def machine_id() -> str:
    """This machine's identity, "" without one: two nodes with one are clones of one image."""
    try:
        with open("/etc/machine-id", encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
