"""The host-local plugin: leases, on disk and over time."""

from __future__ import annotations

import os
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, Dict, List

from ...kernel.namespaces import mount
from ..case import MUST, QUALITY, SHOULD, case
from ..node import Container
from ..shape import bare
from ..trial import Trial

_KEYS = "Plugin documentation: host-local"
_LOCAL = ["host-local"]
_LEASES = "/var/lib/cni/networks/conform"


def _file(address: str) -> str:
    return f"{_LEASES}/{address}"


@case(
    "host-local.lease",
    "a lease is a file named by its address, with container id and interface name",
    _KEYS,
    SHOULD,
    plugins=_LOCAL,
)
def lease_file(t: Trial) -> None:
    container = t.add()
    path = _file(bare(container.result)[0])
    t.expect(os.path.isfile(path), f"the file {path}", t.show()["files"])
    with open(path, "rb") as file:
        data = file.read()
    t.expect(
        data.split() == [container.id.encode(), container.ifname.encode()],
        f"{container.id} and {container.ifname}",
        data,
    )


@case(
    "host-local.foreign.lease",
    "a lease written by another host-local is respected and released",
    _KEYS,
    SHOULD,
    plugins=_LOCAL,
    each=("new", "legacy"),
)
def foreign_lease(t: Trial) -> None:
    t.warm()
    container = t.container()
    ending = f"\r\n{container.ifname}" if t.parameter == "new" else ""
    with open(_file("10.22.0.3"), "w", newline="") as file:
        file.write(container.id + ending)
    other = t.add(t.container())
    t.expect(bare(other.result) != ["10.22.0.3"], "not the address that is taken", other.result)
    t.delete(container)
    t.expect(not os.path.exists(_file("10.22.0.3")), "the lease is released", t.show()["files"])
    t.expect(os.path.exists(_file(bare(other.result)[0])), "the other lease stays", t.show()["files"])


@case(
    "host-local.empty",
    "an empty lease file, left by a crash, does not block an address for ever",
    _KEYS,
    QUALITY,
    plugins=_LOCAL,
)
def empty_file(t: Trial) -> None:
    os.makedirs(_LEASES)
    with open(_file("10.22.0.2"), "w"):
        pass
    config = t.with_ipam(ranges=[[{"subnet": "10.22.0.0/30"}]])
    container = t.add(config=config)
    t.expect(bare(container.result) == ["10.22.0.2"], "10.22.0.2, the only address", container.result)


@case(
    "host-local.directory",
    "a directory where a lease should be is an error, or another address is taken",
    _KEYS,
    QUALITY,
    plugins=_LOCAL,
)
def directory(t: Trial) -> None:
    os.makedirs(_file("10.22.0.2"))
    reply = t.run("ADD", t.container())
    if reply.status:
        reply.refused()
    else:
        t.expect(bare(reply.document()) != ["10.22.0.2"], "another address", reply.summary())


@case(
    "host-local.unique",
    "no address is given twice, the gateway, network and broadcast addresses never",
    _KEYS,
    MUST,
    plugins=_LOCAL,
)
def unique(t: Trial) -> None:
    config = t.with_ipam(ranges=[[{"subnet": "10.22.0.0/28"}]])
    found = [bare(t.add(config=config).result)[0] for _ in range(13)]
    wanted = [str(ip_address("10.22.0.0") + number) for number in range(2, 15)]
    t.expect(sorted(found, key=ip_address) == wanted, f"{wanted[0]} to {wanted[-1]}, each once", found)


@case(
    "host-local.exhausted", "a full range is an error; a released address is given again", _KEYS, MUST, plugins=_LOCAL
)
def exhausted(t: Trial) -> None:
    config = t.with_ipam(ranges=[[{"subnet": "10.22.0.0/29"}]])
    held = [t.add(config=config) for _ in range(5)]
    last = t.container("last")
    before = t.show()
    t.run("ADD", last, config).refused()
    t.same(before, "a failed ADD leaves nothing behind")
    t.delete(held[2], config)
    t.expect(bare(t.add(last, config).result) == bare(held[2].result), f"{bare(held[2].result)}", last.result)


@case(
    "host-local.round", "an address that was just released is not the next to be given", _KEYS, SHOULD, plugins=_LOCAL
)
def round_robin(t: Trial) -> None:
    first = t.add()
    t.delete(first)
    second = t.add(t.container())
    t.expect(bare(second.result) != bare(first.result), "the next address", bare(second.result))


@case(
    "host-local.duplicate",
    "a second ADD of the same attachment is an error, and the lease stays",
    "Section 2: ADD",
    SHOULD,
    plugins=_LOCAL,
)
def duplicate(t: Trial) -> None:
    container = t.add()
    before = t.show()["files"]
    t.run("ADD", container).refused()
    t.expect(t.show()["files"] == before, "the leases as before", t.show()["files"])


@case(
    "host-local.check",
    "CHECK fails when the lease is gone, or somebody else's",
    "Section 2: CHECK",
    SHOULD,
    plugins=_LOCAL,
    since="0.4.0",
    each=("gone", "taken"),
)
def check_lease(t: Trial) -> None:
    container = t.add()
    t.control(container)
    path = _file(bare(container.result)[0])
    os.unlink(path)
    if t.parameter == "taken":
        with open(path, "w") as file:
            file.write("somebody\r\neth0")
    t.check(container).refused()


@case("host-local.mine", "DEL releases nobody else's lease", "Section 2: DEL", MUST, plugins=_LOCAL)
def only_own(t: Trial) -> None:
    container, other = t.add(), t.container("c1x")
    other.id = container.id + "x"
    t.add(other)
    container.ifname = "eth1"
    t.delete(container)
    container.ifname = "eth0"
    t.expect(os.path.exists(_file(bare(container.result)[0])), "the lease of eth0 stays when eth1 goes")
    t.delete(container)
    t.expect(os.path.exists(_file(bare(other.result)[0])), f"the lease of {other.id} stays")


_REQUESTS: Dict[str, Dict[str, Any]] = {
    "CNI_ARGS": {},
    "args": {"args": {"cni": {"ips": ["10.22.0.123"]}}},
    "runtimeConfig": {"runtimeConfig": {"ips": ["10.22.0.123/24"]}},
}


@case("host-local.requested", "an address may be asked for", _KEYS, SHOULD, plugins=_LOCAL, each=tuple(_REQUESTS))
def requested(t: Trial) -> None:
    container = _ask(t, t.container(), "10.22.0.123")
    t.expect(bare(container.result) == ["10.22.0.123"], "10.22.0.123", container.result)


def _ask(t: Trial, container: Container, address: str) -> Container:
    args = f"IP={address}" if t.parameter == "CNI_ARGS" else None
    return t.add(container, t.config(**_REQUESTS[t.parameter]), CNI_ARGS=args)


@case(
    "host-local.requested.refused",
    "an address that is taken, the gateway's or outside is refused, and nothing kept",
    _KEYS,
    SHOULD,
    plugins=_LOCAL,
    each=("taken", "gateway", "outside", "nonsense"),
)
def refused(t: Trial) -> None:
    taken = bare(t.add().result)[0]
    wanted = {"taken": taken, "gateway": "10.22.0.1", "outside": "192.0.2.1", "nonsense": "ten"}[t.parameter]
    container = t.container()
    before = t.show()["files"]
    t.run("ADD", container, CNI_ARGS=f"IP={wanted}").refused()
    t.expect(t.show()["files"] == before, "the leases as before", t.show()["files"])


@case("host-local.resolv", "resolvConf is read into dns", _KEYS, SHOULD, plugins=_LOCAL)
def resolv_conf(t: Trial) -> None:
    path = "/run/podwire-conform/resolv.conf"
    with open(path, "w") as file:
        file.write("# a comment\nnameserver 192.0.2.53\nsearch a.test b.test\noptions ndots:2\ndomain c.test\n")
    dns = t.add(config=t.with_ipam(resolvConf=path)).result.get("dns")
    wanted = {"nameservers": ["192.0.2.53"], "domain": "c.test", "search": ["a.test", "b.test"], "options": ["ndots:2"]}
    t.expect(dns == wanted, str(wanted), dns)
    t.run("ADD", t.container(), t.with_ipam(resolvConf="/nowhere/resolv.conf")).refused()


@case("host-local.data", "dataDir holds the leases", _KEYS, SHOULD, plugins=_LOCAL)
def data_directory(t: Trial) -> None:
    config = t.with_ipam(dataDir="/run/leases")
    container = t.add(config=config)
    t.expect(
        os.path.isfile(f"/run/leases/conform/{bare(container.result)[0]}"), "a lease in dataDir", t.show()["files"]
    )
    t.expect(not os.path.exists(_LEASES), "none elsewhere", t.show()["files"])
    t.delete(container, config)


@case(
    "host-local.readonly",
    "a directory that cannot be written is an error result",
    "Section 5: Error",
    MUST,
    plugins=_LOCAL,
)
def read_only(t: Trial) -> None:
    t.run("ADD", t.container(), t.with_ipam(dataDir="/proc/leases")).refused()


@case("host-local.networks", "networks do not share leases", _KEYS, MUST, plugins=_LOCAL)
def networks(t: Trial) -> None:
    first = t.add()
    second = t.add(t.container(), t.config(name="other"))
    t.expect(bare(first.result) == bare(second.result), "the same first address", [first.result, second.result])
    t.delete(first)
    t.check(second, t.config(name="other")).succeeded()


@case(
    "host-local.concurrent",
    "forty ADDs at once get forty addresses, and forty DELs leave none",
    "Section 3: Lifecycle & Ordering",
    MUST,
    plugins=_LOCAL,
)
def concurrent(t: Trial) -> None:
    container = t.container("many")

    def at_once(command: str) -> List[Any]:
        jobs = [t.begin(command, container, t.config(), CNI_CONTAINERID=f"many-{number}") for number in range(40)]
        return [reply.succeeded() for reply in t.at_once(jobs)]

    found = [bare(reply.document())[0] for reply in at_once("ADD")]
    t.expect(len(set(found)) == 40, "forty different addresses", sorted(found))
    at_once("DEL")
    left = [name for name in os.listdir(_LEASES) if name[0].isdigit()]
    t.expect(not left, "no lease", left)


@case(
    "host-local.full",
    "a full disk is an error that loses no address: nothing is left, and the next ADD works",
    "Section 5: Error",
    QUALITY,
    plugins=_LOCAL,
)
def full_disk(t: Trial) -> None:
    data = "/run/full"
    os.mkdir(data)
    mount("tmpfs", data, "tmpfs", data="size=64k")
    config = t.with_ipam(dataDir=data, ranges=[[{"subnet": "10.22.0.0/29"}]])
    first = t.add(config=config)
    t.delete(first, config)
    with suppress(OSError), open(f"{data}/filler", "wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    for _ in range(2):
        t.run("ADD", t.container(), config).refused()
    leases = [name for name in os.listdir(f"{data}/conform") if name.startswith("10.")]
    t.expect(not leases, "no lease of a failed ADD", leases)
    os.unlink(f"{data}/filler")
    found = [bare(t.add(config=config).result)[0] for _ in range(5)]
    t.expect(len(set(found)) == 5, "all five addresses", found)
