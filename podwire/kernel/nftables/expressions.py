"""The parts that rules are made of: each as text, as ``nft`` shows it, and as the expressions that the kernel gets.

Source: include/uapi/linux/netfilter/nf_tables.h. Register 1 holds what is compared; register 2 a port.
"""

from __future__ import annotations

import sys

from ...model.wire import attribute
from ...startup_typing import TYPE_CHECKING, NamedTuple
from .masquerade_wire import (
    NFT_CMP_EQ,
    NFT_CMP_NEQ,
    NFT_META_NFPROTO,
    NFT_REG_1,
    NFTA_DATA_VALUE,
    RANDOM_FULLY,
    compare,
    expression,
    match_network,
    nested,
    number,
)

if TYPE_CHECKING:
    from ...model.objects import IPAddress, IPNetwork, MacAddress

NFT_REG_2 = 2
_META_IIFNAME, _META_OIFNAME, _META_L4PROTO = 6, 7, 16
_CT_STATE, _CT_STATUS = 0, 2
_ESTABLISHED_RELATED = 2 | 4
_IPS_DST_NAT = 0x20
_FIB_DADDR, _FIB_ADDRTYPE, _RTN_LOCAL = 2, 3, 2
_NAT_DNAT = 1
_NAT_FLAGS = 1 | 2  # NF_NAT_RANGE_MAP_IPS, NF_NAT_RANGE_PROTO_SPECIFIED
_DROP, _ACCEPT, _JUMP = 0, 1, 0xFFFFFFFD  # NF_DROP, NF_ACCEPT, NFT_JUMP (-3)
_FAMILY = {4: 2, 6: 10}
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}


class Part(NamedTuple):
    """A piece of a rule."""

    text: str
    expressions: bytes


def _host(value: int) -> bytes:
    """A u32 in the machine's order, as registers have what is no packet's."""
    return value.to_bytes(4, sys.byteorder)


def _meta(key: int) -> bytes:
    return expression("meta", attribute(1, number(NFT_REG_1)), attribute(2, number(key)))


def _payload(base: int, offset: int, length: int) -> bytes:
    values = (NFT_REG_1, base, offset, length)
    return expression("payload", *(attribute(kind, number(value)) for kind, value in enumerate(values, 1)))


def _masked(mask: int) -> bytes:
    return expression(
        "bitwise",
        attribute(1, number(NFT_REG_1)),
        attribute(2, number(NFT_REG_1)),
        attribute(3, number(4)),
        nested(4, attribute(NFTA_DATA_VALUE, _host(mask))),
        nested(5, attribute(NFTA_DATA_VALUE, bytes(4))),
    )


def family(version: int) -> Part:
    """Packets of one IP version, which all parts that look into an address need before them."""
    text = "meta nfproto ipv4" if version == 4 else "meta nfproto ipv6"
    return Part(text, _meta(NFT_META_NFPROTO) + compare(NFT_CMP_EQ, bytes([_FAMILY[version]])))


def source(network: IPNetwork, *, negated: bool = False) -> Part:
    """The source address lies in a network."""
    return _address("saddr", network, 12 if network.version == 4 else 8, negated)


def destination(network: IPNetwork, *, negated: bool = False) -> Part:
    """The destination address lies in a network."""
    return _address("daddr", network, 16 if network.version == 4 else 24, negated)


def _address(word: str, network: IPNetwork, offset: int, negated: bool) -> Part:
    shown = network.network_address if network.prefixlen == network.max_prefixlen else network
    text = f"{'ip' if network.version == 4 else 'ip6'} {word} {'!= ' if negated else ''}{shown}"
    return Part(text, match_network(network, offset, NFT_CMP_NEQ if negated else NFT_CMP_EQ))


def local() -> Part:
    """The destination is an address of the node."""
    fib = expression(
        "fib", attribute(1, number(NFT_REG_1)), attribute(2, number(_FIB_ADDRTYPE)), attribute(3, number(_FIB_DADDR))
    )
    return Part("fib daddr type local", fib + compare(NFT_CMP_EQ, _host(_RTN_LOCAL)))


def port(protocol: str, destination_port: int) -> Part:
    """Packets to a port."""
    comparison = _meta(_META_L4PROTO) + compare(NFT_CMP_EQ, bytes([PROTOCOLS[protocol]]))
    comparison += _payload(2, 2, 2) + compare(NFT_CMP_EQ, destination_port.to_bytes(2, "big"))
    return Part(f"{protocol} dport {destination_port}", comparison)


def comes_by(device: str, *, negated: bool = False) -> Part:
    """Packets that come in by a device."""
    return _device("iifname", _META_IIFNAME, device, negated)


def leaves_by(device: str, *, negated: bool = False) -> Part:
    """Packets that leave by a device."""
    return _device("oifname", _META_OIFNAME, device, negated)


def _device(word: str, key: int, device: str, negated: bool) -> Part:
    value = device.encode().ljust(16, b"\0")
    text = f'{word} {"!= " if negated else ""}"{device}"'
    return Part(text, _meta(key) + compare(NFT_CMP_NEQ if negated else NFT_CMP_EQ, value))


def hardware_source(mac: MacAddress, *, negated: bool = False) -> Part:
    """Frames from a MAC address (family bridge)."""
    text = f"ether saddr {'!= ' if negated else ''}{mac}"
    return Part(text, _payload(0, 6, 6) + compare(NFT_CMP_NEQ if negated else NFT_CMP_EQ, bytes(mac)))


def _ct(key: int, mask: int) -> bytes:
    load = expression("ct", attribute(1, number(NFT_REG_1)), attribute(2, number(key)))
    return load + _masked(mask) + compare(NFT_CMP_NEQ, bytes(4))


def answering() -> Part:
    """Packets of connections that are already let through."""
    return Part("ct state established,related", _ct(_CT_STATE, _ESTABLISHED_RELATED))


def redirected() -> Part:
    """Packets of connections whose destination was translated."""
    return Part("ct status dnat", _ct(_CT_STATUS, _IPS_DST_NAT))


def masquerade() -> Part:
    """Leave with the node's address, and a random port (see nft_wire.RANDOM_FULLY)."""
    return Part("masquerade fully-random", expression("masq", attribute(1, number(RANDOM_FULLY))))


def redirect(address: IPAddress, destination_port: int) -> Part:
    """Go to a container's port instead."""
    registers = ((3, NFT_REG_1), (4, NFT_REG_1), (5, NFT_REG_2), (6, NFT_REG_2))
    found = _immediate(NFT_REG_1, attribute(NFTA_DATA_VALUE, address.packed))
    found += _immediate(NFT_REG_2, attribute(NFTA_DATA_VALUE, destination_port.to_bytes(2, "big")))
    found += expression(
        "nat",
        attribute(1, number(_NAT_DNAT)),
        attribute(2, number(_FAMILY[address.version])),
        *(attribute(kind, number(register)) for kind, register in registers),
        attribute(7, number(_NAT_FLAGS)),
    )
    shown = f"ip to {address}:{destination_port}" if address.version == 4 else f"ip6 to [{address}]:{destination_port}"
    return Part(f"dnat {shown}", found)


def _immediate(register: int, data: bytes) -> bytes:
    return expression("immediate", attribute(1, number(register)), nested(2, data))


def _verdict(code: int, chain: str = "") -> bytes:
    # Without NLA_F_NESTED, as the kernel shows it: so the two can be compared.
    inner = attribute(1, number(code)) + (attribute(2, chain.encode() + b"\0") if chain else b"")
    return _immediate(0, attribute(2, inner))


def accept() -> Part:
    """Let through, as far as this table is concerned."""
    return Part("accept", _verdict(_ACCEPT))


def drop() -> Part:
    """Let nothing through, whatever other tables say."""
    return Part("drop", _verdict(_DROP))


def jump(chain: str) -> Part:
    """Go on in another chain of the table."""
    return Part(f"jump {chain}", _verdict(_JUMP, chain))
