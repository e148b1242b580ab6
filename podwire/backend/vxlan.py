"""VXLAN as flannel lays it out: routing on layer 3, one Ethernet hop inside, nothing learned.

One device a family. A node's block starts with the address of its device, and all that sending to a
peer needs stands in three tables, so that no packet ever waits for ARP or a flood:

    route      10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink    which VTEP has the block
    neighbour  10.244.1.0 lladdr 66:... dev flannel.1 permanent     the VTEP's MAC address
    FDB        66:... dst 172.30.0.12 dev flannel.1 self permanent  the node that has the VTEP

With direct routing, peers on the node's own segment get a plain route instead (host_gw.py).
"""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface
from typing import List

from ..intent.cluster import Cluster, Node, adjacent, vtep_mac, vxlan_device
from ..model.objects import BACKEND_ALIAS, Address, FdbEntry, Link, Neighbour, Sysctl, Vxlan
from ..model.state import State
from .common import peers, routes
from .host_gw import direct


def desired(cluster: Cluster, node: Node) -> State:
    """The VXLAN devices and the way to all peers."""
    state = State()
    for version in cluster.versions:
        others = peers(cluster, node)
        if cluster.backend.direct_routing:
            near = [peer for peer in others if adjacent(node, peer, version)]
            state |= direct(node, near, version)
            names = {peer.name for peer in near}
            others = [peer for peer in others if peer.name not in names]
        state |= _device(cluster, node, version) | _remote(cluster, others, version)
    return state


def _device(cluster: Cluster, node: Node, version: int) -> State:
    """The device with its address and sysctls.

    ``local`` is the node's own address where flannel takes the public IP: behind NAT the host does not
    have that one, and every packet would be lost to a carrier error. Its MTU is worked out by family,
    because IPv6 takes 20 bytes more.
    """
    vni = cluster.backend.vni
    name, local, block = vxlan_device(vni, version), node.address(version), node.pod_cidr(version)
    if local is None or block is None:
        raise ValueError(f"node {node.name} has no IPv{version} address or block; inventory.read lets none through")
    mtu = min(cluster.overlay_mtu(version), cluster.backend.mtu or 65535)
    link = Link(
        name,
        "vxlan",
        mtu=mtu,
        mac=vtep_mac(node.name, vni, version),
        vxlan=Vxlan(vni, cluster.backend.port, local.ip, node.interface),
        alias=BACKEND_ALIAS,
    )
    sysctls = {f"net/ipv6/conf/{name}/accept_ra": "0"}
    if version == 4:
        # The kernel takes the larger of "all" and the device's: 2 is loose whatever "all" says, 0 may be strict.
        sysctls[f"net/ipv4/conf/{name}/rp_filter"] = "2"
        # IPv6 would send multicast into a device that has no default destination; each packet counts as dropped.
        sysctls[f"net/ipv6/conf/{name}/disable_ipv6"] = "1"
        address = Address(name, IPv4Interface((int(block.network_address), 32)))
    else:
        address = Address(name, IPv6Interface((int(block.network_address), 128)), nodad=True)
    return State(
        links=frozenset((link,)),
        sysctls=frozenset(Sysctl(key, value) for key, value in sysctls.items()),
        addresses=frozenset((address,)),
    )


def _remote(cluster: Cluster, others: List[Node], version: int) -> State:
    """Neighbour, FDB entry and route of every peer that is reached through the tunnel."""
    vni = cluster.backend.vni
    name = vxlan_device(vni, version)
    neighbours, fdb, ways = [], [], []
    for peer in others:
        block, public = peer.pod_cidr(version), peer.public_ip(version)
        if block is not None and public is not None:
            mac, gateway = vtep_mac(peer.name, vni, version), block.network_address
            neighbours.append(Neighbour(name, gateway, mac))
            fdb.append(FdbEntry(name, mac, public))
            ways.append((block, gateway))
    return State(neighbours=frozenset(neighbours), fdb=frozenset(fdb)) | routes(ways, name, onlink=True)
