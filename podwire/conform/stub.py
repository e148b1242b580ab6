"""A delegate of the suite: an IPAM plugin that writes down how it was called and answers what it is told to."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from .node import HOME
from .shape import VERSIONS, convert
from .subject import GATEWAY

NAME = "conform-ipam"
DIRECTORY = HOME + "/bin"
_STATE = HOME + "/stub"
_CALLS = _STATE + "/calls"
#: Numbers calls without a lock: mkdir(2) succeeds once. ``@`` in an answer is a free host number.
_SCRIPT = f"""#!/bin/sh
n=1
while ! mkdir {_CALLS}/$n 2>/dev/null; do n=$((n+1)); done
cat >{_CALLS}/$n/stdin
cat /proc/self/environ >{_CALLS}/$n/environ
cd {_STATE}
[ -f $CNI_COMMAND.stderr ] && cat $CNI_COMMAND.stderr >&2
[ -f $CNI_COMMAND.stdout ] && sed "s/@/$((n+1))/" $CNI_COMMAND.stdout
[ -f $CNI_COMMAND.status ] && exit $(cat $CNI_COMMAND.status)
exit 0
"""


class Call(NamedTuple):
    """How the stub was called."""

    environment: Dict[str, str]
    stdin: bytes

    @property
    def command(self) -> str:
        return self.environment.get("CNI_COMMAND", "")


def install(version: str) -> None:
    """Put it on the node; it answers ADD with a fresh address of the network."""
    os.makedirs(DIRECTORY, exist_ok=True)
    shutil.rmtree(_STATE, ignore_errors=True)
    os.makedirs(_CALLS)
    path = f"{DIRECTORY}/{NAME}"
    if not os.path.exists(path):
        with open(path, "w") as file:
            file.write(_SCRIPT)
        os.chmod(path, 0o755)
    answer(
        "ADD",
        convert({"ips": [{"address": "10.22.0.@/24", "gateway": GATEWAY}], "routes": [{"dst": "0.0.0.0/0"}]}, version),
    )
    answer("VERSION", {"cniVersion": version, "supportedVersions": list(VERSIONS)})


def answer(command: str, stdout: Optional[Mapping[str, Any]], status: int = 0, stderr: str = "") -> None:
    """What it does from now on for a command."""
    for name, text in (
        ("stdout", json.dumps(stdout) if stdout is not None else ""),
        ("status", str(status)),
        ("stderr", stderr),
    ):
        with open(f"{_STATE}/{command}.{name}", "w") as file:
            file.write(text)


def calls(command: str = "") -> List[Call]:
    """Its calls so far but for VERSION, in order; of one command if given."""
    found = []
    for number in sorted(map(int, os.listdir(_CALLS))):
        with open(f"{_CALLS}/{number}/stdin", "rb") as stdin, open(f"{_CALLS}/{number}/environ", "rb") as environ:
            pairs = [each.decode().partition("=") for each in environ.read().split(b"\0") if each]
            found.append(Call({key: value for key, _, value in pairs}, stdin.read()))
    return [call for call in found if call.command != "VERSION" and command in ("", call.command)]
