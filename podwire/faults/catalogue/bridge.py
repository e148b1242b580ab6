"""The node's bridge, its ports and the pods' own devices."""

from __future__ import annotations

from typing import List, Tuple

from ...intent.cluster import Pod
from ...model.objects import Link, MacAddress, Neighbour, Object, VethPeer
from .. import requirements
from ..context import Ground
from ..fault import NODE, Edit, Fault, Nudge, Patch, Put
from ..resources import FdbPin, PortFlag
from .symptoms import FAR, NEAR

_FORGET = ("ip", "neigh", "flush", "dev", "eth0")
_BAD_MAC = MacAddress.parse("02:00:00:00:de:ad")


def _port(ground: Ground, pod: Pod) -> Link:
    return ground.link(ground.port(pod))


def _mac(ground: Ground, pod: Pod) -> MacAddress:
    mac = ground.link("eth0", ground.place(pod)).mac
    assert mac is not None
    return mac


def _no_master(ground: Ground) -> List[Edit]:
    port = _port(ground, ground.pod)
    return [Patch(NODE, (port,), (port._replace(master=None, hairpin=None, isolated=None),))]


def _port_down(ground: Ground) -> List[Edit]:
    port = _port(ground, ground.pod)
    return [Patch(NODE, (port,), (port._replace(up=False),))]


def _deleted(ground: Ground) -> List[Edit]:
    place = ground.place(ground.pod)
    port = _port(ground, ground.pod)._replace(peer=VethPeer(place, "eth0"))
    inside = ground.state(place)
    lost: Tuple[Object, ...] = (ground.link("eth0", place), *inside.addresses, *inside.routes)
    return [Patch(NODE, (port,)), Patch(place, lost=lost)]


def _disabled(ground: Ground) -> List[Edit]:
    return [Put(NODE, PortFlag(ground.port(ground.pod), "state"), 0)]


def _bridge_down(ground: Ground) -> List[Edit]:
    bridge = ground.link(ground.cluster.cni.bridge)
    return [Patch(NODE, (bridge,), (bridge._replace(up=False),))]


def _no_address(ground: Ground) -> List[Edit]:
    bridge = ground.cluster.cni.bridge
    return [Patch(NODE, tuple(address for address in ground.state().addresses if address.device == bridge))]


def _isolated(ground: Ground) -> List[Edit]:
    ports = (_port(ground, ground.pod), _port(ground, ground.sibling))
    return [Patch(NODE, ports, tuple(port._replace(isolated=True) for port in ports))]


def _pinned(ground: Ground) -> List[Edit]:
    return [Put(NODE, FdbPin(ground.port(ground.sibling), str(_mac(ground, ground.pod))), True)]


def _mute_port(ground: Ground) -> List[Edit]:
    port = ground.port(ground.pod)
    forget = ("bridge", "fdb", "del", str(_mac(ground, ground.pod)), "dev", port, "master")
    return [
        Put(NODE, PortFlag(port, "learning"), False),
        Put(NODE, PortFlag(port, "flood"), False),
        Nudge(NODE, forget),
    ]


def _no_routes(ground: Ground) -> List[Edit]:
    place = ground.place(ground.pod)
    return [Patch(place, tuple(sorted(ground.state(place).routes, key=str)))]


def _wrong_gateway(ground: Ground) -> List[Edit]:
    place, gateway = ground.place(ground.pod), ground.block(ground.node)[1]
    right = tuple(neighbour for neighbour in ground.state(place).neighbours if neighbour.address == gateway)
    return [Patch(place, right, (Neighbour("eth0", gateway, _BAD_MAC),))]


def _silent(ground: Ground) -> List[Edit]:
    key = f"net/ipv4/conf/{ground.cluster.cni.bridge}/arp_ignore"
    right = ground.sysctl(key)
    return [Patch(NODE, (right,), (right._replace(value="8"),)), Nudge(ground.place(ground.pod), _FORGET)]


def _same_mac(ground: Ground) -> List[Edit]:
    place = ground.place(ground.pod)
    device = ground.link("eth0", place)
    return [Patch(place, (device,), (device._replace(mac=_mac(ground, ground.sibling)),))]


_ACROSS = (requirements.BRIDGE, requirements.PEER, requirements.POD)
_WITHIN = (requirements.BRIDGE, requirements.SIBLING)
_BOTH = ("pod", "peer")
FAULTS = (
    Fault(
        "port_without_master", 15, "bridge", "a pod's veth is no port of the bridge",
        "ip link set veth0 nomaster", _no_master, FAR, needs=_ACROSS, parameters=_BOTH,
    ),
    Fault(
        "port_down", 16, "bridge", "the node's end of a pod's veth pair is down",
        "ip link set veth0 down", _port_down, FAR, needs=_ACROSS, parameters=_BOTH,
    ),
    Fault(
        "veth_deleted", 17, "bridge", "a pod's veth pair is gone",
        "ip link del veth0", _deleted, FAR, needs=_ACROSS, parameters=_BOTH,
    ),
    Fault(
        "port_disabled", 18, "bridge", "the bridge does not forward on a pod's port",
        "bridge link set dev veth0 state 0", _disabled, FAR,
        needs=(*_ACROSS, requirements.IP, requirements.BRIDGE_TOOL), parameters=_BOTH,
    ),
    Fault(
        "bridge_down", 19, "bridge", "the bridge is down: all pods of the node are cut off",
        "ip link set cni0 down", _bridge_down, FAR, needs=_ACROSS, parameters=_BOTH,
    ),
    Fault(
        "bridge_address_lost", 20, "bridge", "the bridge has no address: the pods' gateway is gone",
        "ip addr flush dev cni0", _no_address, FAR, needs=_ACROSS, parameters=_BOTH,
    ),
    Fault(
        "ports_isolated", 21, "bridge", "pods of one node cannot talk to each other",
        "bridge link set dev veth0 isolated on", _isolated, NEAR, needs=_WITHIN, parameters=("pod",),
    ),
    Fault(
        "fdb_pinned_to_wrong_port", 22, "bridge", "the bridge sends a pod's frames to another pod",
        "bridge fdb replace 0a:58:0a:f4:00:02 dev veth1 master static sticky", _pinned, FAR,
        needs=(*_ACROSS, requirements.SIBLING, requirements.BRIDGE_TOOL), parameters=_BOTH,
    ),
    Fault(
        "port_without_learning", 23, "bridge", "a pod's port neither learns nor is flooded: nothing comes back",
        "bridge link set dev veth0 learning off flood off", _mute_port, FAR,
        needs=(*_ACROSS, requirements.IP, requirements.BRIDGE_TOOL), parameters=_BOTH,
    ),
    Fault(
        "pod_routes_lost", 24, "bridge", "a pod has no routes",
        "ip netns exec pod-a ip route flush table main", _no_routes, FAR, needs=(requirements.PEER, requirements.POD),
        parameters=_BOTH,
    ),
    Fault(
        "gateway_mac_wrong", 25, "bridge", "a pod sends to its gateway at a MAC address that nobody has",
        "ip netns exec pod-a ip neigh replace 10.244.0.1 lladdr 02:00:00:00:de:ad nud permanent dev eth0",
        _wrong_gateway, FAR, needs=_ACROSS, parameters=_BOTH,
    ),
    Fault(
        "arp_ignored", 26, "bridge", "the node does not answer when pods ask for their gateway",
        "sysctl -w net.ipv4.conf.cni0.arp_ignore=8", _silent, FAR, needs=(*_ACROSS, requirements.IPV4, requirements.IP),
        parameters=_BOTH,
    ),
    Fault(
        "duplicate_mac", 27, "bridge", "two pods have one MAC address",
        "ip netns exec pod-a ip link set eth0 address 0a:58:0a:f4:00:03", _same_mac, NEAR, needs=_WITHIN,
        parameters=("pod",),
    ),
)  # fmt: skip
