"""Our rtnetlink messages against pyroute2's, byte for byte, and back from what the kernel dumps."""

from __future__ import annotations

import json
import subprocess
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any, Callable

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from podwire.errors import KernelError
from podwire.kernel import Namespace, execute, show
from podwire.model.address import RTM_GETADDR, address_request
from podwire.model.link import link_request
from podwire.model.objects import (
    PVID,
    UNTAGGED,
    Address,
    FdbEntry,
    Link,
    MacAddress,
    Neighbour,
    NetlinkObject,
    NextHop,
    PortVlans,
    Route,
    VethPeer,
    Vxlan,
)
from podwire.model.port_vlans import VLAN_REQUEST
from podwire.model.route import RTM_GETROUTE
from podwire.model.state import Scope
from podwire.model.wire import RTM_GETLINK
from podwire.plan import ADD, CHANGE, REMOVE, Operation
from tests.kernel.labs import wait_until

MAC = MacAddress.parse("66:01:02:03:04:05")
V4, V6 = IPv4Address("10.244.1.0"), IPv6Address("fd00:10:244:1::")


def index(_: str) -> int:
    return 7


def payloads(action: str, target: NetlinkObject, previous: Any = None) -> list[bytes]:
    """Of the messages of an operation."""
    return [payload for _, _, payload in target.messages(action, previous, index, {})]


def added(target: NetlinkObject) -> list[bytes]:
    return payloads(ADD, target)


def oracle(kind: type, fields: dict[str, Any], attrs: list[tuple[str, Any]]) -> bytes:
    """A message's payload as pyroute2 encodes it."""
    message = kind()
    for key, value in fields.items():
        message[key] = value
    message["attrs"] = attrs
    message.encode()
    return bytes(message.data[16:])


def _vlans(*each: tuple[Any, ...]) -> tuple[str, Any]:
    """IFLA_AF_SPEC of a bridge port: (flag ..., VLAN id) each."""
    bits = {"pvid": 2, "untagged": 4, "range_begin": 8, "range_end": 16}
    listed = [("IFLA_BRIDGE_VLAN_INFO", {"flags": sum(bits[word] for word in words), "vid": id}) for *words, id in each]
    return "IFLA_AF_SPEC", {"attrs": listed}


def _filtering(fields: dict[str, Any]) -> bytes:
    data = {"attrs": [("IFLA_BR_VLAN_FILTERING", 1)]}
    info = {"attrs": [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", data)]}
    return oracle(ifinfmsg, fields, [("IFLA_IFNAME", "cni0"), ("IFLA_LINKINFO", info)])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            added(Neighbour("d", V4, MAC))[0],
            oracle(ndmsg, {"family": 2, "ifindex": 7, "state": 0x80}, [("NDA_DST", str(V4)), ("NDA_LLADDR", str(MAC))]),
        ),
        (
            added(Neighbour("d", V6, MAC))[0],
            oracle(
                ndmsg, {"family": 10, "ifindex": 7, "state": 0x80}, [("NDA_DST", str(V6)), ("NDA_LLADDR", str(MAC))]
            ),
        ),
        (
            added(FdbEntry("d", MAC, V4))[0],
            oracle(
                ndmsg,
                {"family": 7, "ifindex": 7, "state": 0x80, "flags": 2},
                [("NDA_LLADDR", str(MAC)), ("NDA_DST", str(V4))],
            ),
        ),
        (
            added(Address("d", IPv6Interface("fd00::1/64"), True))[0],
            oracle(
                ifaddrmsg,
                {"family": 10, "prefixlen": 64, "flags": 0, "scope": 0, "index": 7},
                [("IFA_LOCAL", "fd00::1"), ("IFA_ADDRESS", "fd00::1"), ("IFA_FLAGS", 2)],
            ),
        ),
        (
            added(Route(IPv4Network("10.244.1.0/24"), V4, "d", True, metric=5, mtu=1400, advmss=1360))[0],
            oracle(
                rtmsg,
                {"family": 2, "dst_len": 24, "table": 254, "proto": 112, "scope": 0, "type": 1, "flags": 4},
                [
                    ("RTA_DST", str(V4)),
                    ("RTA_GATEWAY", str(V4)),
                    ("RTA_OIF", 7),
                    ("RTA_PRIORITY", 5),
                    ("RTA_METRICS", {"attrs": [("RTAX_MTU", 1400), ("RTAX_ADVMSS", 1360)]}),
                ],
            ),
        ),
        (
            added(Link("flannel.1", "vxlan", 1450, MAC, settings=Vxlan(1, 8472, IPv4Address("10.0.0.1"), "eth0")))[0],
            oracle(
                ifinfmsg,
                {"flags": 1, "change": 1},
                [
                    ("IFLA_IFNAME", "flannel.1"),
                    ("IFLA_MTU", 1450),
                    ("IFLA_ADDRESS", str(MAC)),
                    (
                        "IFLA_LINKINFO",
                        {
                            "attrs": [
                                ("IFLA_INFO_KIND", "vxlan"),
                                (
                                    "IFLA_INFO_DATA",
                                    {
                                        "attrs": [
                                            ("IFLA_VXLAN_ID", 1),
                                            ("IFLA_VXLAN_LINK", 7),
                                            ("IFLA_VXLAN_LOCAL", "10.0.0.1"),
                                            ("IFLA_VXLAN_LEARNING", 0),
                                            ("IFLA_VXLAN_PORT", 8472),
                                        ]
                                    },
                                ),
                            ]
                        },
                    ),
                ],
            ),
        ),
        (
            added(PortVlans("d", ((100, PVID | UNTAGGED),)))[0],
            oracle(ifinfmsg, {"family": 7, "index": 7}, [_vlans(("pvid", "untagged", 100))]),
        ),
        (
            added(PortVlans("d", ((5, 0), (100, 0), (101, 0), (102, 0))))[0],
            oracle(ifinfmsg, {"family": 7, "index": 7}, [_vlans((5,), ("range_begin", 100), ("range_end", 102))]),
        ),
        (
            added(PortVlans("d", ((100, PVID | UNTAGGED),)))[1],
            oracle(
                ifinfmsg,
                {"family": 7, "index": 7},
                [_vlans(("range_begin", 1), ("range_end", 99), ("range_begin", 101), ("range_end", 4094))],
            ),
        ),
        (
            added(Link("cni0", "bridge", vlan_filtering=True))[0],
            _filtering({"flags": 1, "change": 1}),
        ),
        (
            payloads(CHANGE, Link("cni0", "bridge", vlan_filtering=True), Link("cni0", "bridge", vlan_filtering=False))[
                1
            ],
            _filtering({}),
        ),
        (
            VLAN_REQUEST,
            oracle(ifinfmsg, {"family": 7}, [("IFLA_EXT_MASK", 2)]),
        ),
    ],
    ids=[
        *("neighbour4", "neighbour6", "fdb", "address6", "route4", "vxlan"),
        *("vlan", "trunk", "other vlans", "filtering bridge", "filtering", "dump of vlans"),
    ],
)
def test_messages_are_pyroute2s_messages(ours: bytes, theirs: bytes) -> None:
    assert _normal(ours) == _normal(theirs)


def _normal(data: bytes) -> bytes:
    """Without what the kernel ignores: the terminating zero of IFLA_INFO_KIND, which pyroute2 sends."""
    data = data.replace(b"\x0a\0\1\0vxlan\0\0\0", b"\x09\0\1\0vxlan\0\0\0")
    return data.replace(b"\x0b\0\1\0bridge\0\0", b"\x0a\0\1\0bridge\0\0")


def run(*words: str) -> Any:
    """iproute2's view, inside the test's namespace."""
    return json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout or "[]")


def add(namespace: Namespace, *objects: Any) -> None:
    execute([(namespace, Operation(ADD, each)) for each in objects], {namespace.name: namespace})


ETH0 = Link("eth0", "bridge", 1500, MacAddress.parse("02:00:00:00:00:01"))
PORT = Link("port", "veth", 1500, MacAddress.parse("02:00:00:00:00:02"), master="eth0", peer=VethPeer("far", "port"))
VX = Link("flannel.1", "vxlan", 1450, MAC, settings=Vxlan(1, 8472, IPv4Address("10.0.0.1"), "eth0"), alias="mine")
OBJECTS = (
    ETH0,
    VX,
    Address("eth0", IPv4Interface("10.0.0.1/24")),
    Address("eth0", IPv6Interface("fd00::1/64"), nodad=True),
    Address("flannel.1", IPv4Interface("10.244.0.0/32")),
    Neighbour("flannel.1", V4, MacAddress(b"\x66\0\0\0\0\2")),
    Neighbour("flannel.1", V6, MacAddress(b"\x66\0\0\0\0\2")),
    FdbEntry("flannel.1", MacAddress(b"\x66\0\0\0\0\2"), IPv4Address("10.0.0.2")),
    NextHop(9, IPv4Address("10.0.0.9"), "eth0"),
    NextHop(10, IPv4Address("10.244.5.0"), "flannel.1", onlink=True),
    Route(IPv4Network("10.244.1.0/24"), V4, "flannel.1", onlink=True),
    Route(IPv4Network("10.244.2.0/24"), next_hop=9),
    Route(IPv4Network("10.244.5.0/24"), next_hop=10),
    Route(IPv4Network("10.244.3.0/24"), kind="blackhole"),
    Route(IPv4Network("10.244.4.0/24"), None, "eth0", scope="link", source=IPv4Address("10.0.0.1"), metric=9, mtu=1300),
    Route(IPv6Network("fd00:10:244:1::/64"), IPv6Address("fd00::9"), "eth0"),
    Route(IPv6Network("fd00:10:244:2::/64"), IPv6Address("fd00:10:244:2::"), "flannel.1", onlink=True),
    Route(IPv6Network("fd00:10:244:3::/64"), kind="blackhole"),
)


def lay(namespace: Namespace, make_namespace: Callable[[str], Namespace]) -> None:
    """All objects; eth0 has a port with carrier, without which the kernel takes no next-hop object."""
    far = make_namespace("far")
    steps = [(namespace, Operation(ADD, each)) for each in (ETH0, PORT)]
    execute([*steps, (far, Operation(ADD, Link("port", "veth")))], {"node": namespace, "far": far})
    # A bridge takes its port's carrier over by a work queue (net/core/link_watch.c).
    wait_until(lambda: "LOWER_UP" in run("ip", "-j", "link", "show", "eth0")[0]["flags"])
    add(namespace, *OBJECTS[1:])


def test_what_was_added_is_what_is_shown(namespace: Namespace, make_namespace: Callable[[str], Namespace]) -> None:
    lay(namespace, make_namespace)
    scope = Scope(links=frozenset(("eth0", "flannel.1")), protocol=112)
    shown = {str(each) for each in show(namespace, scope).state.objects()}
    assert shown == {str(each) for each in OBJECTS}


def test_iproute2_sees_flannels_objects(namespace: Namespace, make_namespace: Callable[[str], Namespace]) -> None:
    lay(namespace, make_namespace)
    (device,) = run("ip", "-j", "-d", "link", "show", "flannel.1")
    data = device["linkinfo"]["info_data"]
    assert (device["mtu"], device["address"], device["ifalias"]) == (1450, str(MAC), "mine")
    assert (data["id"], data["port"], data["learning"], data["local"]) == (1, 8472, False, "10.0.0.1")
    (route,) = run("ip", "-j", "route", "show", "10.244.1.0/24")
    assert (route["gateway"], route["dev"], route["flags"], route["protocol"]) == (
        str(V4),
        "flannel.1",
        ["onlink"],
        "112",
    )
    entry = next(e for e in run("bridge", "-j", "fdb", "show", "dev", "flannel.1") if e.get("dst") == "10.0.0.2")
    assert entry["mac"] == "66:00:00:00:00:02"
    assert (entry["flags"], entry["state"]) == (["self"], "permanent")


def test_a_veth_pair_is_born_on_both_sides(make_namespace: Callable[[str], Namespace]) -> None:
    node, pod = make_namespace("node"), make_namespace("pod")
    steps = [
        (node, Operation(ADD, Link("cni0", "bridge", 1450))),
        (node, Operation(ADD, Link("veth1", "veth", 1450, master="cni0", peer=VethPeer("pod", "eth0"), hairpin=True))),
        (pod, Operation(ADD, Link("eth0", "veth", 1450, MAC))),
    ]
    execute(steps, {"node": node, "pod": pod})
    near = {link.name: link for link in show(node, Scope(links=frozenset(("veth1",)))).state.links}["veth1"]
    far = {link.name: link for link in show(pod, Scope(links=frozenset(("eth0",)))).state.links}["eth0"]
    assert (near.master, near.mtu, near.hairpin, near.up) == ("cni0", 1450, True, True)
    assert (far.mac, far.mtu, far.up) == (MAC, 1450, True)


def test_many_devices_go_in_one_message(namespace: Namespace) -> None:
    links = [Link(f"br{number}", "bridge") for number in range(20)]
    add(namespace, *links, ETH0)
    execute([(namespace, Operation(REMOVE, link)) for link in links], {})
    assert {each["ifname"] for each in run("ip", "-j", "link")} == {"lo", "eth0"}


def test_removing_what_is_gone_is_fine_and_anything_else_is_said(namespace: Namespace) -> None:
    add(namespace, ETH0)
    execute([(namespace, Operation(REMOVE, Route(IPv4Network("10.9.0.0/24"), None, "eth0", scope="link")))], {})
    with pytest.raises(KernelError) as error:
        add(namespace, Route(IPv4Network("10.9.0.0/24"), IPv4Address("192.0.2.1"), "eth0"))
    assert str(error.value) == (
        "failed to add route 10.9.0.0/24 via 192.0.2.1 dev eth0 proto 112 on node: "
        "Network is unreachable: Nexthop has invalid gateway"
    )


def test_an_addition_never_overwrites(namespace: Namespace) -> None:
    foreign = Route(IPv4Network("10.9.0.0/24"), None, "eth0", scope="link", protocol=4)
    add(namespace, ETH0, Address("eth0", IPv4Interface("10.0.0.1/24")), foreign)
    with pytest.raises(KernelError, match="File exists"):
        add(namespace, Route(IPv4Network("10.9.0.0/24"), IPv4Address("10.0.0.2"), "eth0"))
    assert [each["protocol"] for each in run("ip", "-j", "route", "show", "10.9.0.0/24")] == ["static"]


def test_an_error_at_the_end_of_a_dump_is_an_error(namespace: Namespace) -> None:
    """NLMSG_DONE carries it: a device that is not there has no empty list of addresses."""
    with pytest.raises(KernelError, match="failed to read the kernel's tables: No such device") as refused:
        namespace.socket.dump(RTM_GETADDR, address_request(99))
    assert refused.value.errno == 19
    with pytest.raises(KernelError, match="Invalid argument"):
        namespace.socket.dump(RTM_GETROUTE, b"\2" + bytes(2) + b"\1" + bytes(8))
    assert len(namespace.socket.dump(RTM_GETLINK, bytes(16))) == 1


def test_what_is_not_there_is_none_and_any_other_refusal_an_error(namespace: Namespace) -> None:
    assert namespace.socket.get(RTM_GETLINK, link_request("absent")) is None
    with pytest.raises(KernelError, match="failed to ask the kernel: Invalid argument"):
        namespace.socket.get(RTM_GETLINK, bytes(16))
    assert namespace.socket.get(RTM_GETLINK, link_request("lo")) is not None
