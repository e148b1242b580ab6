"""Environment variables: which are required, what they may hold, and how little there may be."""

from __future__ import annotations

import os

from ..call import begin
from ..case import IPAM, MAIN, META, MUST, QUALITY, SHOULD, case
from ..trial import Trial

_PARAMETERS = "Section 2: Parameters"
_REQUIRED = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
}


@case(
    "env.missing",
    "a missing variable is an error of code 4 that names it, and nothing is done",
    "Section 2: CNI operations",
    MUST,
    each=("ADD", "DEL", "CHECK"),
)
def missing(t: Trial) -> None:
    container = t.container()
    before = t.show()
    for name in _REQUIRED[t.parameter]:
        for value in (None, ""):
            t.run(t.parameter, container, **{name: value}).refused(4, mentions=[name])
    t.same(before, f"nothing changes when {t.parameter} lacks a variable")


@case("env.missing.all", "all missing variables are named at once", "Section 5: Error", QUALITY)
def missing_all(t: Trial) -> None:
    names = _REQUIRED["ADD"]
    t.run("ADD", None, **dict.fromkeys(names)).refused(4, mentions=names)


@case("env.command.unknown", "an unknown CNI_COMMAND is an error of code 4", _PARAMETERS, MUST, each=("FROB", "add"))
def unknown_command(t: Trial) -> None:
    t.run(t.parameter, t.container()).refused(4)


@case("env.command.missing", "without CNI_COMMAND nothing is done, and no stdout but an error", _PARAMETERS, QUALITY)
def no_command(t: Trial) -> None:
    container = t.container()
    before = t.show()
    reply = t.run("ADD", container, CNI_COMMAND=None)
    if reply.status:
        reply.refused()
    else:
        t.expect(not reply.stdout.strip(), "nothing on stdout", reply.summary())
    t.same(before, "nothing changes without CNI_COMMAND")


_BAD_IDS = {
    "slash": "a/b",
    "dots": "../x",
    "dash-first": "-a",
    "dot-first": ".a",
    "space": "a b",
    "newline": "a\n",
    "unicode": "bl\u00e4u",
}


@case(
    "env.containerid.invalid",
    "a CNI_CONTAINERID with forbidden characters is an error of code 4, also for DEL",
    _PARAMETERS,
    MUST,
    each=tuple(_BAD_IDS),
)
def bad_container_id(t: Trial) -> None:
    container = t.container()
    before = t.show()
    for command in ("ADD", "DEL"):
        t.run(command, container, CNI_CONTAINERID=_BAD_IDS[t.parameter]).refused(4)
    t.same(before, "nothing changes for an invalid container id")


@case("env.containerid.valid", "every allowed character and a long CNI_CONTAINERID work", _PARAMETERS, MUST)
def good_container_id(t: Trial) -> None:
    t.warm()
    for index, value in enumerate(("a" * 64, "Z", "0_.-z", "a.b-c_D9")):
        container = t.container(f"c{index}")
        container.id = value
        before = t.show()
        t.add(container)
        t.delete(container)
        if t.subject.kind != META:
            t.same(before, "ADD and DEL leave nothing behind")


_BAD_NAMES = {
    "long": "a" * 16,
    "long-unicode": "\u00e9" * 8,
    "dot": ".",
    "dotdot": "..",
    "slash": "a/b",
    "colon": "a:b",
    "space": "a b",
    "newline": "a\n",
}


@case(
    "env.ifname.invalid",
    "a CNI_IFNAME that the kernel cannot take is an error of code 4",
    _PARAMETERS,
    MUST,
    each=tuple(_BAD_NAMES),
)
def bad_ifname(t: Trial) -> None:
    container = t.container()
    before = t.show()
    t.run("ADD", container, CNI_IFNAME=_BAD_NAMES[t.parameter]).refused(4)
    t.same(before, "nothing changes for an invalid interface name")


@case(
    "env.ifname.longest", "an interface name of 15 bytes works", _PARAMETERS, MUST, kinds=[MAIN], excluded=["loopback"]
)
def longest_ifname(t: Trial) -> None:
    container = t.add(t.container(ifname="a23456789012345"))
    t.expect(container.ip("link show dev a23456789012345"), "the interface of that name in the container")
    t.delete(container)


@case(
    "env.order",
    "an invalid container id is reported before a configuration that is no JSON",
    "Section 5: Error",
    QUALITY,
)
def order(t: Trial) -> None:
    t.run("ADD", t.container(), CNI_CONTAINERID="a/b", stdin=b"{").refused(4)


@case(
    "env.netns.missing",
    "ADD into a namespace that does not exist fails and leaves nothing",
    "Section 2: ADD",
    MUST,
    kinds=[MAIN],
)
def no_netns(t: Trial) -> None:
    t.warm()
    container = t.container()
    before = t.show()
    t.run("ADD", container, CNI_NETNS="/run/netns/nowhere").refused()
    t.same(before, "a failed ADD leaves nothing behind")


@case(
    "env.netns.file",
    "ADD into a file that is no namespace fails and leaves nothing",
    "Section 2: ADD",
    MUST,
    kinds=[MAIN],
)
def not_a_netns(t: Trial) -> None:
    t.warm()
    container = t.container()
    before = t.show()
    t.run("ADD", container, CNI_NETNS="/etc/passwd").refused()
    t.same(before, "a failed ADD leaves nothing behind")


@case(
    "env.netns.own",
    "ADD into the plugin's own namespace is refused before anything is done",
    _PARAMETERS,
    SHOULD,
    kinds=[MAIN],
)
def own_netns(t: Trial) -> None:
    t.warm()
    container = t.container()
    before = t.show()
    os.symlink("/proc/self/ns/net", "/run/podwire-conform/own")
    for path in ("/proc/self/ns/net", "/run/podwire-conform/own"):
        t.run("ADD", container, CNI_NETNS=path).refused()
        t.same(before, "the node's own namespace stays as it was")


@case(
    "env.netns.override",
    "CNI_NETNS_OVERRIDE lets ADD work in the plugin's own namespace",
    _PARAMETERS,
    QUALITY,
    plugins=["loopback"],
    since="1.1.0",
    each=("1", "true", "TRUE"),
)
def override(t: Trial) -> None:
    t.run("ADD", t.container(), CNI_NETNS="/proc/self/ns/net", CNI_NETNS_OVERRIDE=t.parameter).succeeded()


@case("env.bare", "CNI_ variables are enough: no PATH, HOME or anything else", _PARAMETERS, SHOULD)
def bare_environment(t: Trial) -> None:
    container = t.add(PATH=None)
    t.delete(container, PATH=None)


@case("env.directory", "any working directory will do, also one that is gone", _PARAMETERS, QUALITY)
def any_directory(t: Trial) -> None:
    container = t.container()
    os.mkdir("/run/podwire-conform/gone")
    here = os.open("/run/podwire-conform/gone", os.O_RDONLY)
    os.rmdir("/run/podwire-conform/gone")
    path = f"/proc/{os.getpid()}/fd/{here}"
    t.add(container, directory=path)
    t.delete(container, directory=path)


@case("env.stdio", "a closed stderr does not matter", "Section 2: Overview", QUALITY)
def closed_stderr(t: Trial) -> None:
    container = t.container()
    job = t.begin("ADD", container)
    assert job.process.stderr
    job.process.stderr.close()
    job.process.stderr = None
    reply = job.reply()
    t.expect(reply.status == 0, "ADD succeeds", f"exit status {reply.status}")
    container.result = reply.document()
    t.delete(container)


@case(
    "env.args.ignored",
    "CNI_ARGS of Kubernetes with IgnoreUnknown=1 are no obstacle",
    "Section 2: Parameters (CNI_ARGS)",
    SHOULD,
    each=("1", "true"),
)
def unknown_args(t: Trial) -> None:
    args = f"IgnoreUnknown={t.parameter};K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=0123"
    container = t.add(CNI_ARGS=args)
    t.delete(container, CNI_ARGS=args)


@case(
    "env.args.malformed",
    "CNI_ARGS without = never break the protocol",
    "Section 2: Parameters (CNI_ARGS)",
    QUALITY,
    kinds=[MAIN, IPAM],
)
def malformed_args(t: Trial) -> None:
    for args in ("FOO", ";;=;", "=", "IP=;"):
        reply = t.run("ADD", t.container(), CNI_ARGS=args)
        if reply.status:
            reply.refused()
        else:
            reply.document()


@case(
    "env.path.list",
    "a delegate is found in any directory of CNI_PATH",
    "Section 4: Delegated plugin execution procedure",
    MUST,
    kinds=[MAIN],
    excluded=["loopback", "flannel"],
)
def path_list(t: Trial) -> None:
    given = f"/nowhere::{t.environment('ADD')['CNI_PATH']}"
    container = t.add(config=t.stubbed(), CNI_PATH=given)
    t.delete(container, t.stubbed(), CNI_PATH=given)


@case("env.version.only", "VERSION needs CNI_COMMAND only", "Section 2: VERSION", MUST)
def version_only(t: Trial) -> None:
    begin(t.subject.program, {"CNI_COMMAND": "VERSION"}, b'{"cniVersion": "1.0.0"}').reply().succeeded().document()
