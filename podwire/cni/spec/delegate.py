"""Delegates of plugins: IPAM, and flannel's delegate. Podwire's own run in this process, others are executed.

Which one is meant is decided by what is in CNI_PATH, as for every runtime: podwire's launchers carry a mark.
Source: CNI spec 1.1.0, section 4.
"""

from __future__ import annotations

import sys

from ...errors import CNI_DECODING_FAILURE, CniError
from ...jsontext import loads
from ...startup_typing import TYPE_CHECKING
from . import invoke
from .cmdargs import CmdArgs
from .keys import canonical
from .netconf import NetConf
from .registry import PLUGINS
from .result import Result

if TYPE_CHECKING:
    from typing import Callable, List

    from ...ipam.store import Claim


def add(call: CmdArgs, plugin: str) -> Result:
    """ADD of a delegate. One that is executed and fails gets a DEL before its error is raised (section 4)."""
    path = _find(call, plugin)
    if _is_own(plugin, path):
        return call.load(plugin).add(_for(call, plugin))
    try:
        answer = invoke.call(path, call.environ, call.stdin)
        return _result(path, answer)
    except CniError as error:
        try:
            invoke.call(path, {**call.environ, "CNI_COMMAND": "DEL"}, call.stdin)
        except CniError as failure:
            print(f"{plugin}: DEL after a failed ADD failed too: {failure}", file=sys.stderr)
        raise error


def check(call: CmdArgs, plugin: str) -> None:
    """CHECK of a delegate."""
    _forward(call, plugin, "CHECK")


def delete(call: CmdArgs, plugin: str) -> None:
    """DEL of a delegate, also on the way back from a failed ADD."""
    _forward(call, plugin, "DEL")


def prepare_delete(call: CmdArgs, plugin: str) -> Callable[[], None]:
    """DEL of a delegate, prepared: calling what is returned does it."""
    path = _find(call, plugin)
    if _is_own(plugin, path):
        return call.load(plugin).prepare_delete(_for(call, plugin))
    return lambda: delete(call, plugin)


def collect(call: CmdArgs, plugin: str) -> None:
    """GC of a delegate."""
    _forward(call, plugin, "GC")


def status(call: CmdArgs, plugin: str) -> None:
    """STATUS of a delegate."""
    _forward(call, plugin, "STATUS")


def _forward(call: CmdArgs, plugin: str, command: str) -> None:
    path = _find(call, plugin)
    if not _is_own(plugin, path):
        invoke.call(path, {**call.environ, "CNI_COMMAND": command}, call.stdin)
        return
    commands = call.load(plugin)
    run = {"CHECK": commands.check, "DEL": commands.delete, "GC": commands.collect, "STATUS": commands.status}[command]
    run(_for(call, plugin))


def stale(call: CmdArgs, plugin: str) -> List[Claim]:
    """Who holds addresses of an IPAM plugin and is not listed as valid; of one that is executed nobody knows."""
    return call.load(plugin).stale(_for(call, plugin)) if _is_own(plugin, _find(call, plugin)) else []


def _find(call: CmdArgs, plugin: str) -> str:
    path = invoke.find(plugin, call.search_path)
    if path is None:
        raise invoke.missing(plugin, call.search_path)
    return path


def _for(call: CmdArgs, plugin: str) -> CmdArgs:
    conf = call.conf
    return call._replace(conf=NetConf(conf.cni_version, conf.name, plugin, conf.data))


def _is_own(plugin: str, path: str) -> bool:
    return plugin in PLUGINS and invoke.is_ours(path)


def _result(path: str, answer: bytes) -> Result:
    try:
        data = loads(answer.decode())
        if not isinstance(data, dict):
            raise ValueError("not an object")
    except ValueError as error:
        raise CniError(CNI_DECODING_FAILURE, f"failed to decode the result of {path}: {error}") from error
    return Result.from_json(canonical(data))
