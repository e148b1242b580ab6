"""The ptp plugin: a routed pair, no shared segment."""

from __future__ import annotations

from .. import stub
from ..case import MUST, SHOULD, case
from ..shape import bare, gateways
from ..tools import ip
from ..trial import Trial

_KEYS = "Plugin documentation: ptp"
_PTP = ["ptp"]


@case(
    "ptp.routes",
    "the node routes the address to its veth, the container everything by the gateway",
    _KEYS,
    SHOULD,
    plugins=_PTP,
)
def routes(t: Trial) -> None:
    container = t.add()
    address, gateway = bare(container.result)[0], gateways(container.result)[0]
    veth = next(interface["name"] for interface in container.result["interfaces"] if not interface.get("sandbox"))  # type: ignore[attr-defined]
    shown = [line for line in ip("route show table main") if address in line]
    t.expect(shown and f"dev {veth}" in shown[0], f"{address} dev {veth}", shown)
    t.expect(any(f" {gateway}/32 " in line for line in ip(f"address show dev {veth}")), f"{gateway}/32 on {veth}")
    inside = container.ip("route show table main")
    t.expect(any(gateway in line and "scope link" in line for line in inside), f"{gateway} scope link", inside)
    t.expect(
        not any(line.startswith("10.22.0.0/24") and "via" not in line for line in inside),
        "the subnet by the gateway only",
        inside,
    )


@case("ptp.ipam", "ipam is mandatory", _KEYS, MUST, plugins=_PTP)
def no_ipam(t: Trial) -> None:
    container = t.container()
    before = t.show()
    t.run("ADD", container, t.config(ipam=None)).refused()
    t.same(before, "nothing is left")


@case("ptp.mtu", "mtu is the MTU of both ends", _KEYS, SHOULD, plugins=_PTP)
def mtu(t: Trial) -> None:
    container = t.add(config=t.config(mtu=1400))
    veth = next(interface["name"] for interface in container.result["interfaces"] if not interface.get("sandbox"))  # type: ignore[attr-defined]
    for line in (container.ip("link show dev eth0")[0], ip(f"link show dev {veth}")[0]):
        t.expect(" mtu 1400 " in line, "mtu 1400", line)


@case("ptp.empty", "an IPAM answer without addresses is an error, and nothing is left", _KEYS, SHOULD, plugins=_PTP)
def no_addresses(t: Trial) -> None:
    stub.answer("ADD", {"cniVersion": t.version, "ips": []})
    container = t.container()
    before = t.show()
    t.run("ADD", container, t.stubbed()).refused()
    t.same(before, "a failed ADD leaves nothing behind")
