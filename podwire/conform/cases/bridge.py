"""The bridge plugin's keys, and what the kernel has to show for each."""

from __future__ import annotations

from typing import Any, Dict, List

from ..case import MUST, QUALITY, SHOULD, case
from ..node import Container
from ..shape import bare, gateways
from ..subject import GATEWAY
from ..tools import ip, run
from ..traffic import reach
from ..trial import Trial

_KEYS = "Plugin documentation: bridge"
_BRIDGE = ["bridge"]


def _veth(container: Container) -> str:
    return str(container.result["interfaces"][1]["name"])  # type: ignore[index]


def _line(name: str) -> str:
    return ip(f"link show dev {name}")[0]


@case("bridge.default", "the bridge is cni0 by default, and stays after the last DEL", _KEYS, SHOULD, plugins=_BRIDGE)
def default_name(t: Trial) -> None:
    container = t.add(config=t.config(bridge=None))
    t.expect(" bridge " in _line("cni0"), "a bridge cni0", _line("cni0"))
    t.delete(container, t.config(bridge=None))
    t.expect(_line("cni0"), "the bridge cni0")


@case("bridge.gateway", "isGateway gives the bridge the gateway's address", _KEYS, SHOULD, plugins=_BRIDGE)
def gateway(t: Trial) -> None:
    container = t.add(config=t.config(isGateway=True))
    shown = ip("address show dev cni0")
    t.expect(any(f" {gateways(container.result)[0]}/24 " in line for line in shown), f"{GATEWAY}/24 on cni0", shown)


@case(
    "bridge.gateway.mac",
    "the bridge keeps its hardware address when ports come and go",
    _KEYS,
    QUALITY,
    plugins=_BRIDGE,
)
def stable_mac(t: Trial) -> None:
    first = t.add()
    mac = t.mac("cni0")
    for _ in range(3):
        t.add()
        t.expect(t.mac("cni0") == mac, f"hardware address {mac}", t.mac("cni0"))
    t.delete(first)
    t.expect(t.mac("cni0") == mac, f"hardware address {mac}", t.mac("cni0"))


@case("bridge.default.gateway", "isDefaultGateway gives the container a default route", _KEYS, SHOULD, plugins=_BRIDGE)
def default_gateway(t: Trial) -> None:
    config = t.with_ipam(routes=None)
    container = t.add(config={**config, "isDefaultGateway": True})
    shown = container.ip("route show table main")
    t.expect(any("default" in line and f"via {GATEWAY}" in line for line in shown), f"default via {GATEWAY}", shown)
    t.expect({"dst": "0.0.0.0/0", "gw": GATEWAY} in container.result["routes"], "it is in the result", container.result)  # type: ignore[operator]


@case(
    "bridge.foreign",
    "a link of the bridge's name that is no bridge is an error, and stays",
    _KEYS,
    MUST,
    plugins=_BRIDGE,
)
def foreign(t: Trial) -> None:
    ip("link add cni0 type veth peer name other")
    container = t.container()
    before = t.show()
    t.run("ADD", container).refused()
    t.same(before, "the foreign link stays, and nothing is left", ignoring=["last_reserved_ip", "/lock", "networks"])


@case(
    "bridge.other.address",
    "another address on the bridge is an error without forceAddress, and replaced with it",
    _KEYS,
    SHOULD,
    plugins=_BRIDGE,
)
def other_address(t: Trial) -> None:
    ip("link add cni0 type bridge", "address add 10.22.0.254/24 dev cni0", "link set cni0 up")
    t.run("ADD", t.container(), t.config(forceAddress=False)).refused()
    t.add(t.container(), t.config(forceAddress=True))
    shown = " ".join(ip("address show dev cni0"))
    t.expect(f"{GATEWAY}/24" in shown and "10.22.0.254" not in shown, f"{GATEWAY}/24 instead of 10.22.0.254/24", shown)


@case("bridge.l2", "without ipam there is no address, and CHECK succeeds", _KEYS, SHOULD, plugins=_BRIDGE)
def layer_two(t: Trial) -> None:
    for config in (t.config(ipam=None, isGateway=None), t.config(ipam={}, isGateway=None)):
        container = t.add(config=config)
        t.expect(not container.result.get("ips"), "no ips", container.result)
        t.check(container, config).silent()
        t.delete(container, config)


@case("bridge.mtu", "mtu is the MTU of both ends", _KEYS, SHOULD, plugins=_BRIDGE)
def mtu(t: Trial) -> None:
    container = t.add(config=t.config(mtu=1400))
    for line in (container.ip("link show dev eth0")[0], _line(_veth(container))):
        t.expect(" mtu 1400 " in line, "mtu 1400", line)


@case("bridge.hairpin", "hairpinMode lets a container reach itself through the bridge", _KEYS, SHOULD, plugins=_BRIDGE)
def hairpin(t: Trial) -> None:
    plain, container = t.add(), t.add(config=t.config(hairpinMode=True))
    t.expect("hairpin off" in _line(_veth(plain)), "hairpin off by default", _line(_veth(plain)))
    t.expect("hairpin on" in _line(_veth(container)), "hairpin on", _line(_veth(container)))


@case("bridge.promiscuous", "promiscMode sets the bridge promiscuous", _KEYS, SHOULD, plugins=_BRIDGE)
def promiscuous(t: Trial) -> None:
    t.add(config=t.config(promiscMode=True))
    t.expect("PROMISC" in _line("cni0"), "the flag PROMISC", _line("cni0"))


@case("bridge.exclusive", "hairpinMode and promiscMode together are an error", _KEYS, SHOULD, plugins=_BRIDGE)
def exclusive(t: Trial) -> None:
    t.run("ADD", t.container(), t.config(hairpinMode=True, promiscMode=True)).refused()


@case("bridge.isolation", "portIsolation keeps containers apart", _KEYS, SHOULD, plugins=_BRIDGE, since="1.1.0")
def isolation(t: Trial) -> None:
    config = t.config(portIsolation=True)
    first, second, free = t.add(config=config), t.add(config=config), t.add()
    target = bare(second.result)[0]
    t.expect(
        reach(free.namespace, second.namespace, target, 80), "a connection from a port that is not isolated", "none"
    )
    t.expect(
        not reach(first.namespace, second.namespace, target, 80, within=0.5),
        "no connection between isolated ports",
        "one",
    )


@case(
    "bridge.vlan",
    "vlan tags the port, and other VLANs do not reach it",
    _KEYS,
    SHOULD,
    plugins=_BRIDGE,
    needs=["vlan-filtering"],
)
def vlan(t: Trial) -> None:
    config = {**t.config(vlan=100), "isGateway": False}
    container = t.add(config=config)
    shown = run("bridge", "vlan", "show", "dev", _veth(container))
    t.expect("100 PVID Egress Untagged" in shown, "VLAN 100 PVID Egress Untagged", shown)
    t.check(container, config).succeeded()


@case(
    "bridge.vlan.trunk",
    "vlanTrunk lets tagged frames of its VLANs through",
    _KEYS,
    SHOULD,
    plugins=_BRIDGE,
    needs=["vlan-filtering"],
)
def trunk(t: Trial) -> None:
    if "1.1.0" not in t.subject.versions:
        t.need("1.1.0")
    config = {**t.config(vlanTrunk=[{"id": 101}, {"minID": 200, "maxID": 203}]), "isGateway": False}
    container = t.add(config=config)
    shown = run("bridge", "vlan", "show", "dev", _veth(container)).split()
    missing = [each for each in (101, 200, 203) if str(each) not in shown and "200-203" not in shown]
    t.expect(not missing, "VLANs 101 and 200 to 203 on the port", shown)


@case(
    "bridge.vlan.gateway",
    "the gateway of a VLAN is reached from it, and from no other",
    _KEYS,
    SHOULD,
    plugins=_BRIDGE,
    needs=["vlan-filtering"],
)
def vlan_gateway(t: Trial) -> None:
    container = t.add(config=t.config(vlan=100, isGateway=True))
    own = gateways(container.result)[0]
    shown = ip("address show dev cni0.100")
    t.expect(any(f" {own}/" in line for line in shown), f"{own} on cni0.100", shown)
    names = [interface["name"] for interface in container.result["interfaces"]]  # type: ignore[attr-defined]
    t.expect("cni0.100" in names, "cni0.100 among the interfaces of the result", names)
    t.expect(reach(container.namespace, t.node, own, 80), f"a connection to {own}", "none")
    other = t.add(config={**t.config(vlan=200, preserveDefaultVlan=False), "isGateway": False})
    t.expect(not reach(other.namespace, t.node, own, 80, within=0.5), f"none from VLAN 200 to {own}", "one")


@case(
    "bridge.vlan.default",
    "preserveDefaultVlan decides whether the port stays in the bridge's default VLAN",
    _KEYS,
    SHOULD,
    plugins=_BRIDGE,
    needs=["vlan-filtering"],
    each=("kept", "left"),
    since="1.1.0",
)
def default_vlan(t: Trial) -> None:
    config = {**t.config(vlan=100, preserveDefaultVlan=t.parameter == "kept"), "isGateway": False}
    container = t.add(config=config)
    shown = run("bridge", "vlan", "show", "dev", _veth(container)).splitlines()
    there = any(line.split()[-3:] == ["1", "Egress", "Untagged"] for line in shown)
    t.expect(there == (t.parameter == "kept"), f"VLAN 1 {t.parameter}", shown)


@case(
    "bridge.vlan.invalid",
    "VLANs out of range are an error, and nothing is left",
    _KEYS,
    SHOULD,
    plugins=_BRIDGE,
    each=("vlan", "trunk-id", "trunk-range", "both"),
)
def bad_vlan(t: Trial) -> None:
    t.warm()
    keys: Dict[str, Dict[str, Any]] = {
        "vlan": {"vlan": 4095},
        "trunk-id": {"vlanTrunk": [{"id": 5000}]},
        "trunk-range": {"vlanTrunk": [{"minID": 20, "maxID": 10}]},
        "both": {"vlan": 5, "vlanTrunk": [{"id": 6}]},
    }
    if t.parameter != "vlan":
        t.need("1.1.0")
    container = t.container()
    before = t.show()
    t.run("ADD", container, t.config(**keys[t.parameter])).refused()
    t.same(before, "a failed ADD leaves nothing behind")


@case(
    "bridge.macspoofchk",
    "macspoofchk drops frames from another hardware address",
    _KEYS,
    SHOULD,
    plugins=_BRIDGE,
    needs=["nftables"],
)
def spoof_check(t: Trial) -> None:
    config = t.config(macspoofchk=True)
    container = t.add(config=config)
    address = bare(container.result)[0]
    t.expect(reach(container.namespace, t.node, GATEWAY, 80), "a connection from the container's own address", "none")
    container.ip("link set dev eth0 address 02:00:00:00:00:66")
    ip("neighbour flush dev cni0")
    t.expect(
        not reach(container.namespace, t.node, GATEWAY, 80, within=0.5),
        f"none from {address} with another hardware address",
        "one",
    )


@case(
    "bridge.mac",
    "a hardware address may be asked for",
    _KEYS,
    SHOULD,
    plugins=_BRIDGE,
    each=("CNI_ARGS", "args", "runtimeConfig"),
)
def mac(t: Trial) -> None:
    wanted = "02:11:22:33:44:55"
    changes: Dict[str, Dict[str, Any]] = {
        "CNI_ARGS": {},
        "args": {"args": {"cni": {"mac": wanted}}},
        "runtimeConfig": {"runtimeConfig": {"mac": wanted}, "args": {"cni": {"mac": "02:99:99:99:99:99"}}},
    }
    if t.parameter == "CNI_ARGS":
        container = t.add(config=t.stubbed(), CNI_ARGS=f"MAC={wanted}")
    else:
        container = t.add(config=t.stubbed(**changes[t.parameter]))
    t.expect(t.mac("eth0", container) == wanted, f"hardware address {wanted}", t.mac("eth0", container))


@case(
    "bridge.disabled.interface",
    "disableContainerInterface leaves the container's end down",
    _KEYS,
    SHOULD,
    plugins=_BRIDGE,
    since="1.1.0",
)
def disabled_interface(t: Trial) -> None:
    config = t.config(ipam=None, isGateway=None, disableContainerInterface=True)
    container = t.add(config=config)
    flags = container.ip("link show dev eth0")[0].partition("<")[2].partition(">")[0].split(",")
    t.expect("UP" not in flags, "no flag UP", flags)
    t.run("ADD", t.container(), t.config(disableContainerInterface=True)).refused()


@case(
    "bridge.concurrent",
    "the first ADDs on a node, all at once, agree about the bridge",
    "Section 3: Lifecycle & Ordering",
    MUST,
    plugins=_BRIDGE,
)
def concurrent_first(t: Trial) -> None:
    containers = [t.container(f"c{number}") for number in range(8)]
    for each, reply in zip(containers, t.at_once([t.begin("ADD", container) for container in containers])):
        each.result = reply.succeeded().document()
    macs: List[str] = sorted({container.result["interfaces"][0]["mac"] for container in containers})  # type: ignore[index]
    t.expect(macs == [t.mac("cni0")], f"every result tells the bridge's {t.mac('cni0')}", macs)
    for each in containers:
        t.check(each).succeeded()
