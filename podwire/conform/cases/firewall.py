"""The firewall plugin: containers stay reachable where forwarding is closed."""

from __future__ import annotations

from typing import Any, Dict

from ..case import QUALITY, SHOULD, case
from ..node import Container
from ..shape import bare
from ..tools import run
from ..traffic import reach
from ..trial import Trial
from ..world import OUTSIDE, UPLINK

_KEYS = "Plugin documentation: firewall"
_FIREWALL = ["firewall"]
_NEEDS = ["iptables"]


def _closed(t: Trial) -> None:
    """As Docker leaves a machine: forwarding is dropped but for what is allowed. The outside knows the way."""
    with t.outside().entered():
        run("ip", "route", "add", "10.22.0.0/24", "via", UPLINK)
    run("iptables", "-P", "FORWARD", "DROP")


def _passes(t: Trial, container: Container, within: float = 3.0) -> bool:
    return bool(reach(container.namespace, t.outside(), OUTSIDE, 80, within=within))


@case(
    "firewall.opens",
    "a container gets out where FORWARD drops, until DEL",
    _KEYS,
    SHOULD,
    plugins=_FIREWALL,
    needs=_NEEDS,
)
def opens(t: Trial) -> None:
    _closed(t)
    container = t.container()
    t.expect(not _passes(t, container, 0.3), "no way out before ADD", "one")
    t.add(container)
    t.expect(_passes(t, container), "a way out after ADD", "none")
    t.delete(container)
    t.expect(not _passes(t, container, 0.3), "no way out after DEL", "one")


@case("firewall.default", "the default backend works without firewalld", _KEYS, SHOULD, plugins=_FIREWALL, needs=_NEEDS)
def default(t: Trial) -> None:
    _closed(t)
    config = t.config(backend=None)
    container = t.add(config=config)
    t.expect(_passes(t, container), "a way out after ADD", "none")
    t.delete(container, config)
    t.expect(not _passes(t, container, 0.3), "no way out after DEL", "one")


@case(
    "firewall.others",
    "DEL of one container leaves the way of another open",
    _KEYS,
    SHOULD,
    plugins=_FIREWALL,
    needs=_NEEDS,
)
def others(t: Trial) -> None:
    _closed(t)
    first, second = t.add(), t.add()
    t.delete(first)
    t.expect(_passes(t, second), "a way out for the other", "none")


@case("firewall.admin", "rules of the administrator's chain come first", _KEYS, SHOULD, plugins=_FIREWALL, needs=_NEEDS)
def admin(t: Trial) -> None:
    _closed(t)
    container = t.add(config=t.config(iptablesAdminChainName="CONFORM-ADMIN"))
    t.expect(_passes(t, container), "a way out after ADD", "none")
    run("iptables", "-A", "CONFORM-ADMIN", "-s", bare(container.result)[0], "-j", "DROP")
    t.expect(not _passes(t, container, 0.3), "none after the administrator closed it", "one")


@case(
    "firewall.check",
    "CHECK fails when the rules were flushed",
    "Section 2: CHECK",
    SHOULD,
    plugins=_FIREWALL,
    since="0.4.0",
    needs=_NEEDS,
)
def check_rules(t: Trial) -> None:
    container = t.add()
    t.control(container)
    run("iptables", "-F", "CNI-FORWARD")
    t.check(container).refused()


@case(
    "firewall.policy",
    "ingressPolicy same-bridge keeps other networks of the node out",
    _KEYS,
    SHOULD,
    plugins=_FIREWALL,
    needs=_NEEDS,
)
def policy(t: Trial) -> None:
    config: Dict[str, Any] = t.config(ingressPolicy="same-bridge")
    first, second = t.add(config=config), t.add(config=config)
    target = bare(second.result)[0]
    t.expect(reach(first.namespace, second.namespace, target, 80), "containers of one bridge reach each other", "none")


@case(
    "firewall.invalid",
    "an unknown backend or ingressPolicy is an error, and nothing is left",
    _KEYS,
    QUALITY,
    plugins=_FIREWALL,
    each=("backend", "ingressPolicy"),
)
def invalid(t: Trial) -> None:
    container = t.container()
    before = t.show()
    t.run("ADD", container, t.config(**{t.parameter: "magic"})).refused()
    t.same(before, "nothing is left")
