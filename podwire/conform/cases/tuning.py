"""The tuning plugin: sysctls and link attributes, and how they were before."""

from __future__ import annotations

import os
from typing import Any, Dict

from ..case import MUST, SHOULD, case
from ..node import sysctl
from ..trial import Trial

_KEYS = "Plugin documentation: tuning"
_TUNING = ["tuning"]
_SYSCTL = "net/ipv4/conf/eth0/arp_filter"


@case("tuning.sysctl.set", "sysctls are set in the container only", _KEYS, SHOULD, plugins=_TUNING)
def sysctls(t: Trial) -> None:
    container = t.container()
    before = sysctl("net/ipv4/conf/all/accept_redirects")
    other = "0" if before == "1" else "1"
    t.add(
        container, t.config(sysctl={"net.ipv4.conf.eth0.arp_filter": "1", "net.ipv4.conf.all.accept_redirects": other})
    )
    t.expect(container.sysctl(_SYSCTL) == "1", f"{_SYSCTL} = 1", container.sysctl(_SYSCTL))
    inside = container.sysctl("net/ipv4/conf/all/accept_redirects")
    t.expect(inside == other, f"accept_redirects = {other} in the container", inside)
    now = sysctl("net/ipv4/conf/all/accept_redirects")
    t.expect(now == before, f"accept_redirects = {before} on the node", now)


@case(
    "tuning.sysctl.ifname",
    "IFNAME in a sysctl stands for the interface, also for CHECK",
    _KEYS,
    SHOULD,
    plugins=_TUNING,
)
def ifname(t: Trial) -> None:
    config = t.config(sysctl={"net.ipv4.conf.IFNAME.arp_filter": "1"})
    container = t.add(config=config)
    t.expect(container.sysctl(_SYSCTL) == "1", f"{_SYSCTL} = 1", container.sysctl(_SYSCTL))
    t.check(container, config).silent()
    container.sysctl(_SYSCTL, "0")
    t.check(container, config).refused()


@case(
    "tuning.sysctl.refused",
    "only sysctls of the network may be set",
    _KEYS,
    MUST,
    plugins=_TUNING,
    each=("kernel", "dots", "slash"),
)
def refused(t: Trial) -> None:
    name = {"kernel": "kernel.hostname", "dots": "net/../kernel/hostname", "slash": "/kernel/hostname"}[t.parameter]
    before = sysctl("kernel/hostname")
    t.run("ADD", t.container(), t.config(sysctl={name: "tuned"})).refused()
    t.expect(sysctl("kernel/hostname") == before, "the host name as before")


@case("tuning.sysctl.unknown", "a sysctl that does not exist is an error", _KEYS, SHOULD, plugins=_TUNING)
def unknown(t: Trial) -> None:
    t.run("ADD", t.container(), t.config(sysctl={"net.ipv4.no_such_thing": "1"})).refused()


_LINK: Dict[str, Any] = {
    "mac": ("02:11:22:33:44:55", "link/ether 02:11:22:33:44:55"),
    "mtu": (1400, " mtu 1400 "),
    "promisc": (True, "PROMISC"),
    "allmulti": (True, "ALLMULTI"),
    "txQLen": (77, "qlen 77"),
}


@case(
    "tuning.link",
    "attributes of the interface are set, told in the result, checked, and restored by DEL",
    _KEYS,
    SHOULD,
    plugins=_TUNING,
    each=tuple(_LINK),
)
def link(t: Trial) -> None:
    if t.parameter == "txQLen":
        t.need("1.1.0")  # plugins of older versions do not know it
    value, words = _LINK[t.parameter]
    config = t.config(sysctl=None, **{t.parameter: value})
    container = t.container()
    before = container.ip("link show dev eth0")[0]
    t.add(container, config)
    line = container.ip("link show dev eth0")[0]
    t.expect(words in line, words, line)
    t.check(container, config).silent()
    if t.parameter == "mac":
        found = [interface["mac"] for interface in container.result["interfaces"] if interface.get("sandbox")]  # type: ignore[attr-defined]
        t.expect(found == [value], f"{value} in the result", found)
    t.delete(container, config)
    t.expect(
        words not in container.ip("link show dev eth0")[0], f"as before: {before}", container.ip("link show dev eth0")
    )


@case(
    "tuning.check",
    "CHECK fails when a value was changed",
    "Section 2: CHECK",
    SHOULD,
    plugins=_TUNING,
    since="0.4.0",
    each=("sysctl", "mtu"),
)
def check_values(t: Trial) -> None:
    config = t.config(mtu=1400)
    container = t.add(config=config)
    t.control(container, config)
    if t.parameter == "sysctl":
        container.sysctl(_SYSCTL, "0")
    else:
        container.ip("link set dev eth0 mtu 1300")
    t.check(container, config).refused()


@case("tuning.allowlist", "an allow list of the administrator is obeyed", _KEYS, SHOULD, plugins=_TUNING)
def allow_list(t: Trial) -> None:
    t.need("1.1.0")  # plugins of older versions do not know it
    t.add(t.container("free"))
    os.makedirs("/etc/cni/tuning")
    with open("/etc/cni/tuning/allowlist.conf", "w") as file:
        file.write("^net.ipv4.conf.IFNAME.proxy_arp$\n")
    t.run("ADD", t.container()).refused()


@case("tuning.missing", "an interface that is not there is an error for ADD", "Section 2: ADD", SHOULD, plugins=_TUNING)
def missing(t: Trial) -> None:
    container = t.container()
    container.ip("link delete dev eth0")
    t.run("ADD", container, t.config(mtu=1400)).refused()
