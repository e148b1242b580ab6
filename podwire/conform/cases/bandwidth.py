"""The bandwidth plugin: rates, in both directions."""

from __future__ import annotations

from typing import Any, Dict

from ..case import MUST, SHOULD, case
from ..tools import run
from ..trial import Trial

_KEYS = "Plugin documentation: bandwidth"
_BANDWIDTH = ["bandwidth"]


@case(
    "bandwidth.ingress",
    "ingressRate is a token bucket on the node's end, and goes with DEL",
    _KEYS,
    SHOULD,
    plugins=_BANDWIDTH,
    needs=["tbf"],
)
def ingress(t: Trial) -> None:
    container = t.add()
    shown = run("tc", "qdisc", "show", "dev", "wire2")
    t.expect("tbf" in shown and "rate 8Mbit" in shown, "tbf with rate 8Mbit", shown)
    t.check(container).silent()
    t.delete(container)
    t.expect("tbf" not in run("tc", "qdisc", "show", "dev", "wire2"), "no tbf after DEL")


@case(
    "bandwidth.egress",
    "egressRate redirects to an ifb link, which the result tells and DEL removes",
    _KEYS,
    SHOULD,
    plugins=_BANDWIDTH,
    needs=["tbf", "ifb"],
)
def egress(t: Trial) -> None:
    config = t.config(ingressRate=None, ingressBurst=None, egressRate=8000000, egressBurst=800000)
    container = t.container()
    before = t.show()
    t.add(container, config)
    names = [interface["name"] for interface in container.result["interfaces"]]  # type: ignore[attr-defined]
    t.expect(len(names) == 4, "the ifb link as a fourth interface", names)
    t.delete(container, config)
    t.same(before, "nothing is left")


@case(
    "bandwidth.check",
    "CHECK fails when the token bucket is gone",
    "Section 2: CHECK",
    SHOULD,
    plugins=_BANDWIDTH,
    since="0.4.0",
    needs=["tbf"],
)
def check_bucket(t: Trial) -> None:
    container = t.add()
    t.control(container)
    run("tc", "qdisc", "delete", "dev", "wire2", "root")
    t.check(container).refused()


_BAD: Dict[str, Dict[str, Any]] = {
    "rate-only": {"ingressRate": 8000000, "ingressBurst": 0},
    "burst-only": {"ingressRate": 0, "ingressBurst": 800000},
    "negative": {"ingressRate": -1, "ingressBurst": 800000},
    "huge": {"ingressRate": 8000000, "ingressBurst": 1 << 50},
}


@case(
    "bandwidth.invalid",
    "a rate without burst, or the other way round, is an error",
    _KEYS,
    SHOULD,
    plugins=_BANDWIDTH,
    each=tuple(_BAD),
)
def invalid(t: Trial) -> None:
    container = t.container()
    before = t.show()
    t.run("ADD", container, t.config(**_BAD[t.parameter])).refused()
    t.same(before, "nothing is left")


@case(
    "bandwidth.none",
    "without limits the result is passed on; without prevResult as well it is an error, not a crash",
    _KEYS,
    MUST,
    plugins=_BANDWIDTH,
)
def none(t: Trial) -> None:
    config = t.config(ingressRate=None, ingressBurst=None)
    container = t.container()
    before = t.show()
    t.add(container, config)
    t.same(before, "nothing is done")
    container.prev_result = {}
    reply = t.run("ADD", container, config)
    if reply.status:
        reply.refused()
    else:
        reply.document()


@case("bandwidth.runtime", "runtimeConfig.bandwidth limits too", _KEYS, SHOULD, plugins=_BANDWIDTH, needs=["tbf"])
def runtime(t: Trial) -> None:
    limits = {"ingressRate": 16000000, "ingressBurst": 800000}
    t.add(config=t.config(ingressRate=None, ingressBurst=None, runtimeConfig={"bandwidth": limits}))
    shown = run("tc", "qdisc", "show", "dev", "wire2")
    t.expect("rate 16Mbit" in shown, "tbf with rate 16Mbit", shown)
