"""The node's bridge, its ports and the pods' own devices."""

from __future__ import annotations

from typing import List, Tuple

from ...intent.cluster import Pod
from ...model.objects import Link, MacAddress, Neighbour, Object, VethPeer
from .. import requirements
from ..context import Context
from ..edit import Edit, Flush, Patch, SetResource
from ..fault import Fault
from ..kernel_resources import FdbPin, PortFlag
from ..places import NODE
from .symptoms import FAR, NEAR

_FORGET = ("ip", "neigh", "flush", "dev", "eth0")
_BAD_MAC = MacAddress.parse("02:00:00:00:de:ad")


def _port(context: Context, pod: Pod) -> Link:
    return context.link(context.port(pod))


def _mac(context: Context, pod: Pod) -> MacAddress:
    mac = context.link("eth0", context.place(pod)).mac
    assert mac is not None
    return mac


def _no_master(context: Context) -> List[Edit]:
    port = _port(context, context.pod)
    return [Patch(NODE, (port,), (port._replace(master=None, hairpin=None, isolated=None),))]


def _port_down(context: Context) -> List[Edit]:
    port = _port(context, context.pod)
    return [Patch(NODE, (port,), (port._replace(up=False),))]


def _deleted(context: Context) -> List[Edit]:
    place = context.place(context.pod)
    port = _port(context, context.pod)._replace(peer=VethPeer(place, "eth0"))
    inside = context.state(place)
    lost: Tuple[Object, ...] = (context.link("eth0", place), *inside.addresses, *inside.routes)
    return [Patch(NODE, (port,)), Patch(place, lost=lost)]


def _disabled(context: Context) -> List[Edit]:
    return [SetResource(NODE, PortFlag(context.port(context.pod), "state"), 0)]


def _bridge_down(context: Context) -> List[Edit]:
    bridge = context.link(context.cluster.cni.bridge)
    return [Patch(NODE, (bridge,), (bridge._replace(up=False),))]


def _no_address(context: Context) -> List[Edit]:
    bridge = context.cluster.cni.bridge
    return [Patch(NODE, tuple(address for address in context.state().addresses if address.device == bridge))]


def _isolated(context: Context) -> List[Edit]:
    ports = (_port(context, context.pod), _port(context, context.sibling))
    return [Patch(NODE, ports, tuple(port._replace(isolated=True) for port in ports))]


def _pinned(context: Context) -> List[Edit]:
    return [SetResource(NODE, FdbPin(context.port(context.sibling), str(_mac(context, context.pod))), True)]


def _mute_port(context: Context) -> List[Edit]:
    port = context.port(context.pod)
    forget = ("bridge", "fdb", "del", str(_mac(context, context.pod)), "dev", port, "master")
    return [
        SetResource(NODE, PortFlag(port, "learning"), False),
        SetResource(NODE, PortFlag(port, "flood"), False),
        Flush(NODE, forget),
    ]


def _no_routes(context: Context) -> List[Edit]:
    place = context.place(context.pod)
    return [Patch(place, tuple(sorted(context.state(place).routes, key=str)))]


def _wrong_gateway(context: Context) -> List[Edit]:
    place, gateway = context.place(context.pod), context.block(context.node)[1]
    right = tuple(neighbour for neighbour in context.state(place).neighbours if neighbour.address == gateway)
    return [Patch(place, right, (Neighbour("eth0", gateway, _BAD_MAC),))]


def _silent(context: Context) -> List[Edit]:
    key = f"net/ipv4/conf/{context.cluster.cni.bridge}/arp_ignore"
    right = context.sysctl(key)
    return [Patch(NODE, (right,), (right._replace(value="8"),)), Flush(context.place(context.pod), _FORGET)]


def _same_mac(context: Context) -> List[Edit]:
    place = context.place(context.pod)
    device = context.link("eth0", place)
    return [Patch(place, (device,), (device._replace(mac=_mac(context, context.sibling)),))]


_ACROSS = (requirements.BRIDGE, requirements.PEER, requirements.POD)
_WITHIN = (requirements.BRIDGE, requirements.SIBLING)
_BOTH = ("pod", "peer")
FAULTS = (
    Fault(
        "port_without_master", 15, "bridge", "a pod's veth is no port of the bridge",
        "ip link set veth0 nomaster", _no_master, FAR, requires=_ACROSS, parameters=_BOTH,
    ),
    Fault(
        "port_down", 16, "bridge", "the node's end of a pod's veth pair is down",
        "ip link set veth0 down", _port_down, FAR, requires=_ACROSS, parameters=_BOTH,
    ),
    Fault(
        "veth_deleted", 17, "bridge", "a pod's veth pair is gone",
        "ip link del veth0", _deleted, FAR, requires=_ACROSS, parameters=_BOTH,
    ),
    Fault(
        "port_disabled", 18, "bridge", "the bridge does not forward on a pod's port",
        "bridge link set dev veth0 state 0", _disabled, FAR,
        requires=(*_ACROSS, requirements.IP, requirements.BRIDGE_TOOL), parameters=_BOTH,
    ),
    Fault(
        "bridge_down", 19, "bridge", "the bridge is down: all pods of the node are cut off",
        "ip link set cni0 down", _bridge_down, FAR, requires=_ACROSS, parameters=_BOTH,
    ),
    Fault(
        "bridge_address_lost", 20, "bridge", "the bridge has no address: the pods' gateway is gone",
        "ip addr flush dev cni0", _no_address, FAR, requires=_ACROSS, parameters=_BOTH,
    ),
    Fault(
        "ports_isolated", 21, "bridge", "pods of one node cannot talk to each other",
        "bridge link set dev veth0 isolated on", _isolated, NEAR, requires=_WITHIN, parameters=("pod",),
    ),
    Fault(
        "fdb_pinned_to_wrong_port", 22, "bridge", "the bridge sends a pod's frames to another pod",
        "bridge fdb replace 0a:58:0a:f4:00:02 dev veth1 master static sticky", _pinned, FAR,
        requires=(*_ACROSS, requirements.SIBLING, requirements.BRIDGE_TOOL), parameters=_BOTH,
    ),
    Fault(
        "port_without_learning", 23, "bridge", "a pod's port neither learns nor is flooded: nothing comes back",
        "bridge link set dev veth0 learning off flood off", _mute_port, FAR,
        requires=(*_ACROSS, requirements.IP, requirements.BRIDGE_TOOL), parameters=_BOTH,
    ),
    Fault(
        "pod_routes_lost", 24, "bridge", "a pod has no routes",
        "ip netns exec pod-a ip route flush table main", _no_routes, FAR,
        requires=(requirements.PEER, requirements.POD),
        parameters=_BOTH,
    ),
    Fault(
        "gateway_mac_wrong", 25, "bridge", "a pod sends to its gateway at an unused MAC address",
        "ip netns exec pod-a ip neigh replace 10.244.0.1 lladdr 02:00:00:00:de:ad nud permanent dev eth0",
        _wrong_gateway, FAR, requires=_ACROSS, parameters=_BOTH,
    ),
    Fault(
        "arp_ignored", 26, "bridge", "the node does not answer when pods ask for their gateway",
        "sysctl -w net.ipv4.conf.cni0.arp_ignore=8", _silent, FAR,
        requires=(*_ACROSS, requirements.IPV4, requirements.IP),
        parameters=_BOTH,
    ),
    Fault(
        "duplicate_mac", 27, "bridge", "two pods have one MAC address",
        "ip netns exec pod-a ip link set eth0 address 0a:58:0a:f4:00:03", _same_mac, NEAR, requires=_WITHIN,
        parameters=("pod",),
    ),
)  # fmt: skip
