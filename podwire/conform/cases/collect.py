"""GC: what belongs to attachments that are gone goes, and nothing else."""

from __future__ import annotations

import json
import os

from .. import stub
from ..case import IPAM, MAIN, META, MUST, QUALITY, SHOULD, case
from ..trial import Trial

_GC = "Section 2: GC"
_SINCE = "1.1.0"


@case("gc.quiet", "GC succeeds and prints nothing, also on a node without state", _GC, MUST, since=_SINCE)
def quiet(t: Trial) -> None:
    t.collect().silent()
    container = t.add()
    t.collect(container).silent()


@case("gc.valid", "GC leaves listed attachments as they are", _GC, MUST, since=_SINCE)
def valid(t: Trial) -> None:
    containers = [t.add(), t.add()] if t.subject.type not in ("static", "portmap") else [t.add()]
    before = t.show()
    t.collect(*containers).silent()
    t.same(before, "listed attachments stay as they are")
    for container in containers:
        t.check(container).succeeded()


@case(
    "gc.stale",
    "GC removes leases and rules of attachments that are not listed",
    _GC,
    SHOULD,
    since=_SINCE,
    excluded=["loopback", "static", "tuning"],
)
def stale(t: Trial) -> None:
    config = t.config(ipMasq=True) if t.subject.type in ("bridge", "ptp") else t.config()
    t.warm(config)
    kept, crashed = t.container("kept"), t.container("crashed")
    t.add(kept, config)
    before = {section: lines for section, lines in t.show().items() if section in ("node rules", "files")}
    for portMapping in config.get("runtimeConfig", {}).get("portMappings", ()):
        portMapping["hostPort"] += 1
    t.add(crashed, config)
    crashed.remove()
    t.collect(kept, config=config).silent()
    now = t.show()
    left = [f"+ {section}: {line}" for section in before for line in now[section] if line not in before[section]]
    gone = [f"- {section}: {line}" for section in before for line in before[section] if line not in now[section]]
    t.expect(
        not left and not gone,
        "rules and files as before the container that crashed",
        f"{len(left)} left, {len(gone)} gone",
        "\n".join(left + gone),
    )


@case("gc.ifname", "GC tells interfaces of one container apart", _GC, SHOULD, since=_SINCE, plugins=["host-local"])
def by_ifname(t: Trial) -> None:
    container = t.add()
    kept = t.show()["files"]
    container.ifname = "eth1"
    t.add(container)
    container.ifname = "eth0"
    t.collect(container).silent()
    t.expect(t.show()["files"] == kept, "the lease of eth0 only", t.show()["files"])


@case("gc.all", "GC with an empty list removes all leases", _GC, SHOULD, since=_SINCE, plugins=["host-local"])
def everything(t: Trial) -> None:
    t.warm()
    before = t.show()["files"]
    t.add()
    t.add()
    t.collect().silent()
    t.expect(t.show()["files"] == before, "no lease", t.show()["files"])


@case("gc.network", "GC leaves other networks alone", _GC, MUST, since=_SINCE, kinds=[MAIN, IPAM, META])
def other_network(t: Trial) -> None:
    t.add()
    before = t.show()
    t.collect(config=t.config(name="another")).silent()
    t.same(before, "the first network stays as it is", ignoring=["another"])


@case("gc.unlisted", "GC without cni.dev/valid-attachments harms nobody", _GC, QUALITY, since=_SINCE)
def no_list(t: Trial) -> None:
    t.add()
    before = t.show()
    reply = t.run("GC", None, t.config())
    if reply.status:
        reply.refused()
    t.same(before, "nothing is removed where nothing was said")


@case(
    "gc.malformed",
    "GC with a malformed list removes nothing",
    _GC,
    MUST,
    since=_SINCE,
    kinds=[MAIN, IPAM],
)
def malformed(t: Trial) -> None:
    t.add()
    before = t.show()
    for value in ("all", [{"containerID": 1}], {"a": 1}):
        stdin = json.dumps({**t.config(), "cni.dev/valid-attachments": value}).encode()
        reply = t.run("GC", None, stdin=stdin)
        if reply.status:
            reply.refused()
    t.same(before, "nothing is removed")


@case(
    "gc.legacy",
    "GC keeps a lease without interface name if its container is listed",
    _GC,
    QUALITY,
    since=_SINCE,
    plugins=["host-local"],
)
def legacy(t: Trial) -> None:
    container = t.add()
    directory = f"/var/lib/cni/networks/{t.network}"
    with open(f"{directory}/10.22.0.77", "w") as file:
        file.write(container.id)
    t.collect(container).silent()
    t.expect(os.path.exists(f"{directory}/10.22.0.77"), "the old lease stays")
    t.collect().silent()
    t.expect(not os.path.exists(f"{directory}/10.22.0.77"), "the old lease goes with its container")


@case(
    "gc.delegate",
    "GC is forwarded to the delegate with the list",
    _GC,
    MUST,
    since=_SINCE,
    kinds=[MAIN],
    excluded=["loopback", "flannel"],
)
def forwarded(t: Trial) -> None:
    container = t.add(config=t.stubbed())
    t.collect(container, config=t.stubbed()).silent()
    calls = stub.calls("GC")
    t.expect(len(calls) == 1, "the delegate is called once with GC", f"{len(calls)} calls")
    listed = json.loads(calls[0].stdin).get("cni.dev/valid-attachments")
    t.expect(listed == [{"containerID": container.id, "ifname": container.ifname}], "the list of attachments", listed)


@case(
    "gc.delegate.failed",
    "an error of the delegate's GC is reported",
    _GC,
    MUST,
    since=_SINCE,
    kinds=[MAIN],
    excluded=["loopback", "flannel"],
)
def forwarded_error(t: Trial) -> None:
    t.add(config=t.stubbed())
    stub.answer("GC", {"cniVersion": t.version, "code": 121, "msg": "stuck"}, 1)
    t.collect(config=t.stubbed()).refused(mentions=["stuck"])


@case(
    "gc.continue",
    "an error of the delegate does not keep GC from removing what it can",
    _GC,
    SHOULD,
    since=_SINCE,
    plugins=["bridge", "ptp"],
    needs=["iptables"],
)
def goes_on(t: Trial) -> None:
    config = t.stubbed(ipMasq=True)
    t.warm(config)
    crashed = t.container()
    before = t.show()["node rules"]
    t.add(crashed, config)
    t.expect(t.show()["node rules"] != before, "rules of the container while it lives")
    crashed.remove()
    stub.answer("GC", {"cniVersion": t.version, "code": 121, "msg": "stuck"}, 1)
    t.collect(config=config).refused(mentions=["stuck"])
    left = [f"+ node rules: {line}" for line in t.show()["node rules"] if line not in before]
    t.expect(not left, "no rule is left", f"{len(left)} rules", "\n".join(left))
