"""ADD: what the result says is in the kernel, and packets flow."""

from __future__ import annotations

import copy
import json
from typing import Any, Dict, List

from .. import stub
from ..call import Reply
from ..case import IPAM, MAIN, META, MUST, QUALITY, SHOULD, Failed, case
from ..node import Container
from ..shape import addresses, bare, convert, older, validate
from ..tools import ip
from ..traffic import reach
from ..trial import Trial

_ADD = "Section 2: ADD"
_SUCCESS = "Section 5: ADD Success"


@case("add.result", "ADD prints one result in the shape of its version", _SUCCESS, MUST)
def result(t: Trial) -> None:
    container = t.add()
    validate(container.result, t.version, ipam=t.subject.kind == IPAM)


@case(
    "add.kernel",
    "every interface, address and route of the result is in the kernel",
    _SUCCESS,
    MUST,
    kinds=[MAIN, META],
)
def kernel(t: Trial) -> None:
    container = t.add()
    interfaces = container.result.get("interfaces") or []
    assert isinstance(interfaces, list)
    t.expect(interfaces, "interfaces in the result", container.result)
    inside = [interface for interface in interfaces if interface.get("sandbox")]
    t.expect(
        any(each["name"] == container.ifname and each["sandbox"] == container.netns for each in inside),
        f"an interface {container.ifname} with sandbox {container.netns}",
        interfaces,
    )
    for interface in interfaces:
        _interface(t, container, interface)
    shown = "\n".join(container.ip("address show"))
    for address in addresses(container.result):
        t.expect(f" {address} " in shown, f"address {address} in the container", shown)
    routes = " ".join(container.ip("route show table all"))
    for route in container.result.get("routes") or []:  # type: ignore[attr-defined]
        words = "default" if route["dst"] in ("0.0.0.0/0", "::/0") else route["dst"]
        t.expect(words in routes, f"route {route['dst']} in the container", routes)


def _interface(t: Trial, container: Container, each: Dict[str, Any]) -> None:
    where = container if each.get("sandbox") else None
    names = [line.split()[1].rstrip(":").partition("@")[0] for line in (where.ip if where else ip)("link show")]
    t.expect(each["name"] in names, f"a link {each['name']} in {each.get('sandbox') or 'the node'}", names)
    mac = t.mac(each["name"], where)
    t.expect(each.get("mac", mac) in (mac, ""), f"{each['name']} has the hardware address of the kernel, {mac}", each)


@case(
    "add.mtu",
    "the result of 1.1.0 tells the MTU of interfaces",
    _SUCCESS,
    QUALITY,
    kinds=[MAIN],
    since="1.1.0",
    excluded=["loopback"],
)
def mtu(t: Trial) -> None:
    container = t.add()
    inside = [interface for interface in container.result["interfaces"] if interface.get("sandbox")][0]  # type: ignore[attr-defined]
    words = container.ip(f"link show dev {container.ifname}")[0].split()
    actual = int(words[words.index("mtu") + 1])
    t.expect(inside.get("mtu") == actual, f'"mtu": {actual}', inside)


@case("add.up", "the interface is up", _ADD, MUST, kinds=[MAIN])
def is_up(t: Trial) -> None:
    container = t.add()
    line = container.ip(f"link show dev {container.ifname}")[0]
    t.expect("UP" in line.partition("<")[2].partition(">")[0].split(","), "the flag UP", line)


@case(
    "add.exists",
    "ADD fails if an interface of that name exists, and leaves it alone",
    _ADD,
    MUST,
    kinds=[MAIN],
    excluded=["loopback"],
)
def exists(t: Trial) -> None:
    t.warm()
    container = t.container()
    container.ip(f"link add {container.ifname} type bridge", f"address add 198.51.100.1/24 dev {container.ifname}")
    before = t.show()
    t.run("ADD", container).refused()
    t.same(before, "the existing interface stays, and nothing is left behind")


@case(
    "add.twice",
    "a second ADD of the same attachment fails, and the first keeps working",
    _ADD,
    MUST,
    kinds=[MAIN],
    excluded=["loopback"],
)
def twice(t: Trial) -> None:
    container = t.add()
    before = t.show()
    t.run("ADD", container).refused()
    t.same(before, "the first attachment stays as it was", ignoring=["/lock"])


@case(
    "add.second",
    "a container can be attached a second time by another interface name",
    _ADD,
    MUST,
    kinds=[MAIN],
    excluded=["loopback"],
)
def second(t: Trial) -> None:
    container = t.add()
    first = container.result
    before = t.show()
    container.ifname = "eth1"
    if t.subject.type == "flannel":
        config = t.config(delegate={"isDefaultGateway": False})
    else:
        config = t.stubbed(name="second", bridge="cni1")
        stub.answer("ADD", convert({"ips": [{"address": "10.23.0.2/24", "gateway": "10.23.0.1"}]}, t.version))
    t.add(container, config)
    t.expect(set(bare(first)).isdisjoint(bare(container.result)), "another address", container.result)
    t.delete(container, config)
    t.same(before, "DEL of the second interface leaves the first as it was", ignoring=["cni1"])


@case("add.prevresult.kept", "ADD in a chain passes prevResult on", _ADD, MUST, kinds=[META])
def passed_on(t: Trial) -> None:
    container = t.add()
    given = convert(container.prev_result, t.version)
    for key in ("interfaces", "ips", "routes", "dns"):
        found = container.result.get(key) or []
        wanted = given[key]
        if isinstance(wanted, list):
            missing = [each for each in wanted if each not in found]  # type: ignore[operator]
            t.expect(not missing or key == "interfaces", f"all {key} of prevResult in the result", found)
            names = [each["name"] for each in found] if key == "interfaces" else []  # type: ignore[attr-defined]
            t.expect(all(each["name"] in names for each in missing), "all interfaces of prevResult", found)
        else:
            t.expect(found == wanted, f"{key} of prevResult", found)


@case(
    "add.prevresult.missing",
    "ADD in a chain without prevResult is an error",
    "Section 2: Overview (chained plugins)",
    SHOULD,
    kinds=[META],
)
def no_previous(t: Trial) -> None:
    container = t.container()
    container.prev_result = {}
    before = t.show()
    t.run("ADD", container).refused()
    t.same(before, "nothing changes without prevResult")


@case(
    "add.prevresult.unversioned",
    "prevResult without cniVersion is of the configuration's version",
    _ADD,
    SHOULD,
    kinds=[META],
)
def unversioned(t: Trial) -> None:
    container = t.container()
    previous = convert(container.prev_result, t.version)
    del previous["cniVersion"]
    container.prev_result = previous
    t.add(container)
    validate(container.result, t.version)


@case(
    "add.prevresult.invalid",
    "a prevResult that is no result is an error",
    _ADD,
    MUST,
    kinds=[META],
    each=("text", "address"),
)
def invalid_previous(t: Trial) -> None:
    container = t.container()
    previous: Any = "eth0"
    if t.parameter == "address":
        previous = copy.deepcopy(convert(container.prev_result, t.version))
        previous["ips"][0]["address"] = "10.22.0.300/24"
    config = {**t.config()}
    before = t.show()
    t.run("ADD", container, stdin=json.dumps({**config, "prevResult": previous}).encode()).refused()
    t.same(before, "nothing changes for an invalid prevResult")


@case(
    "add.dns",
    "dns of the configuration or of IPAM is in the result",
    _SUCCESS,
    QUALITY,
    kinds=[MAIN],
    excluded=["loopback", "flannel"],
)
def dns(t: Trial) -> None:
    given = {"nameservers": ["10.22.0.1"], "domain": "conform.test", "search": ["a.test"], "options": ["ndots:2"]}
    container = t.add(config=t.config(dns=given))
    t.expect(container.result.get("dns") == given, f"dns {given}", container.result.get("dns"))


@case(
    "add.traffic.node",
    "node and container reach each other within a second of ADD",
    "Section 2: ADD (connectivity)",
    MUST,
    kinds=[MAIN],
    excluded=["loopback"],
    timed=True,
)
def node_traffic(t: Trial) -> None:
    container = t.add()
    address = bare(container.result)[0]
    source = reach(t.node, container.namespace, address, 80, within=1.0)
    t.expect(source, f"a connection from the node to {address} within a second", "none")
    back = reach(container.namespace, t.node, str(source), 81, within=1.0)
    t.expect(back == address, f"a connection from {address} to the node's {source}", back or "none")


@case(
    "add.traffic.peers",
    "two containers reach each other by their own addresses",
    "Section 2: ADD (connectivity)",
    MUST,
    kinds=[MAIN],
    excluded=["loopback"],
    timed=True,
)
def peer_traffic(t: Trial) -> None:
    first, second = t.add(), t.add()
    target = bare(second.result)[0]
    source = reach(first.namespace, second.namespace, target, 80)
    t.expect(
        source == bare(first.result)[0], f"a connection seen to come from {bare(first.result)[0]}", source or "none"
    )


@case(
    "add.dual",
    "both families work within a second of ADD, without a wait for duplicate address detection",
    "Section 2: ADD (connectivity)",
    QUALITY,
    plugins=["bridge", "ptp"],
    timed=True,
)
def dual(t: Trial) -> None:
    t.warm()
    container = t.add(config=t.dual_stack())
    seconds = t.replies[-1].seconds
    for address in bare(container.result):
        source = reach(t.node, container.namespace, address, 80, within=1.0)
        t.expect(source, f"a connection from the node to {address} within a second", "none")
    t.expect(seconds < 1.0, "ADD itself takes less than a second", f"{seconds:.1f} s")


@case(
    "add.concurrent",
    "ADDs of different containers at once all succeed, with different addresses, and CHECK agrees",
    "Section 3: Lifecycle & Ordering",
    MUST,
    excluded=["static"],
)
def concurrent(t: Trial) -> None:
    containers = [t.container(f"c{number}") for number in range(8)]
    configs = [_own(t, number) for number in range(len(containers))]
    replies = t.at_once([t.begin("ADD", each, config) for each, config in zip(containers, configs)])
    _keep(containers, replies)
    found = [address for container in containers for address in bare(container.result)]
    if t.subject.type != "loopback":
        t.expect(len(set(found)) == len(found), "every address once", sorted(found))
    if not older(t.version, "0.4.0") and t.subject.kind != META:
        for each, config in zip(containers, configs):
            t.check(each, config).succeeded()
    for reply in t.at_once([t.begin("DEL", each, config) for each, config in zip(containers, configs)]):
        reply.succeeded()


def _own(t: Trial, number: int) -> Dict[str, Any]:
    """Containers cannot share a port of the node."""
    config = t.config()
    for portMapping in config.get("runtimeConfig", {}).get("portMappings", ()):
        portMapping["hostPort"] += number
    return config


def _keep(containers: List[Container], replies: List[Reply]) -> None:
    for container, reply in zip(containers, replies):
        if reply.status:
            raise Failed("ADD of every container succeeds", reply.summary())
        container.result = reply.document()
