"""ipMasq: what the world sees, and that no rule outlives its container."""

from __future__ import annotations

from typing import Any, Dict, List

from ..case import QUALITY, SHOULD, case
from ..node import Container
from ..shape import bare
from ..tools import run
from ..traffic import reach
from ..trial import Trial
from ..world import OUTSIDE, OUTSIDE6, UPLINK, UPLINK6

_MASQ = "Section 1: Well-known keys (ipMasq)"
_PLUGINS = ["bridge", "ptp"]


def _config(t: Trial) -> Dict[str, Any]:
    return t.config(ipMasq=True)


@case(
    "masquerade.traffic",
    "connections beyond the node come from the node's address",
    _MASQ,
    SHOULD,
    plugins=_PLUGINS,
    needs=["iptables"],
)
def traffic(t: Trial) -> None:
    outside = t.outside()
    plain = t.add(t.container("plain"), t.config())
    unmasked = reach(plain.namespace, outside, OUTSIDE, 80, within=0.3)
    t.expect(unmasked is None, "no connection without ipMasq (the outside knows no route back)", unmasked)
    container = t.add(t.container("masked"), _config(t))
    source = reach(container.namespace, outside, OUTSIDE, 80)
    t.expect(source == UPLINK, f"a connection that comes from {UPLINK}", source or "none")


@case("masquerade.traffic6", "the same with IPv6", _MASQ, SHOULD, plugins=_PLUGINS, needs=["iptables"])
def traffic6(t: Trial) -> None:
    outside = t.outside()
    container = t.add(config=t.dual_stack(ipMasq=True))
    source = reach(container.namespace, outside, OUTSIDE6, 80)
    t.expect(source == UPLINK6, f"a connection that comes from {UPLINK6}", source or "none")


@case(
    "masquerade.inside",
    "connections inside the network keep their address",
    _MASQ,
    SHOULD,
    plugins=_PLUGINS,
    needs=["iptables"],
)
def inside(t: Trial) -> None:
    first, second = t.add(config=_config(t)), t.add(config=_config(t))
    own = bare(first.result)[0]
    source = reach(first.namespace, second.namespace, bare(second.result)[0], 80)
    t.expect(source == own, f"a connection that comes from {own}", source or "none")


@case(
    "masquerade.gone",
    "no rule is left after DEL",
    _MASQ,
    SHOULD,
    plugins=_PLUGINS,
    needs=["iptables"],
    each=("present", "empty", "gone"),
)
def gone(t: Trial) -> None:
    config = _config(t)
    t.warm(config)
    container = t.container()
    before = t.show()["node rules"]
    t.add(container, config)
    t.expect(t.show()["node rules"] != before, "rules of the container while it lives")
    if t.parameter == "present":
        t.delete(container, config)
    else:
        path = container.netns
        container.remove()
        t.delete(container, config, CNI_NETNS="" if t.parameter == "empty" else path)
    _rules_as(t, before)


def _rules_as(t: Trial, before: List[str]) -> None:
    now = t.show()["node rules"]
    left = [f"+ node rules: {line}" for line in now if line not in before]
    t.expect(not left, "no rule is left", f"{len(left)} rules", "\n".join(left))


@case(
    "masquerade.failed", "no rule is left by an ADD that failed", _MASQ, QUALITY, plugins=_PLUGINS, needs=["iptables"]
)
def failed(t: Trial) -> None:
    config = _config(t)
    t.warm(config)
    before = t.show()["node rules"]
    container: Container = t.container()
    container.ip(f"link add {container.ifname} type bridge")
    t.run("ADD", container, config).refused()
    _rules_as(t, before)


@case(
    "masquerade.backend",
    "ipMasqBackend nftables masquerades without iptables",
    _MASQ,
    QUALITY,
    plugins=_PLUGINS,
    needs=["nftables"],
    since="1.1.0",
)
def backend(t: Trial) -> None:
    config = t.config(ipMasq=True, ipMasqBackend="nftables")
    outside = t.outside()
    t.warm(config)
    before = t.show()["node rules"]
    container = t.add(config=config)
    source = reach(container.namespace, outside, OUTSIDE, 80)
    t.expect(source == UPLINK, f"a connection that comes from {UPLINK}", source or "none")
    t.delete(container, config)
    _rules_as(t, before)


@case(
    "masquerade.check",
    "CHECK fails when the masquerade rules were flushed",
    "Section 2: CHECK (firewall rules)",
    SHOULD,
    plugins=_PLUGINS,
    needs=["nftables", "iptables"],
    since="0.4.0",
)
def flushed(t: Trial) -> None:
    container = t.add(config=_config(t))
    t.control(container, _config(t))
    run("nft", "flush", "ruleset")
    t.check(container, _config(t)).refused()


@case(
    "masquerade.iptables",
    "ipMasqBackend iptables masquerades by rules of iptables, and leaves none",
    "Plugin documentation: bridge, ptp (ipMasqBackend)",
    SHOULD,
    plugins=_PLUGINS,
    needs=["iptables"],
    each=("4", "6"),
)
def by_iptables(t: Trial) -> None:
    config = t.dual_stack(ipMasq=True, ipMasqBackend="iptables")
    command = "iptables-save" if t.parameter == "4" else "ip6tables-save"
    outside = t.outside()
    container = t.add(config=config)
    address, uplink = (OUTSIDE, UPLINK) if t.parameter == "4" else (OUTSIDE6, UPLINK6)
    source = reach(container.namespace, outside, address, 80)
    t.expect(source == uplink, f"a connection that comes from {uplink}", source or "none")
    own = next(each for each in bare(container.result) if (":" in each) == (t.parameter == "6"))
    shown = run(command, "-t", "nat")
    t.expect(f"-s {own}/" in shown, f"a rule for {own} in the nat table", shown)
    t.delete(container, config)
    shown = run(command, "-t", "nat")
    t.expect(f"-s {own}/" not in shown, f"no rule for {own}", shown)


@case(
    "masquerade.twice",
    "DEL of one of a container's two interfaces in a network leaves the other's rules",
    _MASQ,
    QUALITY,
    plugins=["bridge"],
    needs=["iptables"],
)
def twice(t: Trial) -> None:
    config = t.with_ipam(routes=None)
    config = {**config, "ipMasq": True}
    outside = t.outside()
    container = t.add(config=config)
    first = container.result
    t.add(container, config, CNI_IFNAME="net1")
    second, container.result = container.result, first
    t.delete(container, config)
    own = bare(second)[0]
    container.ip("route replace default via 10.22.0.1 dev net1")
    source = reach(container.namespace, outside, OUTSIDE, 80)
    t.expect(source == UPLINK, f"a connection of {own} that comes from {UPLINK}", source or "none")
