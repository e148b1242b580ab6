"""Delegates of plugins: IPAM, and flannel's delegate. Podwire's own run in this process, others are executed.

Which one is meant is decided by what stands in CNI_PATH, as for every runtime: podwire's launchers carry a mark.
Source: CNI spec 1.1.0, section 4.
"""

from __future__ import annotations

import sys

from ...errors import CNI_DECODING_FAILURE, CniError
from ...jsontext import loads
from ...startup_typing import TYPE_CHECKING
from ..skel import PLUGINS, CmdArgs, canonical, load
from ..spec import invoke
from ..spec.netconf import NetConf
from ..spec.result import Result

if TYPE_CHECKING:
    from typing import Callable


def add(call: CmdArgs, plugin: str) -> Result:
    """ADD of a delegate. One that is executed and fails is told DEL before its error is raised (section 4)."""
    path = _find(call, plugin)
    if _is_own(plugin, path):
        return load(plugin).add(_for(call, plugin))
    try:
        answer = invoke.call(path, call.environ, call.stdin)
        return _result(path, answer)
    except CniError as error:
        try:
            invoke.call(path, {**call.environ, "CNI_COMMAND": "DEL"}, call.stdin)
        except CniError as second:
            print(f"{plugin}: DEL after a failed ADD failed too: {second}", file=sys.stderr)
        raise error


def check(call: CmdArgs, plugin: str) -> None:
    """CHECK of a delegate."""
    _forward(call, plugin, "CHECK")


def delete(call: CmdArgs, plugin: str) -> None:
    """DEL of a delegate, also on the way back from a failed ADD."""
    _forward(call, plugin, "DEL")


def deletion(call: CmdArgs, plugin: str) -> Callable[[], None]:
    """DEL of a delegate, got ready: what is called does it."""
    path = _find(call, plugin)
    if not _is_own(plugin, path):
        return lambda: delete(call, plugin)
    module = load(plugin)
    ready = getattr(module, "deletion", None)
    found: Callable[[], None] = ready(_for(call, plugin)) if ready else lambda: module.delete(_for(call, plugin))
    return found


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
    module = load(plugin)
    run = {"CHECK": module.check, "DEL": module.delete, "GC": module.collect, "STATUS": module.status}[command]
    run(_for(call, plugin))


def is_own(call: CmdArgs, plugin: str) -> bool:
    """Whether a delegate is podwire's; CniError if CNI_PATH has none."""
    return _is_own(plugin, _find(call, plugin))


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
