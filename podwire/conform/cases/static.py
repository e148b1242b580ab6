"""The static plugin: addresses that were written down."""

from __future__ import annotations

from typing import Any, Dict

from ..case import MUST, SHOULD, case
from ..shape import addresses, gateways
from ..trial import Trial

_KEYS = "Plugin documentation: static"
_STATIC = ["static"]


@case(
    "static.given", "addresses, gateways, routes and dns come back as they were given", _KEYS, SHOULD, plugins=_STATIC
)
def given(t: Trial) -> None:
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "192.168.0.0/16", "gw": "10.22.0.9"}]
    dns = {"nameservers": ["192.0.2.53"], "domain": "a.test", "search": ["b.test"]}
    ipam = {
        "addresses": [{"address": "10.22.0.5/24", "gateway": "10.22.0.254"}, {"address": "fd00:22::5/64"}],
        "routes": routes,
        "dns": dns,
    }
    result = t.add(config=t.with_ipam(**ipam)).result
    t.expect(addresses(result) == ["10.22.0.5/24", "fd00:22::5/64"], "both addresses", result)
    t.expect(gateways(result) == ["10.22.0.254"], "the gateway 10.22.0.254", result)
    t.expect(result.get("routes") == routes, str(routes), result.get("routes"))
    t.expect(result.get("dns") == dns, str(dns), result.get("dns"))


_REQUESTS: Dict[str, Dict[str, Any]] = {
    "CNI_ARGS": {},
    "args": {"args": {"cni": {"ips": ["10.22.0.123/24"]}}},
    "runtimeConfig": {"runtimeConfig": {"ips": ["10.22.0.123/24"]}},
}


@case(
    "static.requested",
    "an address may be asked for where none is written down",
    _KEYS,
    SHOULD,
    plugins=_STATIC,
    each=tuple(_REQUESTS),
)
def requested(t: Trial) -> None:
    config = {**t.with_ipam(addresses=None), **_REQUESTS[t.parameter]}
    args = "IP=10.22.0.123/24;GATEWAY=10.22.0.1" if t.parameter == "CNI_ARGS" else None
    container = t.add(config=config, CNI_ARGS=args)
    t.expect(addresses(container.result) == ["10.22.0.123/24"], "10.22.0.123/24", container.result)
    if args:
        t.expect(gateways(container.result) == ["10.22.0.1"], "gateway 10.22.0.1", container.result)


@case(
    "static.invalid",
    "an address that is none is an error",
    _KEYS,
    MUST,
    plugins=_STATIC,
    each=("nonsense", "no-length", "gateway"),
)
def invalid(t: Trial) -> None:
    entry = {
        "nonsense": {"address": "ten/24"},
        "no-length": {"address": "10.22.0.5"},
        "gateway": {"address": "10.22.0.5/24", "gateway": "here"},
    }[t.parameter]
    t.run("ADD", t.container(), t.with_ipam(addresses=[entry])).refused()


@case("static.invalid.args", "CNI_ARGS that are no address are an error", _KEYS, MUST, plugins=_STATIC)
def invalid_args(t: Trial) -> None:
    t.run("ADD", t.container(), CNI_ARGS="IP=ten").refused()
