"""VERSION, and how each version of the specification is spoken."""

from __future__ import annotations

from ..case import ANNOUNCED, IPAM, MUST, QUALITY, SHOULD, case
from ..shape import VERSIONS, number, older, validate
from ..subject import announced, ask
from ..trial import Trial

_VERSION = "Section 2: VERSION"


@case("version.list", "VERSION lists the supported versions", "Section 5: VERSION Success", MUST)
def listed(t: Trial) -> None:
    reply = ask(t.subject, b'{"cniVersion": "1.0.0"}').succeeded()
    found = reply.document().get("supportedVersions")
    fits = isinstance(found, list) and found and all(isinstance(each, str) and number(each) != (0,) for each in found)
    t.expect(fits, "supportedVersions is a list of versions", found)


@case("version.current", "the plugin speaks the current version 1.1.0", "Version", QUALITY)
def current(t: Trial) -> None:
    t.expect("1.1.0" in t.subject.versions, "1.1.0 among the supported versions", " ".join(t.subject.versions))


@case("version.echo", "VERSION answers with the cniVersion that it was asked with", "Section 5: VERSION Success", MUST)
def echo(t: Trial) -> None:
    for version in ("0.4.0", "1.0.0"):
        found = ask(t.subject, b'{"cniVersion": "%s"}' % version.encode()).document().get("cniVersion")
        t.expect(found == version, f'"cniVersion": "{version}"', f'"cniVersion": "{found}"')


@case("version.robust", "VERSION answers whatever is on stdin", _VERSION, SHOULD, each=("empty", "future", "none"))
def robust(t: Trial) -> None:
    given = {"empty": b"", "future": b'{"cniVersion": "9.9.9"}', "none": b"{}"}[t.parameter]
    found = announced(ask(t.subject, given).succeeded())
    t.expect(found == t.subject.versions, "the same supported versions", found)


@case(
    "version.incompatible",
    "a version that is not announced is refused with code 1",
    "Section 5: Error",
    MUST,
    each=("9.9.9", "0.9.0", "1.0.9"),
)
def incompatible(t: Trial) -> None:
    container = t.container()
    before = t.show()
    t.run("ADD", container, t.config(cniVersion=t.parameter)).refused(1)
    t.same(before, "nothing changes for an unknown version")


@case("version.unreadable", "a cniVersion that is none is refused with code 1 or 6", "Section 5: Error", MUST)
def unreadable(t: Trial) -> None:
    container = t.container()
    for version in ("one", "1", "1.x.0", "-1.0.0"):
        t.run("ADD", container, t.config(cniVersion=version)).refused(1, 6)


@case("version.absent", "a configuration without cniVersion is one of 0.1.0", "Version considerations", SHOULD)
def absent(t: Trial) -> None:
    container = t.container()
    if "0.1.0" not in t.subject.versions:
        t.run("ADD", container, t.config(cniVersion=None)).refused(1)
        return
    config = {key: value for key, value in t.config().items() if key != "cniVersion"}
    container = t.add(container, config)
    if t.subject.type != "loopback":
        validate({"cniVersion": "0.1.0", **container.result}, "0.1.0")
    t.delete(container, {**config, "prevResult": container.result})


@case(
    "version.result",
    "the result has the version and shape of the configuration's cniVersion",
    "Section 5: ADD Success",
    MUST,
    each=ANNOUNCED,
)
def result(t: Trial) -> None:
    if t.parameter not in VERSIONS:
        t.expect(False, "a released version of the specification", t.parameter)
    config = t.config(cniVersion=t.parameter)
    container = t.add(config=config)
    validate(container.result, t.parameter, ipam=t.subject.kind == IPAM)
    t.delete(container, config)


@case(
    "version.check",
    "CHECK works with every version since 0.4.0, and is refused with code 1 before",
    "Section 2: CHECK",
    SHOULD,
    each=ANNOUNCED,
)
def old_check(t: Trial) -> None:
    config = t.config(cniVersion=t.parameter)
    container = t.add(config=config)
    if older(t.parameter, "0.4.0"):
        t.check(container, config).refused(1)
    else:
        t.check(container, config).silent()


@case(
    "version.new.commands",
    "GC and STATUS of a configuration before 1.1.0 are refused with code 1",
    "Section 2: GC",
    QUALITY,
    since="1.1.0",
    each=("GC", "STATUS"),
)
def old_commands(t: Trial) -> None:
    t.run(t.parameter, None, t.config(cniVersion="1.0.0")).refused(1)
