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
from ..model.objects import IPAddress, MacAddress, Route
from . import Namespace
from .netlink import rtnetlink
from .netlink.socket import attribute, attributes

_RTM_GETQDISC, _RTM_GETTFILTER, _RTM_GETNEIGHTBL = 38, 46, 66
_ROOT = 0xFFFFFFFF
_RTA_DST, _RTA_SRC, _RTA_IIF, _RTA_OIF, _RTA_GATEWAY = 1, 2, 3, 4, 5
_NDA_DST, _NDA_LLADDR = 1, 2
_NTF_SELF = 2
#: Parents of what clsact has: TC_H_CLSACT, and its TC_H_MIN_INGRESS and TC_H_MIN_EGRESS.
_INGRESS = 0xFFFFFFF1
_HOOKS = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}
#: What answers a lookup for which there is no route, or one of kind unreachable, prohibit or blackhole.
_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL, errno.ESRCH)
_KINDS = {1: "forwarded", 2: "delivered locally"}


def route_get(namespace: Namespace, destination: IPAddress) -> Optional[Route]:
    """``ip route get DESTINATION``: how the kernel would send there, with the source address; None if it would not."""
    family = rtnetlink.AF_INET if destination.version == 4 else rtnetlink.AF_INET6
    head = struct.pack("=BBBBBBBBI", family, destination.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
    try:
        answer = namespace.socket.ask(rtnetlink.RTM_GETROUTE, head + attribute(_RTA_DST, destination.packed))
    except KernelError as error:
        if error.errno in _NO_ROUTE:
            return None
        raise
    names = {}
    device = dict(attributes(answer, 12, len(answer))).get(_RTA_OIF, b"")
    if device:
        link = namespace.socket.get(rtnetlink.RTM_GETLINK, rtnetlink.index_request(struct.unpack("=I", device)[0]))
        names = dict([rtnetlink.read_link_name(link)]) if link is not None else {}
    return rtnetlink.read_route(answer, names)


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
    to, by = ip_address(destination), ip_address(source)
    bits = 32 if to.version == 4 else 128
    family = rtnetlink.AF_INET if to.version == 4 else rtnetlink.AF_INET6
    payload = struct.pack("=BBBBBBBBI", family, bits, bits, 0, 0, 0, 0, 0, 0)
    payload += attribute(_RTA_DST, to.packed) + attribute(_RTA_SRC, by.packed)
    payload += attribute(_RTA_IIF, struct.pack("=I", iif))
    try:
        answer = namespace.socket.ask(rtnetlink.RTM_GETROUTE, payload)
    except KernelError as error:
        return Hop(errno.errorcode.get(error.errno or 0, str(error.errno)))
    values = dict(attributes(answer, 12, len(answer)))
    gateway = str(ip_address(values[_RTA_GATEWAY])) if _RTA_GATEWAY in values else destination
    device = int(struct.unpack("=I", values[_RTA_OIF])[0]) if _RTA_OIF in values else 0
    return Hop(_KINDS.get(answer[7], f"kind {answer[7]}"), gateway, device)


def onward(namespace: Namespace, hop: Hop, links: Mapping[int, Mapping[str, Any]]) -> str:
    """What the kernel has for a hop: ``ip neigh get``, and on a VXLAN device ``bridge fdb get ... self``."""
    link = links.get(hop.device, {})
    said = f"{hop.word} to {hop.gateway} dev {link.get('name', hop.device)}"
    mac = neighbour(namespace, hop.gateway, hop.device)
    if mac is None:
        return f"{said}; it has no MAC address for that"
    if "vxlan" not in link:
        return f"{said}, {mac}"
    to = tunnel_end(namespace, mac, hop.device)
    return f"{said}, {mac}, {f'by {to}' if to else 'for which it has no FDB entry'}"


def neighbour(namespace: Namespace, ip: str, device: int) -> Optional[MacAddress]:
    """``ip neigh get IP dev DEVICE``; None for one without a MAC address."""
    packed = ip_address(ip).packed
    family = rtnetlink.AF_INET if len(packed) == 4 else rtnetlink.AF_INET6
    answer = namespace.socket.get(rtnetlink.RTM_GETNEIGH, struct.pack("=BxxxiHBB", family, device, 0, 0, 0)
                                  + attribute(_NDA_DST, packed))  # fmt: skip
    mac = dict(attributes(answer, 12, len(answer))).get(_NDA_LLADDR) if answer is not None else None
    return MacAddress(mac) if mac is not None and len(mac) == 6 else None


class NeighbourTable(NamedTuple):
    """The kernel's one table for IPv4, of all namespaces: neighbours that it had no room for so far (counted since it
    was started), and how many that it may forget it holds (gc_thresh3)."""

    refused: int
    most: int


def neighbour_table(namespace: Namespace) -> NeighbourTable:
    """``ip ntable show name arp_cache``. Source: include/uapi/linux/neighbour.h, struct ndt_stats."""
    for _, payload in namespace.socket.dump(_RTM_GETNEIGHTBL, bytes(4)):
        values = dict(attributes(payload, 4, len(payload)))
        if _text(values.get(1, b"")) == "arp_cache" and len(values.get(7, b"")) >= 88:
            return NeighbourTable(
                struct.unpack_from("=Q", values[7], 80)[0], struct.unpack_from("=I", values.get(4, bytes(4)))[0]
            )
    return NeighbourTable(0, 0)


def tunnel_end(namespace: Namespace, mac: MacAddress, device: int) -> str:
    """``bridge fdb get MAC dev DEVICE self``: the address that a VXLAN device sends to; "" for none."""
    payload = struct.pack("=BxxxiHBB", rtnetlink.AF_BRIDGE, device, 0, _NTF_SELF, 0) + attribute(
        _NDA_LLADDR, bytes(mac)
    )
    answer = namespace.socket.get(rtnetlink.RTM_GETNEIGH, payload)
    found = dict(attributes(answer, 12, len(answer))).get(_NDA_DST) if answer is not None else None
    return "" if found is None else str(ip_address(found))


class Filter(TypedDict):
    """A filter of tc. ``hook``: ingress or egress; ``name``: an eBPF program's."""

    device: str
    hook: str
    preference: int
    kind: str
    name: str


def filters(namespace: Namespace, names: Mapping[int, str]) -> List[Filter]:
    """tc's filters, eBPF programs among them."""
    found: List[Filter] = []
    for _, payload in namespace.socket.dump(_RTM_GETQDISC, bytes(20)):
        _, index, _, parent, _ = struct.unpack_from("=BxxxiIII", payload)
        kind = dict(attributes(payload, 20, len(payload))).get(1, b"").rstrip(b"\0")
        if parent != _INGRESS or kind not in (b"clsact", b"ingress"):
            continue
        for hook, handle in _HOOKS.items() if kind == b"clsact" else [("ingress", _INGRESS)]:
            found += _filters_of(namespace, index, names.get(index, str(index)), hook, handle)
    return found


def _filters_of(namespace: Namespace, index: int, device: str, hook: str, parent: int) -> Iterator[Filter]:
    request = struct.pack("=BxxxiIII", 0, index, 0, parent, 0)
    for _, row in namespace.socket.dump(_RTM_GETTFILTER, request):
        _, _, handle, _, info = struct.unpack_from("=BxxxiIII", row)
        values = dict(attributes(row, 20, len(row)))
        options = values.get(2, b"")
        name = dict(attributes(options, 0, len(options))).get(7, b"")  # TCA_BPF_NAME
        if handle:  # the first row of a preference is for all of it
            kind = _text(values.get(1, b""))
            yield {"device": device, "hook": hook, "preference": info >> 16, "kind": kind, "name": _text(name)}


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def disciplines(namespace: Namespace) -> Dict[str, str]:
    """Device -> kind of its root queueing discipline, where somebody set one; ``netem loss`` or ``netem delay``."""
    names = {}
    for _, payload in namespace.socket.dump(rtnetlink.RTM_GETLINK, bytes(16)):
        index, name = rtnetlink.read_link_name(payload)[:2]
        names[index] = name
    found = {}
    for _, payload in namespace.socket.dump(_RTM_GETQDISC, bytes(20)):
        _, index, handle, parent, _ = struct.unpack_from("=BxxxiIII", payload)
        if parent == _ROOT and handle and index in names:
            values = dict(attributes(payload, 20, len(payload)))
            kind, options = _text(values.get(1, b"")), values.get(2, b"")
            if kind == "netem" and len(options) >= 12:  # struct tc_netem_qopt: latency, limit, loss, ...
                kind = "netem loss" if struct.unpack_from("=I", options, 8)[0] else "netem delay"
            found[names[index]] = kind
    return found
