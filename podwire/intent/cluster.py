"""Intent: a cluster as a value, complete and valid. ``inventory.py`` makes it, everything reads it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ..backend import Backend, BackendSettings, Endpoint, backend_of
from ..model.objects import IPAddress, IPInterface, IPNetwork


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
    """A device of a node or router on a segment. ``device`` is its name inside."""

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
    pod_cidrs:   the lease: one pod CIDR a family of the cluster, in the order of ``cluster_cidrs``.
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
        """The leased pod CIDR of a family, or None."""
        return next((cidr for cidr in self.pod_cidrs if cidr.version == version), None)

    def endpoint(self, version: int) -> Endpoint | None:
        """The node as a backend of an IP version sees it; None without an address or pod CIDR of that version."""
        address, public_ip, pod_cidr = self.address(version), self.public_ip(version), self.pod_cidr(version)
        if address is None or public_ip is None or pod_cidr is None:
            return None
        return Endpoint(self.name, self.interface, address, public_ip, pod_cidr)


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
    def backend_driver(self) -> Backend:
        """What the backend needs and makes, with this cluster's settings."""
        return backend_of(self.backend)

    @cached_property
    def underlay_mtu(self) -> int:
        """The smallest MTU on any way between nodes: external interfaces, and segments between routers."""
        return min([node.mtu for node in self.nodes] + [segment.mtu for segment in self.underlay.segments])

    def overlay_mtu(self, version: int) -> int:
        """The largest packet that pods can send to peers: the smallest MTU of the underlay less the encapsulation."""
        return self.underlay_mtu - self.backend_driver.overhead[version]

    def device_mtu(self, version: int) -> int:
        """MTU of the backend's device: by IP version, because IPv6 takes 20 bytes more."""
        return min(self.overlay_mtu(version), self.backend.mtu or 65535)

    @property
    def mtu(self) -> int:
        """The pods' MTU: what is declared, or the smallest overlay of any family."""
        return self.backend.mtu or min(self.overlay_mtu(version) for version in self.versions)


def adjacent(one: Node, other: Node, version: int) -> bool:
    """True when both nodes can send to the other's own address without a router or NAT."""
    first, second = one.endpoint(version), other.endpoint(version)
    return first is not None and second is not None and first.is_adjacent(second)
