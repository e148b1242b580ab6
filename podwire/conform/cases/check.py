"""CHECK: content after ADD, and not when something was taken away. Each case has both."""

from __future__ import annotations

import glob
import os

from ..case import IPAM, MAIN, META, MUST, QUALITY, SHOULD, case
from ..shape import bare, gateways
from ..tools import ip
from ..trial import Trial

_CHECK = "Section 2: CHECK"
_SINCE = "0.4.0"


@case("check.ok", "CHECK right after ADD succeeds and prints nothing", _CHECK, MUST, since=_SINCE)
def good(t: Trial) -> None:
    t.check(t.add()).silent()


@case("check.dual", "CHECK of a container with both families succeeds", _CHECK, MUST, since=_SINCE, kinds=[META])
def both_families(t: Trial) -> None:
    t.check(t.add(t.container(dual=True))).silent()


@case("check.readonly", "CHECK changes nothing", _CHECK, QUALITY, since=_SINCE)
def read_only(t: Trial) -> None:
    container = t.add()
    before = t.show()
    t.check(container)
    t.same(before, "CHECK changes nothing")


@case(
    "check.prevresult.missing",
    "CHECK without prevResult is an error",
    _CHECK,
    MUST,
    since=_SINCE,
    excluded=["host-local", "static", "loopback"],
)
def no_previous(t: Trial) -> None:
    container = t.add()
    container.result = container.prev_result = {}
    t.check(container).refused()


@case("check.netns.gone", "CHECK fails when the namespace is gone", _CHECK, SHOULD, since=_SINCE, kinds=[MAIN])
def no_netns(t: Trial) -> None:
    container = t.add()
    t.control(container)
    container.remove()
    t.check(container).refused()


@case("check.deleted", "CHECK after DEL fails", _CHECK, SHOULD, since=_SINCE, excluded=["static", "loopback", "tuning"])
def deleted(t: Trial) -> None:
    container = t.add()
    t.control(container)
    t.delete(container)
    t.check(container).refused()


@case(
    "check.tampered",
    "CHECK fails after an object of ADD was taken away",
    _CHECK,
    SHOULD,
    since=_SINCE,
    kinds=[MAIN],
    excluded=["loopback", "flannel"],
    each=("interface", "address", "route", "mac", "lease"),
)
def tampered(t: Trial) -> None:
    container = t.add()
    t.control(container)
    name = container.ifname
    if t.parameter == "interface":
        container.ip(f"link delete dev {name}")
    elif t.parameter == "address":
        shown = [line.split() for line in container.ip(f"address show dev {name}")]
        address = next(words[words.index("inet") + 1] for words in shown if "inet" in words)
        container.ip(f"address delete {address} dev {name}")
    elif t.parameter == "route":
        container.ip("route delete default")
    elif t.parameter == "mac":
        container.ip(f"link set dev {name} address 02:00:00:00:00:99")
    else:
        _release(t, bare(container.result)[0])
    t.check(container).refused()


def _release(t: Trial, address: str) -> None:
    leases = glob.glob(f"/var/lib/cni/networks/*/{address}")
    t.expect(leases, f"a lease file of {address}")
    for path in leases:
        os.unlink(path)


@case(
    "check.tampered.bridge",
    "CHECK fails after the node's side was broken",
    _CHECK,
    QUALITY,
    since=_SINCE,
    plugins=["bridge"],
    each=("port", "veth", "bridge"),
)
def broken_bridge(t: Trial) -> None:
    container = t.add()
    t.control(container)
    veth = container.result["interfaces"][1]["name"]  # type: ignore[index]
    command = {
        "port": f"link set dev {veth} nomaster",
        "veth": f"link set dev {veth} down",
        "bridge": "link delete dev cni0",
    }
    ip(command[t.parameter])
    t.check(container).refused()


@case(
    "check.tampered.gateway",
    "CHECK fails after the gateway's address was taken from the bridge",
    _CHECK,
    QUALITY,
    since=_SINCE,
    plugins=["bridge"],
)
def broken_gateway(t: Trial) -> None:
    container = t.add()
    t.control(container)
    ip(f"address delete {gateways(container.result)[0]}/24 dev cni0")
    t.check(container).refused()


@case(
    "check.later",
    "CHECK allows what later plugins of a chain change: more routes and addresses, MTU, promiscuity",
    _CHECK,
    MUST,
    since=_SINCE,
    kinds=[MAIN],
    excluded=["loopback"],
)
def later(t: Trial) -> None:
    container = t.add()
    name = container.ifname
    container.ip(
        f"address add 198.51.100.7/24 dev {name}",
        "route add 203.0.113.0/24 via 198.51.100.1",
        f"link set dev {name} mtu 1280 promisc on txqueuelen 77",
    )
    t.check(container).silent()


@case(
    "check.later.result",
    "CHECK allows what later plugins add to the result",
    _CHECK,
    MUST,
    since=_SINCE,
    kinds=[MAIN, IPAM],
)
def later_result(t: Trial) -> None:
    container = t.add()
    result = container.result
    if t.subject.kind == MAIN:
        result.setdefault("interfaces", []).append({"name": "bwp0123456789ab", "mac": "02:00:00:00:00:07"})  # type: ignore[attr-defined]
    result["dns"] = {"nameservers": ["198.51.100.53"]}
    t.check(container).silent()
