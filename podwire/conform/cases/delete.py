"""DEL: everything goes, again and again, whatever is missing."""

from __future__ import annotations

import os
import shutil
import signal
import time

from ..case import IPAM, MAIN, META, MUST, QUALITY, SHOULD, case
from ..trial import Trial

_DEL = "Section 2: DEL"


@case("del.undone", "DEL undoes everything that ADD changed", _DEL, SHOULD, kinds=[META])
def undone(t: Trial) -> None:
    clean(t)


@case("del.clean", "DEL removes everything that ADD made, and prints nothing", _DEL, MUST, kinds=[MAIN, IPAM])
def clean(t: Trial) -> None:
    t.warm()
    container = t.container()
    before = t.show()
    t.add(container)
    t.delete(container).silent()
    t.same(before, "DEL undoes what ADD did")


@case("del.others", "DEL of one container leaves another as it was", _DEL, MUST, excluded=["static"])
def others(t: Trial) -> None:
    t.warm()
    other, container = t.container("other"), t.container()
    config = t.config()
    t.add(other, config)
    before = t.show()
    for portMapping in config.get("runtimeConfig", {}).get("portMappings", ()):
        portMapping["hostPort"] += 1
    t.add(container, config)
    t.delete(container, config)
    own = [interface["name"] for interface in container.prev_result.get("interfaces", ())[1:2]]  # type: ignore[index]
    t.same(before, "the other container's state stays", ignoring=own)


@case("del.twice", "a second DEL succeeds", _DEL, MUST)
def twice(t: Trial) -> None:
    container = t.add()
    t.delete(container)
    before = t.show()
    t.delete(container).silent()
    t.same(before, "a second DEL changes nothing")


@case("del.unknown", "DEL of a container that was never added succeeds, also as the first call on a node", _DEL, MUST)
def unknown(t: Trial) -> None:
    t.delete(t.container()).silent()


@case(
    "del.netns.absent",
    "DEL needs no CNI_NETNS",
    "Section 2: DEL (CNI_NETNS is optional)",
    MUST,
    each=("unset", "empty", "gone"),
)
def without_netns(t: Trial) -> None:
    container = t.add()
    value = {"unset": None, "empty": "", "gone": "/run/netns/gone"}[t.parameter]
    t.delete(container, CNI_NETNS=value).silent()


@case(
    "del.netns.gone",
    "DEL after the container's namespace died releases everything on the node",
    _DEL,
    MUST,
    each=("path", "empty"),
    excluded=["loopback"],
)
def after_death(t: Trial) -> None:
    t.warm()
    container = t.container()
    if t.subject.kind == META:
        before = {section: lines for section, lines in t.show().items() if section in ("node rules", "files")}
    else:
        before = {key: value for key, value in t.show().items() if not key.startswith("c1 ")}
    t.add(container)
    path = container.netns
    container.remove()
    t.delete(container, CNI_NETNS=path if t.parameter == "path" else "")
    if t.subject.kind == META:
        now = t.show()
        t.expect(
            all(now[section] == lines for section, lines in before.items()),
            "rules and files as before ADD",
            [line for section, lines in before.items() for line in now[section] if line not in lines],
        )
    else:
        t.same(before, "DEL releases what ADD made on the node")


@case(
    "del.link.gone",
    "DEL succeeds although the interface was deleted already",
    _DEL,
    MUST,
    kinds=[MAIN, META],
    excluded=["loopback"],
)
def link_gone(t: Trial) -> None:
    container = t.add()
    container.ip(f"link delete dev {container.ifname}")
    t.delete(container).silent()


@case(
    "del.prevresult.absent",
    "DEL succeeds without prevResult, or with an empty one",
    _DEL,
    MUST,
    each=("absent", "null", "empty"),
)
def without_previous(t: Trial) -> None:
    container = t.add()
    container.result = container.prev_result = {}
    config = t.config()
    if t.parameter == "null":
        config["prevResult"] = None
    elif t.parameter == "empty":
        config["prevResult"] = {"cniVersion": t.version}
    t.delete(container, config).silent()


@case("del.prevresult.rules", "DEL without prevResult still removes its rules", _DEL, SHOULD, plugins=["portmap"])
def rules_without_previous(t: Trial) -> None:
    t.warm()
    container = t.container()
    before = t.show()
    t.add(container)
    container.result = container.prev_result = {}
    t.delete(container)
    t.same(before, "no rules are left")


@case("del.again", "the same container can be added again after DEL", "Section 3: Lifecycle & Ordering", MUST)
def again(t: Trial) -> None:
    container = t.container()
    t.add(container)
    t.delete(container)
    if t.subject.kind == META:  # an earlier plugin of the chain wires it anew
        container.ip(f"link delete dev {container.ifname}")
        anew = t.container()
        anew.id = container.id
        container = anew
    t.add(container)
    t.delete(container)


@case(
    "del.ipam.gone", "DEL removes the interface also where its lease is gone", _DEL, SHOULD, plugins=["bridge", "ptp"]
)
def lease_gone(t: Trial) -> None:
    t.warm()
    container = t.container()
    before = {key: value for key, value in t.show().items() if key != "files"}
    t.add(container)
    shutil.rmtree("/var/lib/cni/networks", ignore_errors=True)
    t.delete(container)
    now = {key: value for key, value in t.show().items() if key != "files"}
    t.expect(before == now, "the network as before", "leftovers", "\n".join(map(str, now.items())))


@case(
    "del.killed",
    "DEL cleans up after an ADD that was killed, wherever it stood",
    "Section 3: Lifecycle & Ordering",
    QUALITY,
    excluded=["loopback"],
)
def killed(t: Trial) -> None:
    t.warm()
    for milliseconds in (1, 2, 4, 8, 16, 32):
        container = t.container()
        before = t.show()
        job = t.begin("ADD", container)
        job.feed()
        time.sleep(milliseconds / 1000)  # a point in time is what is asked for
        os.killpg(job.process.pid, signal.SIGKILL)
        job.reply()
        t.delete(container)
        if t.subject.kind == META:  # what it did to the container's own link goes with the link
            now = t.show()["node rules"]
            t.expect(now == before["node rules"], "the rules as before", [line for line in now if line not in before])
        else:
            t.same(before, f"an ADD killed after {milliseconds} ms and its DEL leave nothing behind")
