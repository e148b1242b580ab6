"""Duplicate IP addresses on the node's bridge, found by ARP (RFC 826) and ND (RFC 4861).

Sandboxes' addresses do not include those of an unknown namespace that still answers. An ARP or ND request finds
them: every owner answers, and two MAC addresses for one IP address are two owners.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from ipaddress import IPv6Address, ip_address
from typing import Dict, List, Optional, Sequence, Set

from ..kernel import Namespace
from ..model.objects import IPNetwork, MacAddress
from ..observe.records import Snapshot
from .packets import checksum_part

#: Seconds to wait after the last new answer. A bridge answers within a millisecond; a second owner too.
_QUIET = 0.05
#: A pod CIDR of up to so many addresses is scanned completely.
SCANNED = 1024
_ETH_P_ALL, _ETH_P_ARP, _ETH_P_IPV6 = 3, 0x0806, 0x86DD
_ICMPV6 = 58
_NS, _NA = 135, 136


def second_owners(node: Namespace, bridge: str, addresses: Sequence[str]) -> Dict[str, List[str]]:
    """Address -> the MAC addresses that answer for it on ``bridge``, where there are two or more.

    Empty without a bridge: on a point-to-point link the node's route decides who is asked.
    """
    wanted = set(addresses)
    return {ip: sorted(macs) for ip, macs in _ask(node, bridge, addresses).items() if len(macs) > 1 and ip in wanted}


def strangers(node: Namespace, bridge: str, snapshot: Snapshot, blocks: Sequence[IPNetwork]) -> Dict[str, List[str]]:
    """Address -> the MAC addresses that answer for it on ``bridge``, for addresses that no known sandbox has.

    Every address of a pod CIDR of up to ``SCANNED`` addresses is asked for; of a larger one those with a lease file or
    a neighbour entry on the node. IPv6 pod CIDRs are always larger.
    """
    namespaces = [snapshot["namespace"], *(sandbox["namespace"] for sandbox in snapshot["sandboxes"].values())]
    known = {address["address"] for namespace in namespaces for address in namespace["addresses"]}
    asked: Set[str] = {neighbour["address"] for neighbour in snapshot["namespace"]["neighbours"]}
    asked |= {ip for held in snapshot["reservations"].values() for ip in held}
    asked = {ip for ip in asked if _inside(ip, blocks)}
    for block in blocks:
        if block.num_addresses <= SCANNED:
            asked |= {str(ip) for ip in block}
    asked -= known
    return {ip: sorted(macs) for ip, macs in _ask(node, bridge, sorted(asked)).items() if ip in asked}


def _inside(text: str, blocks: Sequence[IPNetwork]) -> bool:
    try:
        return any(ip_address(text) in block for block in blocks)
    except ValueError:
        return False


def _ask(node: Namespace, bridge: str, addresses: Sequence[str]) -> Dict[str, Set[str]]:
    """Address -> the MAC addresses that answered on ``bridge``."""
    if not bridge or not addresses:
        return {}
    with node.call(socket.socket, socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0) as link:
        try:
            link.bind((bridge, _ETH_P_ALL))
        except OSError:
            return {}  # no such device: nothing is attached to it
        mac: bytes = link.getsockname()[4]
        answers: Dict[str, Set[str]] = {}
        for address in addresses:
            try:
                link.send(_question(mac, address))
            except OSError:
                return {}  # the bridge is down; other checks report that its pods do not answer
            _collect(link, answers, 0)
        _collect(link, answers, _QUIET)
    return answers


def _question(mac: bytes, address: str) -> bytes:
    ip = ip_address(address)
    if isinstance(ip, IPv6Address):
        return _solicitation(mac, ip)
    # A probe (sender address zero, RFC 5227 §1.1) is answered, and leaves nothing in neighbour tables.
    arp = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, mac, bytes(4), bytes(6), ip.packed)
    return b"\xff" * 6 + mac + struct.pack("!H", _ETH_P_ARP) + arp


def _solicitation(mac: bytes, ip: IPv6Address) -> bytes:
    """A neighbour solicitation from the bridge's link-local address. Not from ``::``, which would tell an
    owner that still checks its address (RFC 4862 §5.4.3) that the address is taken."""
    group = b"\xff\x02" + bytes(9) + b"\x01\xff" + ip.packed[13:]
    source = b"\xfe\x80" + bytes(6) + bytes((mac[0] ^ 2, mac[1], mac[2], 0xFF, 0xFE, mac[3], mac[4], mac[5]))
    body = struct.pack("!BBHI", _NS, 0, 0, 0) + ip.packed + b"\x01\x01" + mac
    pseudo = source + group + struct.pack("!II", len(body), _ICMPV6)
    body = body[:2] + struct.pack("!H", ~checksum_part(pseudo + body) & 0xFFFF) + body[4:]
    header = struct.pack("!IHBB", 6 << 28, len(body), _ICMPV6, 255) + source + group
    return b"\x33\x33" + group[12:] + mac + struct.pack("!H", _ETH_P_IPV6) + header + body


def _collect(link: socket.socket, answers: Dict[str, Set[str]], quiet: float) -> None:
    """Take answers until nothing new was among what came for ``quiet`` seconds: other frames never end on a node
    that is in use. With 0 only what waits already."""
    until = time.monotonic() + quiet
    while True:
        remaining = until - time.monotonic()
        if (remaining < 0 and quiet) or not select.select([link], [], [], max(remaining, 0))[0]:
            return
        try:
            answer = _read(link.recv(2048))
        except BlockingIOError:
            return
        if answer is not None and answer[1] not in answers.setdefault(answer[0], set()):
            answers[answer[0]].add(answer[1])
            until = time.monotonic() + quiet


def _read(frame: bytes) -> Optional[Sequence[str]]:
    """(address, MAC) of an ARP reply or a neighbour advertisement; None for any other frame."""
    kind = frame[12:14]
    if kind == b"\x08\x06" and len(frame) >= 42 and frame[20:22] == b"\x00\x02":
        return str(ip_address(frame[28:32])), str(MacAddress(frame[22:28]))
    if kind == b"\x86\xdd" and len(frame) >= 78 and frame[20] == _ICMPV6 and frame[54] == _NA:
        return str(ip_address(frame[62:78])), str(MacAddress(frame[6:12]))
    return None
