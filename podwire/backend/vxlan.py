"""VXLAN as flannel configures it: routing on layer 3, one Ethernet hop inside, nothing learned.

One device for each IP version. A node's pod CIDR starts with the address of its device, and all that sending to a
peer needs is in three tables, so that no packet ever waits for ARP or a flood:

    route      10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink    which VTEP has the pod CIDR
    neighbour  10.244.1.0 lladdr 66:... dev flannel.1 permanent     the VTEP's MAC address
    FDB        66:... dst 172.30.0.12 dev flannel.1 self permanent  the node that has the VTEP

With direct routing, peers on the node's own segment get a plain route instead.
"""

from __future__ import annotations

import hashlib
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface
from typing import Optional, Sequence, Tuple

from ..model.objects import BACKEND_ALIAS, Address, FdbEntry, Link, MacAddress, Neighbour, Sysctl, Vxlan
from ..model.state import State
from .descriptor import Backend
from .endpoint import Endpoint
from .routes import direct_routes, routes

#: UDP checksums were wrong with checksum offload after SNAT until this Linux release (commit ea64d8d6c675).
_OFFLOAD_FIXED = (5, 7)


class VxlanBackend(Backend):
    """A VXLAN device with static tables."""

    type = "vxlan"
    title = "VXLAN"
    #: Outer IP (20 or 40), UDP 8, VXLAN 8, inner Ethernet 14.
    overhead = {4: 50, 6: 70}
    offers_direct_routing = True

    @property
    def udp_port(self) -> Optional[int]:
        """Of the outer packets."""
        return self.settings.port

    @property
    def network_id(self) -> Optional[int]:
        """The VNI."""
        return self.settings.vni

    def device(self, version: int) -> str:
        """The device's name as flannel has it: two devices in a dual-stack cluster."""
        return vxlan_device(self.settings.vni, version)

    def probe_links(self) -> Tuple[Link, ...]:
        """A device with the cluster's VNI and port."""
        vxlan = Vxlan(self.settings.vni, self.settings.port, IPv4Address("127.0.0.1"), "lo")
        return (Link("pw-vxlan", "vxlan", settings=vxlan),)

    def kernel_warning(self, release: Tuple[int, ...], device: str) -> Optional[Tuple[str, str]]:
        """Of checksum offload."""
        if release >= _OFFLOAD_FIXED:
            return None
        return (
            "sends wrong UDP checksums through VXLAN where packets are also masqueraded",
            f"when the device is there: ethtool -K {device} tx-checksum-ip-generic off; or Linux 5.7 and newer",
        )

    def desired(self, node: Endpoint, peers: Sequence[Endpoint], mtu: int) -> State:
        """The device, and the entries for all peers."""
        state = self._device(node, mtu)
        if self.settings.direct_routing:
            adjacent = [peer for peer in peers if node.is_adjacent(peer)]
            names = {peer.name for peer in adjacent}
            peers = [peer for peer in peers if peer.name not in names]
            state |= direct_routes(node, adjacent)
        return state | self._remote(peers, node.version)

    def _device(self, node: Endpoint, mtu: int) -> State:
        """The device with its address and sysctls.

        ``local`` is the node's own address where flannel takes the public IP: behind NAT the host does not
        have that one, and every packet would be lost to a carrier error.
        """
        name, network = self.device(node.version), int(node.pod_cidr.network_address)
        link = Link(
            name,
            "vxlan",
            mtu=mtu,
            mac=vtep_mac(node.name, self.settings.vni, node.version),
            settings=Vxlan(self.settings.vni, self.settings.port, node.address.ip, node.interface),
            alias=BACKEND_ALIAS,
        )
        sysctls = {f"net/ipv6/conf/{name}/accept_ra": "0"}
        if node.version == 4:
            # The kernel takes the larger of "all" and the device's: 2 is loose whatever "all" says, 0 may be strict.
            sysctls[f"net/ipv4/conf/{name}/rp_filter"] = "2"
            # IPv6 would send multicast into a device that has no default destination; each packet counts as dropped.
            sysctls[f"net/ipv6/conf/{name}/disable_ipv6"] = "1"
            address = Address(name, IPv4Interface((network, 32)))
        else:
            address = Address(name, IPv6Interface((network, 128)), nodad=True)
        return State(
            links=frozenset((link,)),
            sysctls=frozenset(Sysctl(key, value) for key, value in sysctls.items()),
            addresses=frozenset((address,)),
        )

    def _remote(self, peers: Sequence[Endpoint], version: int) -> State:
        """Neighbour, FDB entry and route of every peer that is reached through the tunnel."""
        vni = self.settings.vni
        name = self.device(version)
        neighbours, fdb, paths = [], [], []
        for peer in peers:
            mac, gateway = vtep_mac(peer.name, vni, version), peer.pod_cidr.network_address
            neighbours.append(Neighbour(name, gateway, mac))
            fdb.append(FdbEntry(name, mac, peer.public_ip))
            paths.append((peer.pod_cidr, gateway))
        return State(neighbours=frozenset(neighbours), fdb=frozenset(fdb)) | routes(paths, name, onlink=True)


def vtep_mac(node: str, vni: int, version: int) -> MacAddress:
    """The VTEP's MAC address, a function of intent alone: peers need not ask each other for it.

    Locally administered and unicast (0x66 as Calico's Felix has it), so that udev leaves it alone
    and a node that was rebuilt keeps the address its peers hold in their neighbour tables.
    """
    digest = hashlib.sha256(f"{node}/{vni}/{version}".encode()).digest()
    return MacAddress(b"\x66" + digest[:5])


def vxlan_device(vni: int, version: int) -> str:
    """Name of the VXLAN device for an IP version."""
    return f"flannel.{vni}" if version == 4 else f"flannel-v6.{vni}"
