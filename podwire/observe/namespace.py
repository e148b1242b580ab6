"""One network namespace as JSON's values, from nine dumps and a few small files: about a millisecond.

Devices are named, never numbered, as everywhere; what has no name here has its ifindex as text. Sources:
include/uapi/linux/{if_link,if_addr,rtnetlink,neighbour,nexthop,fib_rules}.h.
"""

from __future__ import annotations

import os
import struct
from ipaddress import ip_address
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, cast

from ..errors import KernelError
from ..kernel import Namespace
from ..kernel.netlink import rtnetlink
from ..kernel.netlink.socket import attribute, attributes
from ..kernel.show import read_sysctl
from ..model.objects import MacAddress
from .records import LinkRow, NamespaceRows

RTM_GETRULE, RTM_GETNSID = 34, 90
_NEIGHBOUR_STATES = {
    1: "incomplete", 2: "reachable", 4: "stale", 8: "delay", 16: "probe", 32: "failed", 64: "noarp", 128: "permanent",
}  # fmt: skip
_OPERATIONAL = ("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up")
_PORT_STATES = ("disabled", "listening", "learning", "forwarding", "blocking")
_ROUTE_KINDS = {
    1: "unicast", 2: "local", 3: "broadcast", 4: "anycast", 5: "multicast", 6: "blackhole", 7: "unreachable",
    8: "prohibit", 9: "throw",
}  # fmt: skip
_PORT_FLAGS = {4: "hairpin", 8: "learning", 9: "flood", 33: "isolated"}
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

Names = Mapping[int, str]
Row = Dict[str, Any]


def read(namespace: Namespace) -> NamespaceRows:
    """Links, addresses, routes, rules, neighbours, FDB, next hops, sysctls and counters."""
    devices = links(namespace)
    names = {link["ifindex"]: link["name"] for link in devices}
    with namespace.entered():
        sysctls = _sysctls([link["name"] for link in devices])
        numbers = counters()
    rows: Row = {
        "links": devices,
        "addresses": _dump(namespace, rtnetlink.RTM_GETADDR, bytes(8), names, _address),
        "routes": _dump(namespace, rtnetlink.RTM_GETROUTE, bytes(12), names, _route),
        "rules": _dump(namespace, RTM_GETRULE, bytes(12), names, _rule),
        "neighbours": _dump(namespace, rtnetlink.RTM_GETNEIGH, bytes(12), names, _neighbour),
        "fdb": _dump(namespace, rtnetlink.RTM_GETNEIGH, bytes([rtnetlink.AF_BRIDGE]) + bytes(11), names, _fdb),
        "next_hops": _dump(namespace, rtnetlink.RTM_GETNEXTHOP, bytes(8), names, _next_hop),
        "sysctls": sysctls,
        "counters": numbers,
    }
    return cast(NamespaceRows, rows)


def links(namespace: Namespace) -> List[LinkRow]:
    """The devices. A veth's ``link`` is its peer's ifindex in the namespace of number ``link_netnsid``."""
    found = _dump(namespace, rtnetlink.RTM_GETLINK, bytes(16), {}, _link)
    names = {link["ifindex"]: link["name"] for link in found}
    for link in found:
        for key in ("master", "link"):
            if key in link and not (key == "link" and "link_netnsid" in link):
                link[key] = names.get(link[key], str(link[key]))
        if "vxlan" in link:
            link["vxlan"]["device"] = names.get(link["vxlan"]["device"], "")
    return cast(List[LinkRow], found)


def nsid(namespace: Namespace, descriptor: int) -> Optional[int]:
    """The number by which ``namespace`` knows another one (rtnetlink RTM_GETNSID); None if it does not."""
    answer = namespace.socket.get(RTM_GETNSID, bytes(4) + attribute(3, struct.pack("=I", descriptor)))
    found = dict(attributes(answer, 4, len(answer))) if answer is not None else {}
    number = _i32(found[1]) if 1 in found else -1
    return None if number < 0 else number


def _dump(
    namespace: Namespace, kind: int, payload: bytes, names: Names, parse: Callable[[bytes, Names], Optional[Row]]
) -> List[Row]:
    try:
        answers = namespace.socket.dump(kind, payload)
    except KernelError as error:
        if error.errno in _SWITCHED_OFF:
            return []
        raise
    return [row for row in (parse(answer, names) for _, answer in answers) if row is not None]


def _u32(value: bytes) -> int:
    return int.from_bytes(value[:4], "little" if _LITTLE else "big")


_LITTLE = struct.pack("=H", 1) == b"\1\0"


def _i32(value: bytes) -> int:
    return int(struct.unpack("=i", value[:4])[0])


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def _ip(packed: bytes) -> str:
    return str(ip_address(packed))


def _mac(value: bytes) -> str:
    return str(MacAddress(value))


def _nested(value: bytes) -> Dict[int, bytes]:
    return dict(attributes(value, 0, len(value)))


def _link(payload: bytes, _: Names) -> Row:
    _, hardware, index, flags, _ = struct.unpack_from("=BxHiII", payload)
    found = dict(attributes(payload, 16, len(payload)))
    info = _nested(found.get(18, b""))
    kind = _text(info.get(1, b"")) or ("loopback" if hardware == 772 else "")
    row: Row = {
        "ifindex": index,
        "name": _text(found[3]),
        "kind": kind,
        "mtu": _u32(found[4]),
        "mac": _mac(found[1]) if len(found.get(1, b"")) == 6 else "",
        "up": bool(flags & rtnetlink.IFF_UP),
        "state": _OPERATIONAL[found[16][0]] if 16 in found and found[16][0] < len(_OPERATIONAL) else "unknown",
    }
    for number, key in ((5, "link"), (10, "master"), (37, "link_netnsid")):
        if number in found:
            row[key] = _i32(found[number])
    if 20 in found:
        row["alias"] = _text(found[20])
    if 23 in found:  # struct rtnl_link_stats64: packets, bytes, errors, dropped of both directions
        numbers = struct.unpack_from("=8Q", found[23])
        row["rx"] = {"packets": numbers[0], "bytes": numbers[2], "errors": numbers[4], "dropped": numbers[6]}
        row["tx"] = {"packets": numbers[1], "bytes": numbers[3], "errors": numbers[5], "dropped": numbers[7]}
    if kind == "vxlan":
        row["vxlan"] = _vxlan(_nested(info.get(2, b"")))
    if _text(info.get(4, b"")) == "bridge":
        port = _nested(info.get(5, b""))
        row["port"] = {name: bool(port[number][0]) for number, name in _PORT_FLAGS.items() if number in port}
        if 1 in port and port[1][0] < len(_PORT_STATES):
            row["port"]["state"] = _PORT_STATES[port[1][0]]
    return row


def _vxlan(data: Mapping[int, bytes]) -> Row:
    local = data.get(4) or data.get(17)
    return {
        "vni": _u32(data[1]),
        "port": int.from_bytes(data.get(15, b"\0\0"), "big"),
        "local": _ip(local) if local else "",
        "device": _u32(data[3]) if 3 in data else 0,
        "learning": bool(data.get(7, b"\0")[0]),
        "df": data.get(29, b"\0")[0] == 1,
    }


def _address(payload: bytes, names: Names) -> Row:
    _, prefix, flags, scope, index = struct.unpack_from("=BBBBI", payload)
    found = dict(attributes(payload, 8, len(payload)))
    flags = _u32(found[8]) if 8 in found else flags
    row: Row = {"device": names.get(index, str(index)), "address": _ip(found.get(2) or found[1]), "prefix": prefix}
    if scope:
        row["scope"] = {253: "link", 254: "host"}.get(scope, str(scope))
    words = [word for bit, word in ((8, "dadfailed"), (0x40, "tentative"), (0x200, "noprefixroute")) if flags & bit]
    if words:
        row["flags"] = words
    return row


def _route(payload: bytes, names: Names) -> Optional[Row]:
    family, prefix, _, _, table, protocol, scope, kind, flags = struct.unpack_from("=BBBBBBBBI", payload)
    if table == rtnetlink.RT_TABLE_LOCAL or family not in (rtnetlink.AF_INET, rtnetlink.AF_INET6):
        return None
    found = dict(attributes(payload, 12, len(payload)))
    empty = bytes(4) if family == rtnetlink.AF_INET else bytes(16)
    row: Row = {
        "destination": f"{_ip(found.get(1, empty))}/{prefix}",
        "kind": _ROUTE_KINDS.get(kind, str(kind)),
        "protocol": protocol,
        "table": _u32(found[15]) if 15 in found else table,
    }
    if 6 in found:
        row["metric"] = _u32(found[6])
    if 30 in found:
        row["next_hop"] = _u32(found[30])
    if 5 in found:
        row["gateway"] = _ip(found[5])
    if 4 in found:
        row["device"] = names.get(_u32(found[4]), "")
    if 7 in found:
        row["source"] = _ip(found[7])
    if 9 in found:
        row["hops"] = _multipath(found[9], names)
    metrics = _nested(found[8]) if 8 in found else {}
    if 2 in metrics:
        row["mtu"] = _u32(metrics[2])
    if scope and family == rtnetlink.AF_INET:
        row["scope"] = {253: "link", 254: "host"}.get(scope, str(scope))
    if flags & rtnetlink.RTNH_F_ONLINK:
        row["onlink"] = True
    return row


def _multipath(data: bytes, names: Names) -> List[Row]:
    """struct rtnexthop with attributes of its own."""
    hops: List[Row] = []
    start = 0
    while start + 8 <= len(data):
        length, _, _, index = struct.unpack_from("=HBBi", data, start)
        found = dict(attributes(data, start + 8, start + length))
        hops.append({"device": names.get(index, ""), **({"gateway": _ip(found[5])} if 5 in found else {})})
        start += max(8, (length + 3) & ~3)
    return hops


def _rule(payload: bytes, _: Names) -> Row:
    family, to, source, _, table, _, _, action, _ = struct.unpack_from("=BBBBBBBBI", payload)
    found = dict(attributes(payload, 12, len(payload)))
    row: Row = {
        "family": 4 if family == rtnetlink.AF_INET else 6,
        "priority": _u32(found[6]) if 6 in found else 0,
        "table": _u32(found[15]) if 15 in found else table,
        "action": {1: "lookup", 6: "blackhole", 7: "unreachable", 8: "prohibit"}.get(action, str(action)),
    }
    for number, key, prefix in ((1, "to", to), (2, "from", source)):
        if number in found:
            row[key] = f"{_ip(found[number])}/{prefix}"
    for number, key in ((3, "iif"), (17, "oif")):
        if number in found:
            row[key] = _text(found[number])
    if 10 in found:
        row["mark"] = _u32(found[10])
    return row


def _neighbour(payload: bytes, names: Names) -> Optional[Row]:
    _, index, state, flags, _ = struct.unpack_from("=BxxxiHBB", payload)
    found = dict(attributes(payload, 12, len(payload)))
    if 1 not in found or len(found[1]) not in (4, 16):
        return None
    row: Row = {"device": names.get(index, ""), "address": _ip(found[1])}
    row["state"] = _NEIGHBOUR_STATES.get(state, str(state))
    if len(found.get(2, b"")) == 6:
        row["mac"] = _mac(found[2])
    if flags & 8:
        row["proxy"] = True
    return row


def _fdb(payload: bytes, names: Names) -> Optional[Row]:
    """Entries of bridges and VXLAN devices; not the multicast groups that every device lists."""
    _, index, state, flags, _ = struct.unpack_from("=BxxxiHBB", payload)
    found = dict(attributes(payload, 12, len(payload)))
    mac = found.get(2, b"")
    if len(mac) != 6 or (mac[0] & 1 and 1 not in found):
        return None
    row: Row = {"device": names.get(index, ""), "mac": _mac(mac)}
    if state & rtnetlink.NUD_PERMANENT:
        row["permanent"] = True
    if flags & 0x40:
        row["sticky"] = True
    if 9 in found:
        row["master"] = names.get(_u32(found[9]), "")
    if 1 in found:
        row["destination"] = _ip(found[1])
    for number, key in ((7, "vni"), (6, "port")):
        if number in found:
            row[key] = _u32(found[number]) if number == 7 else int.from_bytes(found[number], "big")
    return row


def _next_hop(payload: bytes, names: Names) -> Row:
    _, _, protocol, flags = struct.unpack_from("=BBBxI", payload)
    found = dict(attributes(payload, 8, len(payload)))
    row: Row = {"id": _u32(found[1]), "protocol": protocol}
    if 5 in found:
        row["device"] = names.get(_u32(found[5]), "")
    if 6 in found:
        row["gateway"] = _ip(found[6])
    if 2 in found:  # struct nexthop_grp
        row["group"] = [_u32(found[2][start : start + 4]) for start in range(0, len(found[2]), 8)]
    if 4 in found:
        row["blackhole"] = True
    if flags & rtnetlink.RTNH_F_ONLINK:
        row["onlink"] = True
    return row


def _sysctls(devices: Iterable[str]) -> Dict[str, str]:
    found = {}
    keys = [f"net/{key.format(name)}" for name in devices if name != "lo" for key in _DEVICE_SYSCTLS]
    for key in (*_SYSCTLS, *keys):
        try:
            found[key] = read_sysctl(key)
        except OSError:
            continue
    return found


def counters() -> Dict[str, int]:
    """Everything of /proc/net/snmp, netstat and snmp6 that is not zero, as ``Ip.FragCreates``, ``Ip6.…``."""
    found: Dict[str, int] = {}
    for path in ("/proc/thread-self/net/snmp", "/proc/thread-self/net/netstat"):
        lines = _lines(path)
        for header, values in zip(lines[::2], lines[1::2]):
            group, *keys = header.split()
            for key, value in zip(keys, values.split()[1:]):
                if value != "0":
                    found[f"{group[:-1]}.{key}"] = int(value)
    for line in _lines("/proc/thread-self/net/snmp6"):
        key, _, value = line.partition(" ")
        if value.strip() != "0" and key[:3] == "Ip6":
            found[f"Ip6.{key[3:]}"] = int(value)
    return found


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
