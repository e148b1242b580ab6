"""What interfaces do with addresses and routes: attributes, reuse, asking for one."""

from __future__ import annotations

from .. import stub
from ..case import MAIN, MUST, QUALITY, SHOULD, case
from ..node import sysctl
from ..shape import bare, convert
from ..subject import GATEWAY
from ..traffic import reach
from ..trial import Trial

_SUCCESS = "Section 5: ADD Success"


@case(
    "route.attributes",
    "mtu, advmss, priority and table of routes are applied",
    _SUCCESS,
    SHOULD,
    plugins=["bridge", "ptp"],
    since="1.1.0",
    each=("mtu", "advmss", "priority", "table"),
)
def attributes(t: Trial) -> None:
    value, words = {
        "mtu": (1400, "mtu 1400"),
        "advmss": (1360, "advmss 1360"),
        "priority": (77, "metric 77"),
        "table": (100, "table 100"),
    }[t.parameter]
    route = {"dst": "198.51.100.0/24", "gw": GATEWAY, t.parameter: value}
    stub.answer(
        "ADD", convert({"ips": [{"address": "10.22.0.9/24", "gateway": GATEWAY}], "routes": [route]}, t.version)
    )
    container = t.add(config=t.stubbed())
    shown = [line for line in container.ip("route show table all") if "198.51.100.0/24" in line]
    t.expect(shown and words in shown[0], f"a route to 198.51.100.0/24 with {words}", shown)
    found = [each for each in container.result["routes"] if each["dst"] == route["dst"]]  # type: ignore[attr-defined]
    t.expect(found and found[0].get(t.parameter) == value, f'"{t.parameter}": {value} in the result', found)
    t.check(container, t.stubbed()).succeeded()


@case(
    "route.gateway", "a route without gw goes by the gateway of the address", _SUCCESS, MUST, plugins=["bridge", "ptp"]
)
def default_gateway(t: Trial) -> None:
    container = t.add(config=t.stubbed())
    shown = [line for line in container.ip("route show table main") if line.startswith(("default", "unicast default"))]
    t.expect(shown and f"via {GATEWAY}" in shown[0], f"default via {GATEWAY}", shown)


@case(
    "reuse.node",
    "an address that is used again is reachable by the node within a second",
    "Section 2: ADD (connectivity)",
    QUALITY,
    plugins=["bridge", "ptp"],
    timed=True,
)
def reuse(t: Trial) -> None:
    _reuse(t, peers=False)


@case(
    "reuse.peer",
    "an address that is used again is reachable by other containers within a second",
    "Section 2: ADD (connectivity)",
    QUALITY,
    plugins=["bridge"],
    timed=True,
)
def reuse_peer(t: Trial) -> None:
    _reuse(t, peers=True)


def _reuse(t: Trial, *, peers: bool) -> None:
    config = t.config(ipam={"type": stub.NAME})
    # The peer keeps the bridge's carrier up: else the kernel forgets all neighbours when the last port goes.
    peer = t.add(t.container("peer"), config)
    client = peer.namespace if peers else t.node
    stub.answer("ADD", convert({"ips": [{"address": "10.22.0.99/24", "gateway": GATEWAY}]}, t.version))
    first = t.add(t.container("old"), config)
    address = bare(first.result)[0]
    t.expect(reach(client, first.namespace, address, 80), "a connection to the first holder")
    t.delete(first, config)
    second = t.add(t.container("new"), config)
    t.expect(
        reach(client, second.namespace, address, 80, within=1.0),
        f"a connection to the next holder of {address} within a second",
        "none",
    )


@case(
    "args.ip",
    "CNI_ARGS IP= reaches the IPAM plugin, and no plugin above it stands in its way",
    "Section 2: Parameters (CNI_ARGS)",
    QUALITY,
    plugins=["bridge", "ptp", "host-local"],
)
def requested(t: Trial) -> None:
    if not t.subject.beside("host-local"):
        t.expect(False, "host-local in the same directory")
    container = t.add(CNI_ARGS="IP=10.22.0.123")
    t.expect(bare(container.result) == ["10.22.0.123"], "the address 10.22.0.123", container.result.get("ips"))


@case(
    "forwarding",
    "a gateway forwards: ip_forward is on after ADD",
    "Section 2: ADD (connectivity)",
    QUALITY,
    kinds=[MAIN],
    plugins=["bridge", "ptp"],
)
def forwarding(t: Trial) -> None:
    sysctl("net/ipv4/ip_forward", "0")
    t.add()
    t.expect(sysctl("net/ipv4/ip_forward") == "1", "net.ipv4.ip_forward = 1", sysctl("net/ipv4/ip_forward"))
