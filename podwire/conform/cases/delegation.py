"""Delegation: how the plugin calls an IPAM plugin, seen from inside that plugin."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, Mapping, Optional

from .. import stub
from ..case import MAIN, MUST, QUALITY, SHOULD, Failed, case
from ..node import HOME
from ..shape import convert
from ..trial import Trial

_PROTOCOL = "Section 4: Delegated Plugin protocol"
_PROCEDURE = "Section 4: Delegated plugin execution procedure"
_NOT = ("loopback", "flannel")
_ERROR = {"code": 122, "msg": "no such pool", "details": "asked for by the suite"}


def _error(t: Trial) -> Dict[str, Any]:
    return {"cniVersion": t.version, **_ERROR}


def _same_environment(call: stub.Call, environment: Mapping[str, Optional[str]]) -> None:
    for key, value in environment.items():
        if key.startswith("CNI_") and call.environment.get(key) != value:
            raise Failed(f"the delegate gets {key}={value}", str(call.environment.get(key)))


@case(
    "delegate.call",
    "the delegate gets the same environment and the complete configuration",
    _PROTOCOL,
    MUST,
    kinds=[MAIN],
    excluded=_NOT,
    each=("ADD", "DEL", "CHECK"),
)
def call(t: Trial) -> None:
    config = t.stubbed(**{"x-notes": {"deep": [1, 2, {"a": None}]}})
    args = "IgnoreUnknown=1;COLOUR=green"
    container = t.add(config=config, CNI_ARGS=args)
    if t.parameter != "ADD":
        t.run(t.parameter, container, config, CNI_ARGS=args).succeeded()
    calls = stub.calls(t.parameter)
    t.expect(len(calls) == 1, f"the delegate is called once with {t.parameter}", f"{len(calls)} times")
    _same_environment(calls[0], {**t.environment(t.parameter, container), "CNI_ARGS": args})
    sent, received = json.loads(t.replies[-1].stdin), json.loads(calls[0].stdin)
    missing = [key for key in sent if received.get(key) != sent[key] and key != "prevResult"]
    t.expect(not missing, "every key of the configuration as it was given", f"other {missing} in {received}")


@case(
    "delegate.addresses",
    "what the delegate gives is what the interface gets",
    _PROTOCOL,
    MUST,
    kinds=[MAIN],
    excluded=_NOT,
)
def given(t: Trial) -> None:
    container = t.add(config=t.stubbed())
    shown = " ".join(container.ip(f"address show dev {container.ifname}"))
    t.expect("10.22.0.2/" in shown, "the address 10.22.0.2 of the delegate", shown)


@case(
    "delegate.failed",
    "an error of the delegate's ADD is reported, and DEL of the delegate called",
    _PROCEDURE,
    SHOULD,
    kinds=[MAIN],
    excluded=_NOT,
)
def failed(t: Trial) -> None:
    stub.answer("ADD", _error(t), 1)
    t.run("ADD", t.container(), t.stubbed()).refused(mentions=["no such pool"])
    commands = [each.command for each in stub.calls()]
    t.expect(commands == ["ADD", "DEL"], "the delegate is called with ADD, then DEL", commands)


@case(
    "delegate.failed.code",
    "the error code of the delegate is passed on",
    _PROCEDURE,
    QUALITY,
    kinds=[MAIN],
    excluded=_NOT,
)
def failed_code(t: Trial) -> None:
    stub.answer("ADD", _error(t), 1)
    error = t.run("ADD", t.container(), t.stubbed()).refused(122)
    t.expect(error.get("details") == _ERROR["details"], f"details {_ERROR['details']!r}", error)


@case(
    "delegate.garbage",
    "garbage from a delegate is an error, and its DEL is called",
    _PROCEDURE,
    SHOULD,
    kinds=[MAIN],
    excluded=_NOT,
)
def garbage(t: Trial) -> None:
    stub.answer("ADD", {"cniVersion": t.version, "ips": [{"address": "nonsense"}]})
    t.run("ADD", t.container(), t.stubbed()).refused()
    commands = [each.command for each in stub.calls()]
    t.expect(commands[-1:] == ["DEL"], "the delegate is called with DEL at last", commands)


@case(
    "delegate.late",
    "DEL of the delegate is called when ADD fails after it",
    _PROCEDURE,
    SHOULD,
    kinds=[MAIN],
    excluded=_NOT,
)
def late(t: Trial) -> None:
    container = t.container()
    container.ip(f"link add {container.ifname} type bridge")
    t.run("ADD", container, t.stubbed()).refused()
    commands = [each.command for each in stub.calls()]
    t.expect(
        not commands or commands[-1] == "DEL", "no address stays reserved: DEL is the delegate's last call", commands
    )


@case(
    "delegate.passed",
    "errors of the delegate are passed on",
    _PROCEDURE,
    MUST,
    kinds=[MAIN],
    excluded=_NOT,
    each=("CHECK", "DEL"),
)
def passed_on(t: Trial) -> None:
    container = t.add(config=t.stubbed())
    stub.answer(t.parameter, _error(t), 1)
    t.run(t.parameter, container, t.stubbed()).refused(mentions=["no such pool"])


@case(
    "delegate.missing",
    "a delegate that does not exist is an error",
    _PROCEDURE,
    MUST,
    kinds=[MAIN],
    excluded=_NOT,
)
def missing(t: Trial) -> None:
    t.run("ADD", t.container(), t.config(ipam={"type": "no-such-plugin"})).refused()


@case(
    "delegate.path",
    "ipam.type is a file name: one with a slash is never executed",
    "Section 1: Plugin configuration objects",
    MUST,
    kinds=[MAIN],
    excluded=_NOT,
    each=("absolute", "relative"),
)
def path(t: Trial) -> None:
    os.makedirs(f"{HOME}/other", exist_ok=True)
    marker = f"{HOME}/executed"
    with open(f"{HOME}/other/evil", "w") as file:
        file.write(f"#!/bin/sh\n: >{marker}\n")
    os.chmod(f"{HOME}/other/evil", 0o755)
    name = f"{HOME}/other/evil" if t.parameter == "absolute" else "../other/evil"
    t.run("ADD", t.container(), t.config(ipam={"type": name})).refused()
    t.expect(not os.path.exists(marker), f"{name} is not executed", "it was")


@case(
    "delegate.stderr",
    "what the delegate says on stderr is on the plugin's stderr",
    _PROCEDURE,
    SHOULD,
    kinds=[MAIN],
    excluded=_NOT,
)
def stderr(t: Trial) -> None:
    stub.answer("ADD", json.loads(_good(t)), 0, "the pool runs low\n")
    t.add(config=t.stubbed())
    t.expect(b"the pool runs low" in t.replies[-1].stderr, "the delegate's words on stderr", t.replies[-1].stderr)


def _good(t: Trial) -> str:
    return json.dumps(convert({"ips": [{"address": "10.22.0.9/24", "gateway": "10.22.0.1"}]}, t.version))


@case(
    "delegate.netns",
    "DEL is forwarded to the delegate also without CNI_NETNS",
    "Section 2: DEL",
    MUST,
    kinds=[MAIN],
    excluded=_NOT,
)
def without_netns(t: Trial) -> None:
    container = t.add(config=t.stubbed())
    t.delete(container, t.stubbed(), CNI_NETNS="")
    t.expect(len(stub.calls("DEL")) == 1, "the delegate is called with DEL", f"{len(stub.calls('DEL'))} times")
