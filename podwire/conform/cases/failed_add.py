"""An ADD that fails: what it leaves behind, and whether the next one works."""

from __future__ import annotations

from typing import Any, Dict

from .. import stub
from ..case import MAIN, MUST, QUALITY, SHOULD, case
from ..shape import bare, convert
from ..subject import GATEWAY
from ..traffic import reach
from ..trial import Trial

_ROLLBACK = "Section 4: Delegated plugin execution procedure"
_NOT = ("loopback", "flannel")


def _unroutable(t: Trial) -> Dict[str, Any]:
    """What an IPAM plugin may answer and the kernel will not take: a route by an unreachable gateway."""
    return convert(
        {
            "ips": [{"address": "10.22.0.9/24", "gateway": GATEWAY}],
            "routes": [{"dst": "198.51.100.0/24", "gw": "203.0.113.77"}],
        },
        t.version,
    )


@case("add.failed.early", "nothing is left when IPAM refuses", _ROLLBACK, QUALITY, kinds=[MAIN], excluded=_NOT)
def early(t: Trial) -> None:
    t.warm(t.stubbed())
    container = t.container()
    before = t.show()
    stub.answer("ADD", {"cniVersion": t.version, "code": 120, "msg": "no address"}, 1)
    t.run("ADD", container, t.stubbed()).refused()
    t.same(before, "a failed ADD leaves nothing behind")


@case(
    "add.failed.late",
    "nothing is left when the kernel refuses what IPAM gave",
    _ROLLBACK,
    QUALITY,
    kinds=[MAIN],
    excluded=_NOT,
)
def late(t: Trial) -> None:
    t.warm(t.stubbed())
    container = t.container()
    before = t.show()
    stub.answer("ADD", _unroutable(t))
    t.run("ADD", container, t.stubbed()).refused()
    t.same(before, "a failed ADD leaves nothing behind")


@case(
    "add.failed.del",
    "DEL after a failed ADD succeeds and leaves nothing",
    "Section 3: Lifecycle & Ordering",
    MUST,
    kinds=[MAIN],
    excluded=_NOT,
    each=("early", "late"),
)
def then_delete(t: Trial) -> None:
    t.warm(t.stubbed())
    container = t.container()
    before = t.show()
    if t.parameter == "early":
        stub.answer("ADD", {"cniVersion": t.version, "code": 120, "msg": "no address"}, 1)
    else:
        stub.answer("ADD", _unroutable(t))
    t.run("ADD", container, t.stubbed()).refused()
    t.delete(container, t.stubbed())
    t.same(before, "a failed ADD and its DEL leave nothing behind")


@case(
    "add.failed.retry",
    "the same ADD works once the cause is gone, without a DEL between",
    "Section 3: Lifecycle & Ordering",
    QUALITY,
    kinds=[MAIN],
    excluded=_NOT,
    each=("early", "late"),
)
def retry(t: Trial) -> None:
    container = t.container()
    good = convert({"ips": [{"address": "10.22.0.9/24", "gateway": GATEWAY}]}, t.version)
    if t.parameter == "early":
        stub.answer("ADD", {"cniVersion": t.version, "code": 11, "msg": "try again"}, 1)
    else:
        stub.answer("ADD", _unroutable(t))
    t.run("ADD", container, t.stubbed()).refused()
    stub.answer("ADD", good)
    t.add(container, t.stubbed())


@case(
    "add.failed.first",
    "after the very first ADD on a node failed, the next container works",
    "Section 3: Lifecycle & Ordering",
    SHOULD,
    kinds=[MAIN],
    excluded=_NOT,
)
def first(t: Trial) -> None:
    stub.answer("ADD", {"cniVersion": t.version, "code": 120, "msg": "no address"}, 1)
    t.run("ADD", t.container(), t.stubbed()).refused()
    stub.install(t.version)
    container = t.add(t.container(), t.stubbed())
    t.expect(reach(t.node, container.namespace, bare(container.result)[0], 80), "a connection to the next container")


@case(
    "add.failed.lease",
    "no lease is left by an ADD that failed after IPAM",
    _ROLLBACK,
    SHOULD,
    plugins=["bridge", "ptp"],
)
def lease(t: Trial) -> None:
    t.warm()
    container = t.container()
    container.ip(f"link add {container.ifname} type bridge")
    before = t.show()["files"]
    t.run("ADD", container).refused()
    t.expect(t.show()["files"] == before, "the lease files as before", t.show()["files"])
