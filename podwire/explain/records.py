"""What travels between nodes and the controller for a diagnosis, as JSON has it. Keys that may be missing are in
``…Options``."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Tuple, TypedDict

from ..kernel.lookup import Filter
from ..prove.observations import Observations
from .operations import OperationRow

#: A statement or expression of nftables' JSON (libnftables-json(5)), which nests at will.
Expression = Dict[str, Any]


class _ChainOptions(TypedDict, total=False):
    hook: str
    policy: str


class ChainRow(_ChainOptions):
    """A chain as ``nft -j`` has it; a base chain has a hook."""

    family: str
    table: str
    name: str


class _NftRuleOptions(TypedDict, total=False):
    comment: str
    spec: List[str]


class NftRuleRow(_NftRuleOptions):
    """A rule. ``spec``: its words where iptables-save has it."""

    family: str
    table: str
    chain: str
    handle: int
    expr: List[Expression]


class MapRow(TypedDict, total=False):
    """A named map."""

    family: str
    table: str
    name: str
    elem: List[Any]


class NftItem(TypedDict, total=False):
    """A row of a ruleset: one of these, or of what is not looked at (tables, sets)."""

    chain: ChainRow
    rule: NftRuleRow
    map: MapRow


Ruleset = List[NftItem]


class RuleId(NamedTuple):
    """A rule. ``place``: a pod, "" for the node; ``chain``: family, table and chain; ``handle`` 0 is the policy."""

    place: str
    chain: str
    handle: int


#: place, chain, handle, packets.
HitRow = Tuple[str, str, int, int]


class Limits(TypedDict):
    """``connections``: tracked ones, and how many may be; ``neighbours``: refused while probes ran, and how many may
    be."""

    connections: List[int]
    neighbours: List[int]


class _EvidenceOptions(TypedDict, total=False):
    list: List[str]


class Evidence(_EvidenceOptions):
    """One node's, see collect.py."""

    observations: Observations
    plan: List[OperationRow]
    foreign: List[str]
    nft: Dict[str, Ruleset]
    hits: List[HitRow]
    cannot: List[str]
    qdiscs: Dict[str, str]
    filters: List[Filter]
    plugins: Dict[str, Tuple[str, str]]
    podwire: List[str]
    policies: Dict[str, object]
    listeners: Dict[str, Tuple[int, str]]
    oracle: Dict[str, str]
    limits: Limits


class Ask(TypedDict):
    """A probe to trace. ``length``: of the IP packet; ``alone``: few others send packets of that length; ``outer``:
    bytes that a tunnel adds; ``tunnel``: addresses of the tunnel's other end; ``places``: pod -> path of its namespace,
    of this node's pods on the path, "" for those on the node's own network."""

    source: str
    target: str
    address: str
    port: int
    protocol: str
    length: int
    alone: bool
    outer: int
    tunnel: List[str]
    places: Dict[str, str]


class PacketPath(TypedDict):
    """``what``: probe, answer, or neighbour for the request for a MAC address. ``way``: the devices that had it.
    ``end``: ``reason`` and ``function`` of its drop in one text, "" where it was not dropped."""

    what: str
    way: List[str]
    end: str
    reason: str
    function: str


#: place, chain, handle (0: the policy), whether it drops.
VerdictRow = Tuple[str, str, int, bool]


class Look(TypedDict):
    """A traced probe, see trace_probe.py."""

    source: str
    target: str
    address: str
    protocol: str
    length: int
    answered: bool
    error: str
    flights: List[PacketPath]
    verdicts: List[VerdictRow]
    rules: List[str]
    counters: Dict[str, Dict[str, int]]


class Looks(TypedDict):
    """All of one node. ``cannot``: what the kernel refused to tell."""

    looks: List[Look]
    cannot: List[str]
