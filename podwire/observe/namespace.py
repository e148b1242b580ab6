"""One network namespace as JSON's values, from nine dumps and a few small files: about a millisecond.

Devices are named, never numbered, as everywhere; what has no name here has its ifindex as text. The rows are the
kinds' own (podwire.model), but for routing rules, which podwire only reads (include/uapi/linux/fib_rules.h).
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Callable, Dict, Iterable, List, Optional, cast

from ..errors import KernelError
from ..kernel import Namespace
from ..kernel.show import read_sysctl
from ..model import address, fdb, link, neighbour, next_hop, route
from ..model.wire import AF_INET, RTM_GETLINK, after, attribute, ip, number, string
from .records import LinkRow, NamespaceRows

if TYPE_CHECKING:
    from ..model.wire import Names, Row

RTM_GETRULE, RTM_GETNSID = 34, 90
_NSID, _NSID_FD = 1, 3  # NETNSA_*
_RULE = struct.Struct("=BBBBBBBBI")
_DST, _SRC, _IIF, _PRIORITY, _MARK, _TABLE, _OIF = 1, 2, 3, 6, 10, 15, 17  # FRA_*
_ACTIONS = {1: "lookup", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
_SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/conf/all/arp_ignore",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/all/disable_ipv6",
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-call-ip6tables",
    "net/ipv4/icmp_echo_ignore_all",
)
_DEVICE_SYSCTLS = ("ipv4/conf/{}/forwarding", "ipv4/conf/{}/rp_filter", "ipv4/conf/{}/arp_ignore",
                   "ipv6/conf/{}/forwarding", "ipv6/conf/{}/disable_ipv6")  # fmt: skip
_SWITCHED_OFF = (95, 93, 97, 22)  # EOPNOTSUPP, EPROTONOSUPPORT, EAFNOSUPPORT, EINVAL of old kernels


def read(namespace: Namespace) -> NamespaceRows:
    """Links, addresses, routes, rules, neighbours, FDB, next hops, sysctls and counters."""
    devices = links(namespace)
    names = {device["ifindex"]: device["name"] for device in devices}
    with namespace.entered():
        sysctls = _sysctls([device["name"] for device in devices])
        numbers = counters()
    rows: Row = {
        "links": devices,
        "addresses": _dump(namespace, address.RTM_GETADDR, bytes(8), names, address.row),
        "routes": _dump(namespace, route.RTM_GETROUTE, bytes(12), names, route.row),
        "rules": _dump(namespace, RTM_GETRULE, bytes(12), names, _rule),
        "neighbours": _dump(namespace, neighbour.RTM_GETNEIGH, bytes(12), names, neighbour.row),
        "fdb": _dump(namespace, neighbour.RTM_GETNEIGH, fdb.fdb_request(), names, fdb.row),
        "next_hops": _dump(namespace, next_hop.RTM_GETNEXTHOP, bytes(8), names, next_hop.row),
        "sysctls": sysctls,
        "counters": numbers,
    }
    return cast(NamespaceRows, rows)


def links(namespace: Namespace) -> List[LinkRow]:
    """The devices. A veth's ``link`` is its peer's ifindex in the namespace of number ``link_netnsid``."""
    payloads = [payload for _, payload in namespace.socket.dump(RTM_GETLINK, bytes(16))]
    names = dict(map(link.index_and_name, payloads))
    return cast(List[LinkRow], [link.row(payload, names) for payload in payloads])


def nsid(namespace: Namespace, descriptor: int) -> Optional[int]:
    """The number by which ``namespace`` knows another one (rtnetlink RTM_GETNSID); None if it does not."""
    answer = namespace.socket.get(RTM_GETNSID, bytes(4) + attribute(_NSID_FD, struct.pack("=I", descriptor)))
    value = None if answer is None else after(answer, 4).get(_NSID)
    known: int = -1 if value is None else struct.unpack("=i", value)[0]
    return None if known < 0 else known


def _dump(
    namespace: Namespace, kind: int, payload: bytes, names: Names, row: Callable[[bytes, Names], Optional[Row]]
) -> List[Row]:
    try:
        answers = namespace.socket.dump(kind, payload)
    except KernelError as error:
        if error.errno in _SWITCHED_OFF:
            return []
        raise
    return [made for made in (row(answer, names) for _, answer in answers) if made is not None]


def _rule(payload: bytes, _: Names) -> Row:
    family, to, source, _, table, _, _, action, _ = _RULE.unpack_from(payload)
    values = after(payload, 12)
    row: Row = {
        "family": 4 if family == AF_INET else 6,
        "priority": number(values[_PRIORITY]) if _PRIORITY in values else 0,
        "table": number(values[_TABLE]) if _TABLE in values else table,
        "action": _ACTIONS.get(action, str(action)),
    }
    for kind, key, prefix in ((_DST, "to", to), (_SRC, "from", source)):
        if kind in values:
            row[key] = f"{ip(values[kind])}/{prefix}"
    for kind, key in ((_IIF, "iif"), (_OIF, "oif")):
        if kind in values:
            row[key] = string(values[kind])
    if _MARK in values:
        row["mark"] = number(values[_MARK])
    return row


def _sysctls(devices: Iterable[str]) -> Dict[str, str]:
    values = {}
    keys = [f"net/{key.format(name)}" for name in devices if name != "lo" for key in _DEVICE_SYSCTLS]
    for key in (*_SYSCTLS, *keys):
        try:
            values[key] = read_sysctl(key)
        except OSError:
            continue
    return values


def counters() -> Dict[str, int]:
    """Everything of /proc/net/snmp, netstat and snmp6 that is not zero, as ``Ip.FragCreates``, ``Ip6.…``."""
    counts: Dict[str, int] = {}
    for path in ("/proc/thread-self/net/snmp", "/proc/thread-self/net/netstat"):
        lines = _lines(path)
        for header, values in zip(lines[::2], lines[1::2]):
            group, *keys = header.split()
            for key, value in zip(keys, values.split()[1:]):
                if value != "0":
                    counts[f"{group[:-1]}.{key}"] = int(value)
    for line in _lines("/proc/thread-self/net/snmp6"):
        key, _, value = line.partition(" ")
        if value.strip() != "0" and key[:3] == "Ip6":
            counts[f"Ip6.{key[3:]}"] = int(value)
    return counts


def _lines(path: str) -> List[str]:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        data = b""
        while True:
            part = os.read(file, 65536)
            if not part:
                return data.decode().splitlines()
            data += part
    finally:
        os.close(file)
