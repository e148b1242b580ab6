"""Intent: a cluster as a value, complete and valid. ``inventory.py`` makes it, everything reads it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Dict, Optional, Tuple

from .model import IPAddress, IPInterface, IPNetwork, MacAddress

#: Bytes that VXLAN adds below the inner IP packet: outer IP (20 or 40), UDP 8, VXLAN 8, inner Ethernet 14.
VXLAN_OVERHEAD = {4: 50, 6: 70}


@dataclass(frozen=True)
class BackendSettings:
    """``type`` is ``vxlan`` or ``host-gw``. ``mtu`` is the pods' MTU in bytes; None is worked out."""

    type: str = "vxlan"
    vni: int = 1
    port: int = 8472
    direct_routing: bool = False
    mtu: Optional[int] = None


@dataclass(frozen=True)
class CniSettings:
    """``type`` is ``bridge`` or ``ptp``; ``name`` is the network's name in its NetConfList."""

    type: str = "bridge"
    name: str = "podwire"
    bridge: str = "cni0"
    hairpin: bool = True


@dataclass(frozen=True)
class Segment:
    """One layer-2 network of a lab's underlay: at most one CIDR a family, MTU in bytes."""

    name: str
    cidrs: Tuple[IPNetwork, ...]
    mtu: int = 1500


@dataclass(frozen=True)
class Port:
    """Where a node or router stands on a segment. ``device`` is its name inside."""

    segment: str
    device: str
    addresses: Tuple[IPInterface, ...]


@dataclass(frozen=True)
class Router:
    """An underlay router of a lab: forwards between its ports."""

    name: str
    ports: Tuple[Port, ...]


@dataclass(frozen=True)
class Underlay:
    """A lab's underlay. Nodes that nobody made here (SSH) have none."""

    segments: Tuple[Segment, ...] = ()
    routers: Tuple[Router, ...] = ()


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
    addresses: Tuple[IPInterface, ...]
    public_ips: Tuple[IPAddress, ...]
    pod_cidrs: Tuple[IPNetwork, ...]
    mtu: int = 1500
    ports: Tuple[Port, ...] = ()

    def public_ip(self, version: int) -> Optional[IPAddress]:
        """The public IP of a family, or None."""
        return next((ip for ip in self.public_ips if ip.version == version), None)

    def address(self, version: int) -> Optional[IPInterface]:
        """The external interface's address of a family, or None."""
        return next((each for each in self.addresses if each.version == version), None)

    def pod_cidr(self, version: int) -> Optional[IPNetwork]:
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
class Cluster:
    """A whole declared pod network. ``id`` tells labs on one machine apart (see inventory.py)."""

    id: str
    cluster_cidrs: Tuple[IPNetwork, ...]
    service_cidrs: Tuple[IPNetwork, ...]
    node_prefix_lengths: Tuple[int, ...]
    backend: BackendSettings
    cni: CniSettings
    masquerade: bool
    nodes: Tuple[Node, ...]
    pods: Tuple[Pod, ...]
    underlay: Underlay = Underlay()

    @cached_property
    def by_name(self) -> Dict[str, Node]:
        """Nodes by name."""
        return {node.name: node for node in self.nodes}

    def node(self, name: str) -> Node:
        """The node of a name; KeyError if it is not declared."""
        return self.by_name[name]

    def pods_of(self, node: str) -> Tuple[Pod, ...]:
        """The pods declared on a node."""
        return tuple(pod for pod in self.pods if pod.node == node)

    @property
    def versions(self) -> Tuple[int, ...]:
        """IP versions of the pods, in the order of ``cluster_cidrs``."""
        return tuple(cidr.version for cidr in self.cluster_cidrs)

    def overlay_mtu(self, version: int) -> int:
        """MTU of the family's VXLAN device: the smallest external interface less the encapsulation."""
        underlay = min(node.mtu for node in self.nodes)
        return underlay - (VXLAN_OVERHEAD[version] if self.backend.type == "vxlan" else 0)

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
