"""The kernel's objects as frozen values.

Values are compared whole: two States differ exactly where a value is in one and not in the other.
Hot ones (routes, next hops, neighbours, FDB entries) exist in tens of thousands, so all are named
tuples, which CPython builds, hashes and compares in C. Addresses are ``ipaddress`` objects; devices
are named, never numbered, because intent cannot know an ifindex.
"""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)

from ..startup_typing import NamedTuple, Union

IPAddress = Union[IPv4Address, IPv6Address]
IPNetwork = Union[IPv4Network, IPv6Network]
IPInterface = Union[IPv4Interface, IPv6Interface]

#: rtm_protocol of routes and next hops made by a backend. Free in iproute2's rt_protos; not 12
#: (BIRD), 17 (mrouted, used by kube-router) or 80 (Calico's Felix).
ROUTE_PROTOCOL = 112
#: RTPROT_BOOT: what ``ip route add`` and the Go CNI plugins leave on a pod's routes.
PROTOCOL_BOOT = 3
#: IFLA_IFALIAS that marks devices made by a backend, so that one left by an old VNI is still ours.
BACKEND_ALIAS = "podwire backend"
#: What was broken on purpose, on the node's disk, a file a fault (podwire.faults.journal).
FAULT_JOURNAL = "/var/lib/podwire/faults"
MAIN_TABLE = 254


class MacAddress(bytes):
    """Six bytes that print as ``02:00:00:00:00:01``."""

    @classmethod
    def parse(cls, text: str) -> MacAddress:
        """Read ``aa:bb:cc:dd:ee:ff``; ValueError for anything else."""
        parts = text.split(":")
        if len(parts) != 6 or any(len(part) != 2 for part in parts):
            raise ValueError(f"{text!r} is not a MAC address")
        return cls(int(part, 16) for part in parts)

    def __str__(self) -> str:
        return ":".join(f"{byte:02x}" for byte in self)

    __repr__ = __str__


class Vxlan(NamedTuple):
    """The part of a VXLAN device that cannot be changed once it exists (drivers/net/vxlan).

    ``device`` is "" for one that follows the routes, whose MTU then nothing bounds; with ``df`` the outer
    packets must not be fragmented.
    """

    vni: int
    port: int
    local: IPAddress
    device: str
    learning: bool = False
    df: bool = False


class VethPeer(NamedTuple):
    """The other end of a veth pair, born in the same message (IFLA_NET_NS_FD inside VETH_INFO_PEER)."""

    namespace: str
    name: str


class Link(NamedTuple):
    """A network device. A ``None`` attribute of a desired link means "as the kernel likes".

    ``kind``: ``bridge``, ``vxlan``, ``veth``, ``loopback`` or ``""`` (a device podwire did not make).
    A veth with ``peer`` is created together with its other end; one without is that other end and
    is only configured. ``hairpin`` and ``isolated`` are flags of a bridge port. ``alias`` is
    IFLA_IFALIAS. ``promisc`` and ``allmulti`` are what an administrator set, ``tx_queue`` is in packets.
    ``vlan_filtering``: whether a bridge heeds the VLANs of its ports (``PortVlans``).
    """

    name: str
    kind: str
    mtu: int | None = None
    mac: MacAddress | None = None
    up: bool = True
    master: str | None = None
    vxlan: Vxlan | None = None
    peer: VethPeer | None = None
    hairpin: bool | None = None
    isolated: bool | None = None
    alias: str | None = None
    promisc: bool | None = None
    allmulti: bool | None = None
    tx_queue: int | None = None
    vlan_filtering: bool | None = None

    def __str__(self) -> str:
        words = [f"link {self.name} {self.kind}".rstrip()]
        if self.vxlan:
            v = self.vxlan
            words.append(f"vni {v.vni} port {v.port} local {v.local}" + (f" dev {v.device}" if v.device else ""))
            words.append("learning" if v.learning else "nolearning")
            words += ["df set"] if v.df else []
        if self.peer:
            words.append(f"peer {self.peer.name} in {self.peer.namespace}")
        for key in ("mtu", "mac", "master"):
            if getattr(self, key) is not None:
                words.append(f"{key} {getattr(self, key)}")
        for key in ("hairpin", "isolated"):
            if getattr(self, key) is not None:
                words.append(f"{key} {'on' if getattr(self, key) else 'off'}")
        words += [key for key in ("promisc", "allmulti", "vlan_filtering") if getattr(self, key)]
        words.append("up" if self.up else "down")
        return " ".join(words)


#: bridge_vlan_info's flags: what comes without tag is of this VLAN; what is of it leaves without tag.
PVID, UNTAGGED = 2, 4


class PortVlans(NamedTuple):
    """The VLANs of a bridge port: (VLAN id, flags) by id. ``others``: whether it may be in more of them."""

    device: str
    vlans: tuple[tuple[int, int], ...]
    others: bool = False

    def __str__(self) -> str:
        words = {0: "", PVID: " pvid", UNTAGGED: " untagged", PVID | UNTAGGED: " pvid untagged"}
        vlans = (f"{first}{f'-{last}' if last > first else ''}{words[flags]}" for first, last, flags in self.ranges())
        return f"vlans {', '.join(vlans) or 'none'} dev {self.device}"

    def ranges(self) -> list[tuple[int, int, int]]:
        """(first, last, flags) of each run of VLANs that are alike. Only one may be the PVID."""
        found: list[tuple[int, int, int]] = []
        for vlan, flags in self.vlans:
            if found and found[-1][1:] == (vlan - 1, flags) and not flags & PVID:
                found[-1] = (found[-1][0], vlan, flags)
            else:
                found.append((vlan, vlan, flags))
        return found


class Address(NamedTuple):
    """An address of a device. Without ``prefix_route`` the kernel makes no route to the address's
    network (IFA_F_NOPREFIXROUTE): what pods behind ptp want, whose neighbours are not on their link."""

    device: str
    interface: IPInterface
    nodad: bool = False
    prefix_route: bool = True

    def __str__(self) -> str:
        flags = (" nodad" if self.nodad else "") + ("" if self.prefix_route else " noprefixroute")
        return f"address {self.interface} dev {self.device}{flags}"


class Neighbour(NamedTuple):
    """A permanent ARP or ND entry (NUD_PERMANENT)."""

    device: str
    address: IPAddress
    mac: MacAddress

    def __str__(self) -> str:
        return f"neighbour {self.address} lladdr {self.mac} dev {self.device} permanent"


class FdbEntry(NamedTuple):
    """A permanent ``self`` entry of a VXLAN device: frames for ``mac`` go to VTEP ``destination``."""

    device: str
    mac: MacAddress
    destination: IPAddress

    def __str__(self) -> str:
        return f"fdb {self.mac} dst {self.destination} dev {self.device} self permanent"


class NextHop(NamedTuple):
    """A next-hop object (``ip nexthop``), which keeps IPv4 route insertion linear in the peers."""

    id: int
    gateway: IPAddress
    device: str
    onlink: bool = False
    protocol: int = ROUTE_PROTOCOL

    def __str__(self) -> str:
        onlink = " onlink" if self.onlink else ""
        return f"nexthop id {self.id} via {self.gateway} dev {self.device}{onlink}"


class Route(NamedTuple):
    """A route. ``device`` is None where ``next_hop`` names a next-hop object or ``kind`` has no exit.

    ``scope``: ``global``, ``link`` or ``host``; IPv6 knows only ``global``. ``metric`` 0 is the
    kernel's default (0 for IPv4, 1024 for IPv6). ``mtu`` and ``advmss`` 0 mean unset.
    """

    destination: IPNetwork
    gateway: IPAddress | None = None
    device: str | None = None
    onlink: bool = False
    next_hop: int | None = None
    protocol: int = ROUTE_PROTOCOL
    scope: str = "global"
    source: IPAddress | None = None
    metric: int = 0
    table: int = MAIN_TABLE
    kind: str = "unicast"
    mtu: int = 0
    advmss: int = 0

    def __str__(self) -> str:
        words = [f"route {self.destination}" if self.kind == "unicast" else f"route {self.kind} {self.destination}"]
        for word, value in (("via", self.gateway), ("dev", self.device), ("nhid", self.next_hop), ("src", self.source)):
            if value is not None:
                words.append(f"{word} {value}")
        if self.scope != "global":
            words.append(f"scope {self.scope}")
        for word, number, default in (
            ("metric", self.metric, 0),
            ("table", self.table, MAIN_TABLE),
            ("mtu", self.mtu, 0),
            ("advmss", self.advmss, 0),
        ):
            if number != default:
                words.append(f"{word} {number}")
        return " ".join(words) + (" onlink" if self.onlink else "") + f" proto {self.protocol}"


class Sysctl(NamedTuple):
    """``key`` is the path below /proc/sys, with slashes: device names may hold dots."""

    key: str
    value: str

    def __str__(self) -> str:
        return f"sysctl {self.key} = {self.value}"


class NatRule(NamedTuple):
    """Masquerade packets from ``source`` unless they go to one of ``unless`` (nftables, srcnat)."""

    source: IPNetwork
    unless: tuple[IPNetwork, ...]

    def __str__(self) -> str:
        return f"masquerade {self.source} unless to {', '.join(map(str, self.unless))}"


class Chain(NamedTuple):
    """A chain of an nftables table of ours. One without ``hook`` is only jumped to."""

    family: str
    table: str
    name: str
    type: str = ""
    hook: int | None = None
    priority: int = 0


class Rule(NamedTuple):
    """A rule of an nftables chain for one attachment. ``owner`` begins its comment, and is how it is found again.

    ``text`` is the rule as nft shows it, ``expressions`` are what the kernel gets (NFTA_RULE_EXPRESSIONS).
    """

    chain: Chain
    owner: str
    comment: str
    text: str
    expressions: bytes

    def __str__(self) -> str:
        return f"nftables {self.chain.family} {self.chain.table} {self.chain.name}: {self.text}"


class IptablesRule(NamedTuple):
    """A rule of iptables' nat table; without ``words``, the whole chain, which is empty by then.

    words:   what stands behind ``-A CHAIN``, as iptables-save has it.
    owner:   the chain of the attachment that it is for; "" if all attachments share it.
    order:   among rules of its chain. Negative: before those that are there already, else behind them.
    free:    whether some words are the user's own, which iptables-save may write otherwise.
    flavour: ``nft`` or ``legacy`` tables; "" for those of the command ``iptables``.
    """

    version: int
    chain: str
    words: tuple[str, ...]
    owner: str = ""
    order: int = 0
    free: bool = False
    flavour: str = ""

    def __str__(self) -> str:
        command = {4: "iptables", 6: "ip6tables"}[self.version]
        return " ".join([f"{command} nat {self.chain}:", *self.words]).rstrip(":")


class File(NamedTuple):
    """A file that belongs to the node's network state, written whole by temp file and rename."""

    path: str
    content: str
    mode: int = 0o644

    def __str__(self) -> str:
        return f"file {self.path} mode {self.mode:04o}"


Object = Union[Link, Address, Neighbour, FdbEntry, PortVlans, NextHop, Route, Sysctl, NatRule, Rule, IptablesRule, File]
