"""The loopback plugin: lo, up."""

from __future__ import annotations

from ..case import MUST, QUALITY, SHOULD, case
from ..shape import addresses, older
from ..traffic import reach
from ..trial import Trial

_KEYS = "Plugin documentation: loopback"
_LOOPBACK = ["loopback"]


@case("loopback.up", "lo is up after ADD, and 127.0.0.1 answers", _KEYS, MUST, plugins=_LOOPBACK)
def up(t: Trial) -> None:
    container = t.container()
    t.expect(
        not reach(container.namespace, container.namespace, "127.0.0.1", 80, within=0.1), "lo is down before", "up"
    )
    t.add(container)
    t.expect(reach(container.namespace, container.namespace, "127.0.0.1", 80), "a connection to 127.0.0.1", "none")
    t.delete(container)


@case("loopback.result", "the result tells lo and its addresses", _KEYS, SHOULD, plugins=_LOOPBACK)
def result(t: Trial) -> None:
    container = t.add()
    t.expect("127.0.0.1/8" in addresses(container.result), "127.0.0.1/8", container.result)
    if not older(t.version, "0.3.0"):
        interface = container.result["interfaces"][0]  # type: ignore[index]
        t.expect(interface["name"] == "lo" and interface["sandbox"] == container.netns, "lo in its sandbox", interface)


@case("loopback.ifname", "whatever CNI_IFNAME says", _KEYS, SHOULD, plugins=_LOOPBACK)
def ifname(t: Trial) -> None:
    container = t.container(ifname="eth0")
    t.add(container)
    t.expect(reach(container.namespace, container.namespace, "127.0.0.1", 80), "a connection to 127.0.0.1", "none")


@case("loopback.prevresult", "a prevResult is passed on", "Section 2: ADD", MUST, plugins=_LOOPBACK)
def passed_on(t: Trial) -> None:
    previous = {
        "cniVersion": t.version,
        "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/run/netns/c1"}],
        "ips": [{"address": "10.22.0.9/24", "interface": 0}],
    }
    container = t.add(config=t.config(prevResult=previous))
    t.expect(container.result.get("ips") == previous["ips"], "the addresses of prevResult", container.result)


@case("loopback.check", "CHECK fails when lo is down", "Section 2: CHECK", SHOULD, plugins=_LOOPBACK, since="0.4.0")
def check_down(t: Trial) -> None:
    container = t.add()
    t.control(container)
    container.ip("link set lo down")
    t.check(container).refused()


@case("loopback.v6", "::1 answers too", _KEYS, QUALITY, plugins=_LOOPBACK)
def six(t: Trial) -> None:
    container = t.add()
    t.expect(reach(container.namespace, container.namespace, "::1", 80), "a connection to ::1", "none")
