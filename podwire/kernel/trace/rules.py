"""Which rule of nf_tables a packet meets, in the kernel's own words: what ``nft monitor trace`` shows.

The kernel tells of packets that a rule has marked (``meta nftrace set 1``). Such rules stand in a table of our own that
belongs to our socket (NFT_TABLE_F_OWNER, Linux 5.12): the kernel removes it with the socket, also when we are killed.
No other table is touched. Sources: include/uapi/linux/netfilter/nf_tables.h, net/netfilter/nf_tables_trace.c.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from errno import ENOBUFS
from ipaddress import ip_address
from typing import Collection, Dict, List, NamedTuple, Optional, Tuple

from ...errors import KernelError, UnsupportedError
from ...model.wire import NLM_F_APPEND, NLM_F_CREATE, Message, attribute, attributes
from ..namespaces import Namespace
from ..netlink.socket import HEADER, NETLINK_NETFILTER
from ..nftables.masquerade import (
    NEWCHAIN,
    NEWRULE,
    NEWTABLE,
    NF_ACCEPT,
    NFTA_CHAIN_HOOK,
    NFTA_CHAIN_NAME,
    NFTA_CHAIN_POLICY,
    NFTA_CHAIN_TABLE,
    NFTA_CHAIN_TYPE,
    NFTA_HOOK_HOOKNUM,
    NFTA_HOOK_PRIORITY,
    NFTA_RULE_CHAIN,
    NFTA_RULE_EXPRESSIONS,
    NFTA_RULE_TABLE,
    NFTA_TABLE_FLAGS,
    NFTA_TABLE_NAME,
)
from ..nftables.masquerade_wire import NFT_CMP_EQ, NFT_REG_1, NLA_F_NESTED, compare, expression, nested, number, text
from ..nftables.transaction import NFNL_SUBSYS_NFTABLES

TABLE = "podwire-looks"
_OWNED = 2  # NFT_TABLE_F_OWNER
_HOOKS = {"prerouting": 0, "output": 3}  # NF_INET_PRE_ROUTING, NF_INET_LOCAL_OUT
_FIRST = struct.pack("!i", -500)  # before whatever could drop: raw is -300, defragmentation -400
_NFNLGRP_NFTRACE = 1 << (9 - 1)
_TRACE = (NFNL_SUBSYS_NFTABLES << 8) + 17  # NFT_MSG_TRACE
_META_LEN, _META_NFTRACE = 0, 12  # NFT_META_LEN, NFT_META_NFTRACE
_FAMILIES = {1: "inet", 2: "ip", 5: "netdev", 7: "bridge", 10: "ip6"}
_POLICY, _RULE = 1, 3  # NFT_TRACETYPE_*
_TABLE, _CHAIN, _HANDLE, _TYPE, _VERDICT, _ID, _HEADER, _DEFAULT = 1, 2, 3, 4, 5, 6, 8, 16  # NFTA_TRACE_*


class Verdict(NamedTuple):
    """What a packet met. ``handle``: the rule's, 0 for a chain's policy; ``drops``: it ended there; ``ends``: the
    packet's addresses, which the kernel tells once for each chain that it comes to, with its ``length`` as for
    ``RuleTrace``; () and 0 where it did not."""

    packet: int
    family: str
    table: str
    chain: str
    handle: int
    drops: bool
    ends: Tuple[str, ...] = ()
    length: int = 0


class RuleTrace:
    """Traces packets of some lengths (bytes from the IP header on) through a namespace's rules. Use as a context
    manager; UnsupportedError where the kernel has no tables with owners."""

    def __init__(self, namespace: Namespace, lengths: Collection[int]) -> None:
        self._namespace, self._lengths = namespace, sorted(set(lengths))

    def __enter__(self) -> RuleTrace:
        with self._namespace.entered():
            self._heard = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        self._heard.bind((0, _NFNLGRP_NFTRACE))
        self._owner = self._namespace.open_nftables()
        try:
            refusal = self._owner.transaction(_messages(self._lengths))
        except KernelError as error:
            self.__exit__()
            raise UnsupportedError(f"failed to trace nftables: {error.message}", error.errno or 0) from error
        if refusal is not None:
            self.__exit__()
            raise UnsupportedError(f"failed to trace nftables: {os.strerror(refusal.errno)}", refusal.errno)
        return self

    def __exit__(self, *_: object) -> None:
        self._owner.close()
        self._heard.close()

    def verdicts(self) -> List[Verdict]:
        """What packets of the lengths met since this was called last, each rule or policy that matched. Others may
        trace packets of their own."""
        rows: List[Verdict] = []
        while True:
            try:
                rows += parse(self._heard.recv(1 << 16, socket.MSG_DONTWAIT))
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != ENOBUFS:  # more packets of that length came than there was room for
                    raise
        known = {each.packet: (each.ends, each.length) for each in rows if each.ends}
        complete = [each._replace(ends=ends, length=length) for each in rows
                for ends, length in [known.get(each.packet, ((), 0))]]  # fmt: skip
        return [each for each in complete if each.table != TABLE and each.length in (0, *self._lengths)]


def parse(data: bytes) -> List[Verdict]:
    """The trace messages of one datagram. Pure."""
    found: List[Verdict] = []
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, _, _, _ = HEADER.unpack_from(data, offset)
        if kind == _TRACE:
            family = _FAMILIES.get(data[offset + 16], str(data[offset + 16]))
            verdict = _verdict(family, dict(attributes(data, offset + 20, offset + length)))
            found += [verdict] if verdict is not None else []
        offset += max((length + 3) & ~3, HEADER.size)
    return found


def _verdict(family: str, values: Dict[int, bytes]) -> Optional[Verdict]:
    kind = int.from_bytes(values.get(_TYPE, b""), "big")
    if kind not in (_RULE, _POLICY):
        return None
    inner = values.get(_VERDICT, b"")
    code = values.get(_DEFAULT) if kind == _POLICY else dict(attributes(inner, 0, len(inner))).get(1)
    names = [values.get(key, b"").rstrip(b"\0").decode(errors="replace") for key in (_TABLE, _CHAIN)]
    handle = int.from_bytes(values.get(_HANDLE, b""), "big") if kind == _RULE else 0
    packet = int.from_bytes(values.get(_ID, b""), "big")
    ends, length = _header(values.get(_HEADER, b""))
    return Verdict(packet, family, names[0], names[1], handle, code == bytes(4), ends, length)


def _header(header: bytes) -> Tuple[Tuple[str, ...], int]:
    version = header[0] >> 4 if header else 0
    if version == 4 and len(header) >= 20:
        ends = str(ip_address(header[12:16])), str(ip_address(header[16:20]))
        return ends, int.from_bytes(header[2:4], "big")
    if version == 6 and len(header) >= 40:
        ends = str(ip_address(header[8:24])), str(ip_address(header[24:40]))
        return ends, 40 + int.from_bytes(header[4:6], "big")
    return (), 0


def _messages(lengths: Collection[int]) -> List[Message]:
    table = text(NFTA_TABLE_NAME, TABLE) + attribute(NFTA_TABLE_FLAGS, number(_OWNED))
    messages: List[Message] = [(NEWTABLE, NLM_F_CREATE, table)]
    for chain, hook in _HOOKS.items():
        messages.append((NEWCHAIN, NLM_F_CREATE, _chain(chain, hook)))
        for length in lengths:
            rule = text(NFTA_RULE_TABLE, TABLE) + text(NFTA_RULE_CHAIN, chain)
            rule += attribute(NFTA_RULE_EXPRESSIONS | NLA_F_NESTED, _marks(length))
            messages.append((NEWRULE, NLM_F_CREATE | NLM_F_APPEND, rule))
    return messages


def _chain(name: str, hook: int) -> bytes:
    where = nested(NFTA_CHAIN_HOOK, attribute(NFTA_HOOK_HOOKNUM, number(hook)), attribute(NFTA_HOOK_PRIORITY, _FIRST))
    body = text(NFTA_CHAIN_TABLE, TABLE) + text(NFTA_CHAIN_NAME, name) + where
    return body + attribute(NFTA_CHAIN_POLICY, number(NF_ACCEPT)) + text(NFTA_CHAIN_TYPE, "filter")


def _marks(length: int) -> bytes:
    """``meta length LENGTH meta nftrace set 1``."""
    load = expression("meta", attribute(1, number(NFT_REG_1)), attribute(2, number(_META_LEN)))
    one = expression("immediate", attribute(1, number(NFT_REG_1)), nested(2, attribute(1, b"\1")))
    mark = expression("meta", attribute(2, number(_META_NFTRACE)), attribute(3, number(NFT_REG_1)))
    return load + compare(NFT_CMP_EQ, length.to_bytes(4, sys.byteorder)) + one + mark
