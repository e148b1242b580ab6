"""The records that a node's snapshot is made of, as JSON has them. Keys that may be missing are in ``…Options``.

Devices are named, addresses are text: a record is compared with others' and shown, and parsed only where it is
calculated with.
"""

from __future__ import annotations

from typing import Dict, List, Optional, TypedDict, Union


class Traffic(TypedDict):
    """One direction of a device's counters."""

    packets: int
    bytes: int
    errors: int
    dropped: int


class VxlanRow(TypedDict):
    """Settings of a VXLAN device. ``local`` and ``device`` are "" where it has none."""

    vni: int
    port: int
    local: str
    device: str
    learning: bool
    df: bool


class PortRow(TypedDict, total=False):
    """Flags of a bridge port. ``state``: disabled, listening, learning, forwarding or blocking."""

    hairpin: bool
    learning: bool
    flood: bool
    isolated: bool
    state: str


class _LinkOptions(TypedDict, total=False):
    link: Union[int, str]
    master: str
    link_netnsid: int
    alias: str
    rx: Traffic
    tx: Traffic
    vxlan: VxlanRow
    port: PortRow


class LinkRow(_LinkOptions):
    """A device. ``link`` is what it stands on; with ``link_netnsid`` the ifindex in that other namespace, which is the
    peer's of a veth pair."""

    ifindex: int
    name: str
    kind: str
    mtu: int
    mac: str
    up: bool
    state: str


class _AddressOptions(TypedDict, total=False):
    scope: str
    flags: List[str]


class AddressRow(_AddressOptions):
    """An address of a device."""

    device: str
    address: str
    prefix: int


class Hop(TypedDict, total=False):
    """Where packets go next."""

    device: str
    gateway: str


class _RouteOptions(TypedDict, total=False):
    metric: int
    next_hop: int
    gateway: str
    device: str
    source: str
    hops: List[Hop]
    mtu: int
    scope: str
    onlink: bool


class RouteRow(_RouteOptions):
    """A route of any table but ``local``. ``kind``: unicast, blackhole, …"""

    destination: str
    kind: str
    protocol: int
    table: int


#: ``from`` is no name in Python.
_RuleSource = TypedDict("_RuleSource", {"from": str}, total=False)


class _RuleOptions(_RuleSource, total=False):
    to: str
    iif: str
    oif: str
    mark: int


class RuleRow(_RuleOptions):
    """A policy rule. ``action``: lookup, blackhole, …"""

    family: int
    priority: int
    table: int
    action: str


class _NeighbourOptions(TypedDict, total=False):
    mac: str
    proxy: bool


class NeighbourRow(_NeighbourOptions):
    """An ARP or ND entry."""

    device: str
    address: str
    state: str


class _FdbOptions(TypedDict, total=False):
    permanent: bool
    sticky: bool
    master: str
    destination: str
    vni: int
    port: int


class FdbRow(_FdbOptions):
    """An entry of a bridge (``master``) or of a VXLAN device (``destination``)."""

    device: str
    mac: str


class _NextHopOptions(TypedDict, total=False):
    device: str
    gateway: str
    group: List[int]
    blackhole: bool
    onlink: bool


class NextHopRow(_NextHopOptions):
    """A next-hop object."""

    id: int
    protocol: int


class NamespaceRows(TypedDict):
    """All of one network namespace. ``sysctls`` by their path below /proc/sys; ``counters`` as ``Ip.FragCreates``."""

    links: List[LinkRow]
    addresses: List[AddressRow]
    routes: List[RouteRow]
    rules: List[RuleRow]
    neighbours: List[NeighbourRow]
    fdb: List[FdbRow]
    next_hops: List[NextHopRow]
    sysctls: Dict[str, str]
    counters: Dict[str, int]


class NamedSandbox(TypedDict):
    """A network namespace beside the node's own. ``known_by``: podwire, libcni, mount or process."""

    name: str
    netns: str
    inode: int
    pids: List[int]
    container: str
    known_by: str


class SandboxRow(NamedSandbox):
    """One whose tables were read. ``nsid``: the number by which the node's namespace knows it."""

    nsid: Optional[int]
    namespace: NamespaceRows


class _ConflistOptions(TypedDict, total=False):
    version: Optional[str]
    error: str


class Conflist(_ConflistOptions):
    """A network configuration. ``plugins`` are as they are written, so any of them may be no object; ``error`` says why
    there are none."""

    file: str
    name: str
    plugins: List[object]


class Interface(TypedDict):
    """A device of a CNI result. ``sandbox``: "" for one on the node."""

    name: str
    mac: str
    sandbox: str


class Attachment(TypedDict):
    """A cached ADD of libcni. ``pod``: as the runtime calls it, "" where it does not."""

    network: str
    container: str
    ifname: str
    netns: str
    pod: str
    ips: List[str]
    interfaces: List[Interface]


#: Network -> address -> [container id, interface].
Leases = Dict[str, Dict[str, List[str]]]


class NodeFiles(TypedDict):
    """A node's files that are about its pods' network."""

    conflists: List[Conflist]
    attachments: List[Attachment]
    reservations: Leases
    subnet_env: Dict[str, str]


class Snapshot(NodeFiles):
    """A node, see snapshot.py."""

    node: str
    namespace: NamespaceRows
    sandboxes: Dict[str, SandboxRow]
    unattached: Dict[str, NamedSandbox]
    unnamed: List[int]
    seconds: float
