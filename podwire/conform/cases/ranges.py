"""The ranges of host-local: what may be declared and what is taken from it."""

from __future__ import annotations

from typing import Any, Dict

from ..case import MUST, QUALITY, SHOULD, case
from ..shape import addresses, bare, gateways
from ..trial import Trial

_KEYS = "Plugin documentation: host-local (ranges)"
_LOCAL = ["host-local"]


@case("ranges.old", "the old form, a subnet beside type, works", _KEYS, SHOULD, plugins=_LOCAL)
def old_form(t: Trial) -> None:
    container = t.add(
        config=t.with_ipam(ranges=None, subnet="10.33.0.0/16", rangeStart="10.33.0.7", gateway="10.33.255.254")
    )
    t.expect(addresses(container.result) == ["10.33.0.7/16"], "10.33.0.7/16", container.result)
    t.expect(gateways(container.result) == ["10.33.255.254"], "gateway 10.33.255.254", container.result)


@case("ranges.sets", "one address is taken from every set", _KEYS, SHOULD, plugins=_LOCAL)
def sets(t: Trial) -> None:
    container = t.add(config=t.with_ipam(ranges=[[{"subnet": "10.22.0.0/24"}], [{"subnet": "fd00:22::/64"}]]))
    t.expect(
        addresses(container.result) == ["10.22.0.2/24", "fd00:22::2/64"],
        "10.22.0.2/24 and fd00:22::2/64",
        container.result,
    )
    t.expect(
        gateways(container.result) == ["10.22.0.1", "fd00:22::1"], "their first addresses as gateways", container.result
    )


@case("ranges.pool", "the ranges of a set are one pool", _KEYS, SHOULD, plugins=_LOCAL)
def pool(t: Trial) -> None:
    config = t.with_ipam(ranges=[[{"subnet": "10.22.0.0/30"}, {"subnet": "10.23.0.0/30"}]])
    found = [bare(t.add(config=config).result) for _ in range(2)]
    t.expect(found == [["10.22.0.2"], ["10.23.0.2"]], "10.22.0.2, then 10.23.0.2", found)


@case("ranges.bounds", "rangeStart and rangeEnd are inclusive", _KEYS, SHOULD, plugins=_LOCAL)
def bounds(t: Trial) -> None:
    config = t.with_ipam(ranges=[[{"subnet": "10.22.0.0/24", "rangeStart": "10.22.0.20", "rangeEnd": "10.22.0.21"}]])
    found = [bare(t.add(config=config).result) for _ in range(2)]
    t.expect(found == [["10.22.0.20"], ["10.22.0.21"]], "10.22.0.20 and 10.22.0.21", found)
    t.run("ADD", t.container(), config).refused()


@case("ranges.wrap", "after the end it starts over", _KEYS, SHOULD, plugins=_LOCAL)
def wrap(t: Trial) -> None:
    config = t.with_ipam(ranges=[[{"subnet": "10.22.0.0/29"}]])
    held = [t.add(config=config) for _ in range(5)]
    t.delete(held[1], config)
    t.delete(held[0], config)
    found = [bare(t.add(config=config).result) for _ in range(2)]
    t.expect(found == [["10.22.0.2"], ["10.22.0.3"]], "10.22.0.2 and 10.22.0.3 again", found)


@case("ranges.runtime", "runtimeConfig.ipRanges come first", _KEYS, SHOULD, plugins=_LOCAL)
def runtime(t: Trial) -> None:
    config = t.config(runtimeConfig={"ipRanges": [[{"subnet": "10.44.0.0/24"}]]})
    container = t.add(config=config)
    t.expect(addresses(container.result)[0] == "10.44.0.2/24", "10.44.0.2/24", container.result)


@case("ranges.routes", "routes are in the result, with gw where given", _KEYS, SHOULD, plugins=_LOCAL)
def routes(t: Trial) -> None:
    given = [{"dst": "0.0.0.0/0"}, {"dst": "192.168.0.0/16", "gw": "10.22.0.9"}]
    found = t.add(config=t.with_ipam(routes=given)).result.get("routes")
    t.expect(found == given, str(given), found)


_BAD: Dict[str, Any] = {
    "none": [],
    "empty-set": [[]],
    "tiny": [[{"subnet": "10.22.0.0/31"}]],
    "host-bits": [[{"subnet": "10.22.0.5/24"}]],
    "start-outside": [[{"subnet": "10.22.0.0/24", "rangeStart": "10.99.0.1"}]],
    "end-outside": [[{"subnet": "10.22.0.0/24", "rangeEnd": "10.99.0.1"}]],
    "reversed": [[{"subnet": "10.22.0.0/24", "rangeStart": "10.22.0.9", "rangeEnd": "10.22.0.5"}]],
    "families": [[{"subnet": "10.22.0.0/24"}, {"subnet": "fd00:22::/64"}]],
    "overlap": [[{"subnet": "10.22.0.0/24"}, {"subnet": "10.22.0.128/25"}]],
    "overlap-sets": [[{"subnet": "10.22.0.0/24"}], [{"subnet": "10.22.0.128/25"}]],
    "nonsense": [[{"subnet": "the usual"}]],
}


@case(
    "ranges.invalid",
    "ranges that make no sense are an error, and nothing is written",
    _KEYS,
    MUST,
    plugins=_LOCAL,
    each=tuple(_BAD),
)
def invalid(t: Trial) -> None:
    t.run("ADD", t.container(), t.with_ipam(ranges=_BAD[t.parameter])).refused()
    leases = [line for line in t.show()["files"] if "/10." in line]
    t.expect(not leases, "no lease", leases)


@case(
    "ranges.invalid.code",
    "and the error is 7, an invalid configuration",
    "Section 5: Error",
    QUALITY,
    plugins=_LOCAL,
    each=("tiny", "host-bits", "overlap"),
)
def invalid_code(t: Trial) -> None:
    t.run("ADD", t.container(), t.with_ipam(ranges=_BAD[t.parameter])).refused(7)
