"""The kernel asked, and not emulated: how it would send a packet on, what it queues by and filters with.

Sources: net/ipv4/route.c (inet_rtm_getroute), net/core/neighbour.c (neigh_get), net/core/rtnetlink.c (rtnl_fdb_get),
include/uapi/linux/{rtnetlink,neighbour,pkt_sched}.h.
"""

from __future__ import annotations

import errno
import struct
from ipaddress import ip_address
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, TypedDict

from ..errors import KernelError
from ..model.fdb import destination_of, fdb_lookup
from ..model.neighbour import RTM_GETNEIGH, neighbour_lookup, resolved
from ..model.objects import IPAddress, MacAddress, Route
from ..model.route import RTM_GETROUTE, exit_of, lookup
from ..model.wire import after, nested, string
from . import Namespace, devices

_RTM_GETQDISC, _RTM_GETTFILTER, _RTM_GETNEIGHTBL = 38, 46, 66
_ROOT = 0xFFFFFFFF
#: Parents of what clsact has: TC_H_CLSACT, and its TC_H_MIN_INGRESS and TC_H_MIN_EGRESS.
_INGRESS = 0xFFFFFFF1
_HOOKS = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}
#: What answers a lookup for which there is no route, or one of kind unreachable, prohibit or blackhole.
_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL, errno.ESRCH)
_KINDS = {"unicast": "forwarded", "local": "delivered locally"}


def route_get(namespace: Namespace, destination: IPAddress) -> Optional[Route]:
    """``ip route get DESTINATION``: how the kernel would send there, with the source address; None if it would not."""
    try:
        answer = namespace.socket.ask(RTM_GETROUTE, lookup(destination))
    except KernelError as error:
        if error.errno in _NO_ROUTE:
            return None
        raise
    index = exit_of(answer)[2]
    return Route.decode(answer, {index: devices.name_of(namespace, index) or ""} if index else {})


class Hop(NamedTuple):
    """Where a packet goes next: ``word`` is ``forwarded``, ``delivered locally`` or the name of an error."""

    word: str
    gateway: str = ""
    device: int = 0

    @property
    def goes_on(self) -> bool:
        """Whether there is a next hop at all."""
        return self.word == "forwarded"


def route(namespace: Namespace, destination: str, source: str, iif: int) -> Hop:
    """``ip route get DESTINATION from SOURCE iif IIF``."""
    try:
        answer = namespace.socket.ask(RTM_GETROUTE, lookup(ip_address(destination), ip_address(source), iif))
    except KernelError as error:
        return Hop(errno.errorcode.get(error.errno or 0, str(error.errno)))
    kind, gateway, device = exit_of(answer)
    return Hop(_KINDS.get(kind, f"kind {answer[7]}"), str(gateway) if gateway else destination, device)


def onward(namespace: Namespace, hop: Hop, links: Mapping[int, Mapping[str, Any]]) -> str:
    """What the kernel has for a hop: ``ip neigh get``, and on a VXLAN device ``bridge fdb get ... self``."""
    link = links.get(hop.device, {})
    text = f"{hop.word} to {hop.gateway} dev {link.get('name', hop.device)}"
    mac = neighbour(namespace, hop.gateway, hop.device)
    if mac is None:
        return f"{text}; it has no MAC address for that"
    if "vxlan" not in link:
        return f"{text}, {mac}"
    to = tunnel_end(namespace, mac, hop.device)
    return f"{text}, {mac}, {f'by {to}' if to else 'for which it has no FDB entry'}"


def neighbour(namespace: Namespace, ip: str, device: int) -> Optional[MacAddress]:
    """``ip neigh get IP dev DEVICE``; None for one without a MAC address."""
    answer = namespace.socket.get(RTM_GETNEIGH, neighbour_lookup(ip_address(ip).packed, device))
    return None if answer is None else resolved(answer)[1]


class NeighbourTable(NamedTuple):
    """The kernel's one table for IPv4, of all namespaces: neighbours that it had no room for so far (counted since it
    was started), and how many that it may forget it holds (gc_thresh3)."""

    refused: int
    most: int


def neighbour_table(namespace: Namespace) -> NeighbourTable:
    """``ip ntable show name arp_cache``. Source: include/uapi/linux/neighbour.h, struct ndt_stats."""
    for _, payload in namespace.socket.dump(_RTM_GETNEIGHTBL, bytes(4)):
        values = after(payload, 4)
        if string(values.get(1, b"")) == "arp_cache" and len(values.get(7, b"")) >= 88:
            return NeighbourTable(
                struct.unpack_from("=Q", values[7], 80)[0], struct.unpack_from("=I", values.get(4, bytes(4)))[0]
            )
    return NeighbourTable(0, 0)


def tunnel_end(namespace: Namespace, mac: MacAddress, device: int) -> str:
    """``bridge fdb get MAC dev DEVICE self``: the address that a VXLAN device sends to; "" for none."""
    answer = namespace.socket.get(RTM_GETNEIGH, fdb_lookup(mac, device))
    return "" if answer is None else str(destination_of(answer) or "")


class Filter(TypedDict):
    """A filter of tc. ``hook``: ingress or egress; ``name``: an eBPF program's."""

    device: str
    hook: str
    preference: int
    kind: str
    name: str


def filters(namespace: Namespace, names: Mapping[int, str]) -> List[Filter]:
    """tc's filters, eBPF programs among them."""
    rows: List[Filter] = []
    for _, payload in namespace.socket.dump(_RTM_GETQDISC, bytes(20)):
        _, index, _, parent, _ = struct.unpack_from("=BxxxiIII", payload)
        kind = after(payload, 20).get(1, b"").rstrip(b"\0")
        if parent != _INGRESS or kind not in (b"clsact", b"ingress"):
            continue
        for hook, handle in _HOOKS.items() if kind == b"clsact" else [("ingress", _INGRESS)]:
            rows += _filters_of(namespace, index, names.get(index, str(index)), hook, handle)
    return rows


def _filters_of(namespace: Namespace, index: int, device: str, hook: str, parent: int) -> Iterator[Filter]:
    request = struct.pack("=BxxxiIII", 0, index, 0, parent, 0)
    for _, row in namespace.socket.dump(_RTM_GETTFILTER, request):
        _, _, handle, _, info = struct.unpack_from("=BxxxiIII", row)
        values = after(row, 20)
        name = nested(values.get(2, b"")).get(7, b"")  # TCA_BPF_NAME
        if handle:  # the first row of a preference is for all of it
            kind = string(values.get(1, b""))
            yield {"device": device, "hook": hook, "preference": info >> 16, "kind": kind, "name": string(name)}


def disciplines(namespace: Namespace) -> Dict[str, str]:
    """Device -> kind of its root queueing discipline, where somebody set one; ``netem loss`` or ``netem delay``."""
    names = devices.names(namespace)
    kinds = {}
    for _, payload in namespace.socket.dump(_RTM_GETQDISC, bytes(20)):
        _, index, handle, parent, _ = struct.unpack_from("=BxxxiIII", payload)
        if parent == _ROOT and handle and index in names:
            values = after(payload, 20)
            kind, options = string(values.get(1, b"")), values.get(2, b"")
            if kind == "netem" and len(options) >= 12:  # struct tc_netem_qopt: latency, limit, loss, ...
                kind = "netem loss" if struct.unpack_from("=I", options, 8)[0] else "netem delay"
            kinds[names[index]] = kind
    return kinds
