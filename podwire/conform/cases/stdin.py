"""What comes on stdin: bytes of any kind, names, and keys that runtimes add."""

from __future__ import annotations

import json

from ..case import MUST, QUALITY, SHOULD, case
from ..trial import Trial

_FORMAT = "Section 1: Configuration format"
_GARBAGE = {
    "empty": b"",
    "space": b" \n",
    "truncated": b'{"cniVersion": "1.0.0", "name": "conf',
    "array": b"[]",
    "null": b"null",
    "string": b'"bridge"',
    "number": b"1e999",
    "binary": bytes(range(256)),
    "nul": b"\0" * 64,
    "deep": b'{"name":' + b"[" * 100000,
    "types": b'{"cniVersion": "1.0.0", "name": {"a": 1}, "type": []}',
}


@case(
    "stdin.garbage",
    "bytes that are no configuration give an error result, and nothing is done",
    "Section 5: Error",
    MUST,
    each=tuple(_GARBAGE),
)
def garbage(t: Trial) -> None:
    container = t.container()
    before = t.show()
    t.run("ADD", container, stdin=_GARBAGE[t.parameter]).refused()
    t.same(before, "nothing changes for bytes that are no configuration")


@case(
    "stdin.garbage.code",
    "undecodable bytes give code 6",
    "Section 5: Error",
    SHOULD,
    each=("empty", "truncated", "binary"),
)
def garbage_code(t: Trial) -> None:
    t.run("ADD", t.container(), stdin=_GARBAGE[t.parameter]).refused(6)


@case(
    "stdin.garbage.del",
    "DEL and CHECK refuse bytes that are no configuration too",
    "Section 5: Error",
    MUST,
    each=("DEL", "CHECK"),
)
def garbage_del(t: Trial) -> None:
    container = t.container()
    for data in (b"", b"{"):
        t.run(t.parameter, container, stdin=data).refused()


@case("stdin.name.missing", "a configuration without name is invalid: code 7", _FORMAT, MUST)
def no_name(t: Trial) -> None:
    for value in (None, ""):
        t.run("ADD", t.container(), t.config(name=value)).refused(7)


_BAD_NAMES = {
    "slash": "a/b",
    "dots": "../../evil",
    "dash-first": "-a",
    "space": "a b",
    "newline": "a\n",
    "unicode": "n\u00e4t",
}


@case(
    "stdin.name.invalid",
    "a network name with forbidden characters is invalid: code 7",
    _FORMAT,
    MUST,
    each=tuple(_BAD_NAMES),
)
def bad_name(t: Trial) -> None:
    container = t.container()
    before = t.show()
    t.run("ADD", container, t.config(name=_BAD_NAMES[t.parameter])).refused(7)
    t.same(before, "nothing changes for an invalid network name")


@case("stdin.name.del", "DEL with a network name that is a path touches nothing outside", _FORMAT, MUST)
def del_with_path(t: Trial) -> None:
    container = t.container()
    before = t.show()
    t.run("DEL", container, t.config(name="../../run/netns")).refused(7)
    t.same(before, "nothing changes for an invalid network name")


@case(
    "stdin.runtime.keys",
    "keys that runtimes add are no obstacle: capabilities, args, unknown runtimeConfig, cni.dev/",
    "Section 3: Deriving request configuration",
    SHOULD,
)
def runtime_keys(t: Trial) -> None:
    config = t.config()
    config["capabilities"] = {"portMappings": True, "io.kubernetes.cri.pod-annotations": True}
    config["runtimeConfig"] = {**config.get("runtimeConfig", {}), "io.kubernetes.cri.pod-annotations": {"a": "b"}}
    config["args"] = {"cni": {"labels": [{"key": "a", "value": "b"}]}}
    config["cni.dev/attachments"] = []
    container = t.add(config=config)
    t.delete(container, config)


@case("stdin.large", "a configuration of a megabyte works", _FORMAT, QUALITY)
def large(t: Trial) -> None:
    config = t.config(**{"x-notes": "n" * (1 << 20)})
    container = t.add(config=config)
    t.delete(container, config)


@case("stdin.spaces", "JSON may be indented, escaped and begin with white space", _FORMAT, MUST)
def spaces(t: Trial) -> None:
    container = t.container()
    config = {**t.config(), **({"prevResult": container.prev_result} if container.prev_result else {})}
    if container.prev_result:
        config["cniVersion"] = config["prevResult"]["cniVersion"] = t.version
        config = json.loads(json.dumps(config))
    text = "\n\t " + json.dumps(config, indent=4).replace('"conform"', '"\\u0063onform"') + "\r\n"
    t.run("DEL", container, stdin=text.encode()).succeeded()


@case("error.version", "error results carry the cniVersion of the configuration", "Section 5: Error", SHOULD)
def error_version(t: Trial) -> None:
    error = t.run("ADD", t.container(), t.config(name="a/b")).refused()
    t.expect(error.get("cniVersion") == t.version, f'"cniVersion": "{t.version}" in the error', error)


@case("error.stdout", "an error is the only document on stdout", "Section 5: Error", MUST)
def error_alone(t: Trial) -> None:
    t.run("ADD", t.container(), t.config(name="a/b")).refused()
    t.run("ADD", t.container(), CNI_NETNS="/run/netns/nowhere", CNI_IFNAME="a/b").refused()
