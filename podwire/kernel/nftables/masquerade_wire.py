"""A masquerade rule as nf_tables expressions, and back.

Source: include/uapi/linux/netfilter/nf_tables.h. The kernel runs expressions on a register: "load
the protocol family; compare; load the source address; mask; compare; ...; masquerade", and a rule
matches when every comparison does. These are the expressions that ``nft`` itself writes, so that
``nft list ruleset`` reads them as ``ip saddr 10.244.1.0/24 ip daddr != 10.244.0.0/16 masquerade``.
"""

from __future__ import annotations

import ipaddress
import struct

from ...model.objects import IPNetwork, NatRule
from ...model.wire import attribute, attributes
from ...startup_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Dict, List, Optional, Tuple, Union

NLA_F_NESTED = 0x8000
NFTA_LIST_ELEM = 1
NFTA_EXPR_NAME, NFTA_EXPR_DATA = 1, 2
NFTA_META_DREG, NFTA_META_KEY = 1, 2
NFTA_CMP_SREG, NFTA_CMP_OP, NFTA_CMP_DATA = 1, 2, 3
NFTA_DATA_VALUE = 1
NFTA_PAYLOAD_DREG, NFTA_PAYLOAD_BASE, NFTA_PAYLOAD_OFFSET, NFTA_PAYLOAD_LEN = 1, 2, 3, 4
NFTA_BITWISE_SREG, NFTA_BITWISE_DREG, NFTA_BITWISE_LEN, NFTA_BITWISE_MASK, NFTA_BITWISE_XOR = 1, 2, 3, 4, 5
NFTA_MASQ_FLAGS = 1

NFT_REG_1 = 1
NFT_META_NFPROTO = 15
NFT_CMP_EQ, NFT_CMP_NEQ = 0, 1
NFT_PAYLOAD_NETWORK_HEADER = 1
#: NF_NAT_RANGE_PROTO_RANDOM_FULLY, as flannel's rules have it: two pods that pick the same source
#: port at the same moment do not lose a packet to the conntrack race.
RANDOM_FULLY = 0x10

#: libnftnl's udata.h: type 0 of a rule's user data is its comment, at most 128 bytes with its NUL.
_UDATA_RULE_COMMENT = 0
_UDATA_COMMENT_BYTES = 128


class Family(NamedTuple):
    """Where an IP version keeps its addresses in the header."""

    nfproto: int
    source: int
    destination: int
    size: int


_FAMILIES = {4: Family(2, 12, 16, 4), 6: Family(10, 8, 24, 16)}

Tree = tuple[tuple[str, tuple[tuple[int, bytes], ...]], ...]
"""Expressions as (name, sorted (attribute, value)); attributes that hold a zero u32 are left out,
because kernels differ in whether they mention defaults (NFTA_BITWISE_OP came with Linux 5.6)."""


def number(value: int) -> bytes:
    """A u32 in network order, as nf_tables has all its numbers."""
    return struct.pack("!I", value)


def nested(kind: int, *parts: bytes) -> bytes:
    """An attribute of attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(parts))


def text(kind: int, value: str) -> bytes:
    """A string attribute with its NUL."""
    return attribute(kind, value.encode() + b"\0")


def expression(name: str, *parts: bytes) -> bytes:
    """One expression: a list element of its name and its attributes."""
    return nested(NFTA_LIST_ELEM, text(NFTA_EXPR_NAME, name), nested(NFTA_EXPR_DATA, *parts))


def compare(operator: int, value: bytes) -> bytes:
    """The register's content is (or is not) this value."""
    return expression(
        "cmp",
        attribute(NFTA_CMP_SREG, number(NFT_REG_1)),
        attribute(NFTA_CMP_OP, number(operator)),
        nested(NFTA_CMP_DATA, attribute(NFTA_DATA_VALUE, value)),
    )


def match_network(network: IPNetwork, offset: int, operator: int) -> bytes:
    """Load the address at ``offset`` of the network header, mask it, compare it with the network."""
    size = network.max_prefixlen // 8
    load = expression(
        "payload",
        attribute(NFTA_PAYLOAD_DREG, number(NFT_REG_1)),
        attribute(NFTA_PAYLOAD_BASE, number(NFT_PAYLOAD_NETWORK_HEADER)),
        attribute(NFTA_PAYLOAD_OFFSET, number(offset)),
        attribute(NFTA_PAYLOAD_LEN, number(size)),
    )
    mask = expression(
        "bitwise",
        attribute(NFTA_BITWISE_SREG, number(NFT_REG_1)),
        attribute(NFTA_BITWISE_DREG, number(NFT_REG_1)),
        attribute(NFTA_BITWISE_LEN, number(size)),
        nested(NFTA_BITWISE_MASK, attribute(NFTA_DATA_VALUE, network.netmask.packed)),
        nested(NFTA_BITWISE_XOR, attribute(NFTA_DATA_VALUE, bytes(size))),
    )
    return load + mask + compare(operator, network.network_address.packed)


def encode(rule: NatRule) -> bytes:
    """The expressions of a rule: the value of NFTA_RULE_EXPRESSIONS.

    ValueError for an ``unless`` of the other IP version, or none at all: that rule would masquerade
    pod to pod, which nothing may ever do.
    """
    if not rule.unless or any(network.version != rule.source.version for network in rule.unless):
        raise ValueError(f"{rule}: a masquerade rule needs networks of its own IP version to leave alone")
    family = _FAMILIES[rule.source.version]
    proto = expression(
        "meta", attribute(NFTA_META_DREG, number(NFT_REG_1)), attribute(NFTA_META_KEY, number(NFT_META_NFPROTO))
    )
    return b"".join(
        [
            proto + compare(NFT_CMP_EQ, bytes([family.nfproto])),
            match_network(rule.source, family.source, NFT_CMP_EQ),
            *(match_network(network, family.destination, NFT_CMP_NEQ) for network in rule.unless),
            expression("masq", attribute(NFTA_MASQ_FLAGS, number(RANDOM_FULLY))),
        ]
    )


def comment(rule: NatRule) -> bytes:
    """NFTA_RULE_USERDATA that ``nft list ruleset`` shows as the rule's comment."""
    encoded = f"podwire: {rule.source} leaves the cluster".encode()[: _UDATA_COMMENT_BYTES - 1] + b"\0"
    return bytes([_UDATA_RULE_COMMENT, len(encoded)]) + encoded


def tree(expressions: bytes) -> Tree:
    """Parse NFTA_RULE_EXPRESSIONS into comparable values."""
    parsed: List[Tuple[str, Tuple[Tuple[int, bytes], ...]]] = []
    for _, element in attributes(expressions, 0, len(expressions)):
        parts = dict(attributes(element, 0, len(element)))
        data = parts.get(NFTA_EXPR_DATA, b"")
        values = sorted((kind, value) for kind, value in attributes(data, 0, len(data)) if value != b"\0\0\0\0")
        parsed.append((parts.get(NFTA_EXPR_NAME, b"").rstrip(b"\0").decode(errors="replace"), tuple(values)))
    return tuple(parsed)


def decode(expressions: bytes) -> Optional[NatRule]:
    """The rule that these expressions are, or None if podwire would have written anything else.

    It reads loosely, writes the rule again and compares the two whole: whatever was added, left out
    or changed shows there.
    """
    parsed = tree(expressions)
    networks: Dict[int, List[IPNetwork]] = {}
    offset = 0
    mask = b""
    for name, values in parsed:
        parts = dict(values)
        if name == "payload":
            offset = int.from_bytes(parts.get(NFTA_PAYLOAD_OFFSET, b""), "big")
        elif name == "bitwise":
            mask = _data(parts.get(NFTA_BITWISE_MASK, b""))
        elif name == "cmp" and mask:
            network = _network(_data(parts.get(NFTA_CMP_DATA, b"")), mask)
            if network is None:
                return None
            networks.setdefault(offset, []).append(network)
    for family in _FAMILIES.values():
        sources, unless = networks.get(family.source, []), networks.get(family.destination, [])
        if len(sources) == 1 and unless and {net.max_prefixlen for net in sources + unless} == {family.size * 8}:
            rule = NatRule(sources[0], tuple(unless))
            return rule if tree(encode(rule)) == parsed else None
    return None


def _data(value: bytes) -> bytes:
    return dict(attributes(value, 0, len(value))).get(NFTA_DATA_VALUE, b"")


def _network(address: bytes, mask: bytes) -> Optional[IPNetwork]:
    """None if the two are not an address and a prefix's mask of one length, or bits lie outside the mask."""
    ones = bin(int.from_bytes(mask, "big")).count("1")
    make: Union[type[ipaddress.IPv4Network], type[ipaddress.IPv6Network]]
    make = ipaddress.IPv4Network if len(address) == 4 else ipaddress.IPv6Network
    try:
        network = make((address, ones))
    except ValueError:
        return None
    return network if network.netmask.packed == mask else None
