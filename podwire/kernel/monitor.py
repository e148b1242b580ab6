"""What changes in a network namespace, as the kernel tells it: netlink's multicast groups, and nothing is polled.

Sources: include/uapi/linux/rtnetlink.h (RTNLGRP_*), nfnetlink.h (NFNLGRP_NFTABLES), neighbour.h.
"""

from __future__ import annotations

import _socket
import struct
from contextlib import suppress

from ..model.link import LINK_REQUEST, alias_of, index_and_name
from ..model.wire import NLM_F_REPLACE, RTM_GETLINK, attributes
from ..startup_typing import TYPE_CHECKING
from .netlink.socket import HEADER, NETLINK_NETFILTER, NETLINK_ROUTE, NetlinkSocket

if TYPE_CHECKING:
    from collections.abc import Container

#: LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE, IPV4_NETCONF, IPV6_NETCONF, NEXTHOP.
#: Numbers up to 32 fit the mask of bind(2).
_RTNL_GROUPS = sum(1 << (group - 1) for group in (1, 3, 5, 7, 9, 11, 24, 25, 32))
_NFTABLES_GROUP = 1 << (7 - 1)
_NFNL_SUBSYS_NFTABLES = 10
_NEWROUTE, _DELROUTE = 24, 25
_NEWNEIGH, _DELNEIGH = 28, 29
_TABLE_LOCAL = 255
#: rtm_protocol of routes that the kernel or router advertisements make: UNSPEC, REDIRECT, KERNEL, RA.
_NOT_OURS = (0, 1, 2, 9)
#: NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE, NFTA_SET_TABLE: attribute 1 of each.
_TABLE_NAME = 1
_OWN_TABLES = b"podwire"
_BYTES = 1 << 16


class Monitor:
    """Notifications of the caller's namespace, from the moment this is made. For one thread."""

    def __init__(self) -> None:
        self.sockets = [_joined(NETLINK_ROUTE, _RTNL_GROUPS)]
        with suppress(OSError):  # a kernel without nf_tables
            self.sockets.append(_joined(NETLINK_NETFILTER, _NFTABLES_GROUP))

    def drain(self, devices: Container[int]) -> bool:
        """Read all that came; whether any of it may concern podwire. Neighbours come and go with traffic: only
        those of ``devices`` (ifindexes) count. Where notifications were lost, they count."""
        concerned = False
        for number, socket in enumerate(self.sockets):
            while True:
                try:
                    data = socket.recv(_BYTES, _socket.MSG_DONTWAIT)
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno != 105:  # ENOBUFS: more came than the buffer holds
                        raise
                    concerned = True
                    continue
                concerned = (_rules_concern(data) if number else _tables_concern(data, devices)) or concerned
        return concerned

    def close(self) -> None:
        """Leave the groups."""
        for socket in self.sockets:
            socket.close()


def indices_with_alias(alias: str) -> frozenset[int]:
    """The indices of devices with an alias, in the caller's network namespace."""
    socket = NetlinkSocket(NETLINK_ROUTE)
    try:
        links = [payload for _, payload in socket.dump(RTM_GETLINK, LINK_REQUEST)]
    finally:
        socket.close()
    return frozenset(index_and_name(link)[0] for link in links if alias_of(link) == alias)


def _joined(family: int, groups: int) -> _socket.socket:
    socket = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, family)
    socket.bind((0, groups))
    return socket


def _tables_concern(data: bytes, devices: Container[int]) -> bool:
    """Of rtnetlink: devices, addresses, next hops and sysctls of devices always do; routes that somebody made,
    or that took another's place; neighbours and FDB entries of ``devices``."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, _, _ = HEADER.unpack_from(data, offset)
        if kind in (_NEWROUTE, _DELROUTE):
            table, protocol = data[offset + 16 + 4], data[offset + 16 + 5]
            if table != _TABLE_LOCAL and (protocol not in _NOT_OURS or flags & NLM_F_REPLACE):
                return True
        elif kind in (_NEWNEIGH, _DELNEIGH):
            if struct.unpack_from("=i", data, offset + 16 + 4)[0] in devices:
                return True
        else:
            return True
        offset += (length + 3) & ~3
    return False


def _rules_concern(data: bytes) -> bool:
    """Of nf_tables: what names a table of ours."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind, _, _, _ = HEADER.unpack_from(data, offset)
        if kind >> 8 == _NFNL_SUBSYS_NFTABLES:
            for number, value in attributes(data, offset + 20, offset + length):
                if number == _TABLE_NAME and value.startswith(_OWN_TABLES):
                    return True
        offset += (length + 3) & ~3
    return False
