"""The kinds of kernel objects, each a module of its own, and the names that others import from here.

Objects are frozen values, compared whole: two States differ exactly where a value is in one and not in the other.
Hot ones (routes, next hops, neighbours, FDB entries) exist in tens of thousands, so all are named tuples, which CPython
builds, hashes and compares in C. Addresses are ``ipaddress`` objects; devices are named, never numbered, because intent
cannot know an ifindex.

A new kind is a module beside this one, a line in ``Object``, ``KINDS`` and State, and what ``podwire.kernel`` reads of
it; a new kind of device is a module in devices/ and a line in its table.
"""

from __future__ import annotations

from ..startup_typing import Union
from .address import Address
from .devices.veth import VethPeer
from .devices.vxlan import Vxlan
from .fdb import FdbEntry
from .file import File
from .iptables_rule import IptablesRule
from .link import Link
from .nat_rule import NatRule
from .neighbour import Neighbour
from .next_hop import NextHop
from .nft_rule import Chain, Rule
from .port_vlans import PVID, UNTAGGED, PortVlans
from .route import Route
from .sysctl import Sysctl
from .values import (
    BACKEND_ALIAS,
    FAULT_JOURNAL,
    MAIN_TABLE,
    PROTOCOL_BOOT,
    ROUTE_PROTOCOL,
    IPAddress,
    IPInterface,
    IPNetwork,
    MacAddress,
)

Object = Union[Link, Sysctl, Address, Neighbour, FdbEntry, PortVlans, NextHop, Route, NatRule, Rule, IptablesRule, File]
#: All of them, in the order of State's fields.
KINDS = (Link, Sysctl, Address, Neighbour, FdbEntry, PortVlans, NextHop, Route, NatRule, Rule, IptablesRule, File)
#: Those that rtnetlink's messages make.
NetlinkObject = Union[Link, Address, Neighbour, FdbEntry, PortVlans, NextHop, Route]

__all__ = [
    "BACKEND_ALIAS",
    "FAULT_JOURNAL",
    "KINDS",
    "MAIN_TABLE",
    "PROTOCOL_BOOT",
    "PVID",
    "ROUTE_PROTOCOL",
    "UNTAGGED",
    "Address",
    "Chain",
    "FdbEntry",
    "File",
    "IPAddress",
    "IPInterface",
    "IPNetwork",
    "IptablesRule",
    "Link",
    "MacAddress",
    "NatRule",
    "Neighbour",
    "NetlinkObject",
    "NextHop",
    "Object",
    "PortVlans",
    "Route",
    "Rule",
    "Sysctl",
    "VethPeer",
    "Vxlan",
]
