"""Intent: a cluster as a value, complete and valid. ``inventory.py`` makes it, everything reads it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

from ..model.objects import IPAddress, IPInterface, IPNetwork, MacAddress

#: Bytes that VXLAN adds below the inner IP packet: outer IP (20 or 40), UDP 8, VXLAN 8, inner Ethernet 14.
VXLAN_OVERHEAD = {4: 50, 6: 70}


@dataclass(frozen=True)
class BackendSettings:
    """``type`` is ``vxlan`` or ``host-gw``. ``mtu`` is the pods' MTU in bytes; None is worked out."""

    type: str = "vxlan"
    vni: int = 1
    port: int = 8472
    direct_routing: bool = False
    mtu: int | None = None


@dataclass(frozen=True)
class CniSettings:
    """``type`` is ``bridge`` or ``ptp``; ``name`` is the network's name in its NetConfList.

    conflist:    a NetConfList of the user's own as JSON, "" for podwire's; the values above are its own then.
    plugin_dirs: where plugins are looked for on a node; foreign ones found there are executed.
    """

    type: str = "bridge"
    name: str = "podwire"
    bridge: str = "cni0"
    hairpin: bool = True
    conflist: str = ""
    plugin_dirs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Segment:
    """One layer-2 network of a lab's underlay: at most one CIDR a family, MTU in bytes."""

    name: str
    cidrs: tuple[IPNetwork, ...]
    mtu: int = 1500


@dataclass(frozen=True)
class Port:
    """Where a node or router stands on a segment. ``device`` is its name inside."""

    segment: str
    device: str
    addresses: tuple[IPInterface, ...]


@dataclass(frozen=True)
class Router:
    """An underlay router of a lab: forwards between its ports."""

    name: str
    ports: tuple[Port, ...]


@dataclass(frozen=True)
class Underlay:
    """A lab's underlay. Nodes that nobody made here (SSH) have none."""

    segments: tuple[Segment, ...] = ()
    routers: tuple[Router, ...] = ()


@dataclass(frozen=True)
class Node:
    """A node with its subnet lease.

    kind:        ``netns``, ``docker`` or ``ssh``.
    ports:       where a lab puts it on the underlay; the first port is the external interface.
    interface:   name of the external interface.
    addresses:   the external interface's addresses, one a family at most, with prefix length.
    public_ips:  what peers send to, one a family at most; differs from ``addresses`` behind NAT.
    pod_cidrs:   the lease: one block a family of the cluster, in the order of ``cluster_cidrs``.
    mtu:         of the external interface, bytes.
    """

    name: str
    kind: str
    interface: str
    addresses: tuple[IPInterface, ...]
    public_ips: tuple[IPAddress, ...]
    pod_cidrs: tuple[IPNetwork, ...]
    mtu: int = 1500
    ports: tuple[Port, ...] = ()

    def public_ip(self, version: int) -> IPAddress | None:
        """The public IP of a family, or None."""
        return next((ip for ip in self.public_ips if ip.version == version), None)

    def address(self, version: int) -> IPInterface | None:
        """The external interface's address of a family, or None."""
        return next((address for address in self.addresses if address.version == version), None)

    def pod_cidr(self, version: int) -> IPNetwork | None:
        """The leased block of a family, or None."""
        return next((cidr for cidr in self.pod_cidrs if cidr.version == version), None)


@dataclass(frozen=True)
class Pod:
    """A pod that the inventory asks for. Its server listens on ``port``."""

    name: str
    node: str
    host_network: bool = False
    port: int = 8080


@dataclass(frozen=True)
class Check:
    """A test of the inventory's own.

    source:    the pod or node that it starts from.
    target:    a pod's name, or an address.
    protocol:  ``tcp``, ``udp`` or ``icmp``; ``port`` is 0 for the last.
    expect:    ``reachable``, ``denied`` (silence) or ``refused``.
    mtu:       bytes that must pass, and one more must not; 0: not asked.
    within:    seconds until which it is tried again.
    """

    name: str
    source: str
    target: str
    protocol: str = "tcp"
    port: int = 0
    expect: str = "reachable"
    mtu: int = 0
    within: int = 5


@dataclass(frozen=True)
class DeclaredFault:
    """A fault that the inventory asks for, for a drill (podwire/faults). "" is left to the catalogue's own choice."""

    fault: str
    node: str
    peer: str = ""
    pod: str = ""
    host_wide: bool = False


@dataclass(frozen=True)
class Cluster:
    """A whole declared pod network. ``id`` tells labs on one machine apart (see inventory.py).

    ``discovered``: the pods are those that are found on the nodes, whoever made them.
    """

    id: str
    cluster_cidrs: tuple[IPNetwork, ...]
    service_cidrs: tuple[IPNetwork, ...]
    node_prefix_lengths: tuple[int, ...]
    backend: BackendSettings
    cni: CniSettings
    masquerade: bool
    nodes: tuple[Node, ...]
    pods: tuple[Pod, ...]
    underlay: Underlay = Underlay()
    checks: tuple[Check, ...] = ()
    discovered: bool = False
    faults: tuple[DeclaredFault, ...] = ()

    @cached_property
    def by_name(self) -> dict[str, Node]:
        """Nodes by name."""
        return {node.name: node for node in self.nodes}

    def node(self, name: str) -> Node:
        """The node of a name; KeyError if it is not declared."""
        return self.by_name[name]

    def pods_of(self, node: str) -> tuple[Pod, ...]:
        """The pods declared on a node."""
        return tuple(pod for pod in self.pods if pod.node == node)

    @property
    def versions(self) -> tuple[int, ...]:
        """IP versions of the pods, in the order of ``cluster_cidrs``."""
        return tuple(cidr.version for cidr in self.cluster_cidrs)

    @cached_property
    def underlay_mtu(self) -> int:
        """The smallest MTU on any way between nodes: external interfaces, and segments between routers."""
        return min([node.mtu for node in self.nodes] + [segment.mtu for segment in self.underlay.segments])

    def overlay_mtu(self, version: int) -> int:
        """MTU of the family's VXLAN device: the smallest MTU of the underlay less the encapsulation."""
        return self.underlay_mtu - (VXLAN_OVERHEAD[version] if self.backend.type == "vxlan" else 0)

    @property
    def mtu(self) -> int:
        """The pods' MTU: what is declared, or the smallest overlay of any family."""
        return self.backend.mtu or min(self.overlay_mtu(version) for version in self.versions)


def vtep_mac(node: str, vni: int, version: int) -> MacAddress:
    """The VTEP's MAC address, a function of intent alone: peers need not ask each other for it.

    Locally administered and unicast (0x66 as Calico's Felix has it), so that udev leaves it alone
    and a node that was rebuilt keeps the address its peers hold in their neighbour tables.
    """
    digest = hashlib.sha256(f"{node}/{vni}/{version}".encode()).digest()
    return MacAddress(b"\x66" + digest[:5])


def vxlan_device(vni: int, version: int) -> str:
    """Name of a family's VXLAN device, as flannel has it: two devices in a dual-stack cluster."""
    return f"flannel.{vni}" if version == 4 else f"flannel-v6.{vni}"


def adjacent(one: Node, other: Node, version: int) -> bool:
    """True when both nodes can send to the other's own address without a router or NAT.

    It holds both ways or not at all: a peer that took the other way back would fail strict rp_filter.
    """
    here, there = one.address(version), other.address(version)
    return (
        here is not None
        and there is not None
        and here.ip in there.network
        and there.ip in here.network
        and one.public_ip(version) == here.ip
        and other.public_ip(version) == there.ip
    )
