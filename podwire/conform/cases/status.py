"""STATUS: ready or not."""

from __future__ import annotations

import os

from .. import stub
from ..case import MAIN, MUST, QUALITY, SHOULD, case
from ..trial import Trial
from ..world import SUBNET_ENV

_STATUS = "Section 2: STATUS"
_SINCE = "1.1.0"


@case(
    "status.ready",
    "STATUS of a plugin that is ready succeeds, prints nothing and changes nothing",
    _STATUS,
    MUST,
    since=_SINCE,
)
def ready(t: Trial) -> None:
    before = t.show()
    t.run("STATUS").silent()
    t.same(before, "STATUS changes nothing")


@case("status.bare", "STATUS needs no variable but CNI_COMMAND", _STATUS, QUALITY, since=_SINCE)
def bare(t: Trial) -> None:
    if "ipam" in t.config() or t.subject.type == "flannel":
        t.run("STATUS", None, t.config())
        return
    t.run("STATUS", None, CNI_PATH=None).silent()


@case(
    "status.delegate",
    "STATUS asks the delegate, and passes its error on",
    _STATUS,
    MUST,
    since=_SINCE,
    kinds=[MAIN],
    excluded=["loopback", "flannel"],
)
def delegate(t: Trial) -> None:
    t.run("STATUS", None, t.stubbed()).silent()
    t.expect(len(stub.calls("STATUS")) == 1, "the delegate is called once with STATUS", stub.calls())
    stub.answer("STATUS", {"cniVersion": t.version, "code": 50, "msg": "no address left"}, 1)
    t.run("STATUS", None, t.stubbed()).refused(50)


@case(
    "status.exhausted",
    "STATUS says 50 when every address is taken",
    _STATUS,
    SHOULD,
    since=_SINCE,
    plugins=["host-local", "bridge", "ptp"],
)
def exhausted(t: Trial) -> None:
    config = t.with_ipam(ranges=[[{"subnet": "10.22.0.0/30"}]])
    t.run("STATUS", None, config).silent()
    t.add(config=config)
    t.run("STATUS", None, config).refused(50)


@case("status.subnet", "STATUS says 50 without flanneld's file", _STATUS, SHOULD, since=_SINCE, plugins=["flannel"])
def no_subnet(t: Trial) -> None:
    os.unlink(SUBNET_ENV)
    t.run("STATUS").refused(50)
