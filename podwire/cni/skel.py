"""The executable side of CNI: environment and stdin in, one JSON document and an exit status out.

Source: CNI spec 1.1.0, section 2.

What is checked, in this order: CNI_COMMAND, container id and interface name, missing variables, JSON, network name,
version, and that CNI_NETNS is not the plugin's own namespace. Only then a plugin runs, so that whatever is refused
here has changed nothing. Every failure is one JSON error with the configuration's cniVersion and a well-known code.
"""

from __future__ import annotations

import sys

from ..errors import (
    CNI_DECODING_FAILURE,
    CNI_INCOMPATIBLE_VERSION,
    CNI_INVALID_ENVIRONMENT,
    CNI_INVALID_NETWORK_CONFIG,
    CniError,
    PodwireError,
)
from ..jsontext import dumps
from ..startup_typing import TYPE_CHECKING
from .spec.cmdargs import CmdArgs, Commands
from .spec.failure import as_cni_error, failure_json
from .spec.keys import canonical
from .spec.netconf import VERSIONS, Attachment, NetConf, is_name, parse_object, refuse_own_namespace
from .spec.registry import PLUGINS
from .spec.result import Result

if TYPE_CHECKING:
    from typing import Any, BinaryIO, Dict, Mapping, Optional, Tuple

    from .plugins.plugin import Plugin

#: The newest version, which errors and VERSION have when the configuration says nothing.
NEWEST = VERSIONS[-1]
_VARIABLES = ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH")
_REQUIRED: Mapping[str, Tuple[str, ...]] = {
    "ADD": _VARIABLES,
    "CHECK": _VARIABLES,
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"),
    "GC": ("CNI_PATH",),
    "STATUS": (),
}
_SINCE = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}


def main(plugin_name: str, environ: Mapping[str, str], stdin: BinaryIO, stdout: BinaryIO) -> int:
    """Do what the environment asks of a plugin; the exit status. Nothing but one JSON document goes to ``stdout``."""
    command = environ.get("CNI_COMMAND", "")
    if not command:
        about = (
            f"podwire's CNI {plugin_name} plugin\nCNI protocol versions supported: {', '.join(_versions(plugin_name))}"
        )
        print(about, file=sys.stderr)
        return 0
    data, status = b"", 0
    try:
        data = stdin.read()
        answer = _version(plugin_name, data) if command == "VERSION" else run(plugin_name, environ, data)
    except Exception as error:
        failure = as_cni_error(error)
        if not isinstance(error, (PodwireError, OSError)):  # a bug: where, for whoever repairs it
            sys.excepthook(*sys.exc_info())
        answer, status = failure_json(failure, _version_of(data)), 1
    try:
        if answer is not None:
            _print(stdout, answer)
    except OSError as error:
        print(f"{plugin_name}: failed to write to stdout: {error}", file=sys.stderr)
        if command == "ADD" and status == 0:  # nobody gets to know what was made
            run(plugin_name, {**environ, "CNI_COMMAND": "DEL"}, data)
        return 1
    return status


def run(plugin_name: str, environ: Mapping[str, str], stdin: bytes) -> Optional[Dict[str, Any]]:
    """One command other than VERSION; the result as JSON objects, None where there is none. Raises on failure."""
    command = environ.get("CNI_COMMAND", "")
    if command not in _REQUIRED:
        raise CniError(CNI_INVALID_ENVIRONMENT, f"unknown CNI_COMMAND: {command}")
    call = parse(plugin_name, environ, stdin)
    _refuse_own_namespace(call)
    plugin = load(plugin_name)
    if command == "ADD":
        result = plugin.add(call)
        try:
            return result.to_json(call.conf.cni_version)
        except CniError:  # a version that cannot say what there is
            plugin.delete(call)
            raise
    {"CHECK": plugin.check, "DEL": plugin.delete, "GC": plugin.collect, "STATUS": plugin.status}[command](call)
    return None


def load(plugin_name: str) -> Commands:
    """The commands of a plugin. Only the one that is called is imported; the engine runs those that are projections."""
    module_name, _, projects = PLUGINS[plugin_name]
    package = __name__.rpartition(".")[0]
    module = __import__(f"{package}.plugins.{module_name}", fromlist=["COMMANDS"])
    if projects:
        from .engine.commands import EngineCommands

        plugin: Plugin = module.PLUGIN
        return EngineCommands(plugin)
    commands: Commands = module.COMMANDS
    return commands


def parse(plugin_name: str, environ: Mapping[str, str], stdin: bytes) -> CmdArgs:
    """Environment and configuration, validated; CniError 4, 6, 7 or 1."""
    command = environ["CNI_COMMAND"]
    required = _REQUIRED[command]
    attachment = Attachment(
        environ.get("CNI_CONTAINERID", ""), environ.get("CNI_IFNAME", ""), environ.get("CNI_NETNS", "")
    )
    if "CNI_CONTAINERID" not in required:
        attachment = Attachment("", "", "")
    elif attachment.container_id and attachment.ifname:
        attachment.validate()
    elif attachment.container_id:
        attachment._replace(ifname="eth0").validate()
    missing = [name for name in required if not environ.get(name)]
    if missing:
        raise CniError(CNI_INVALID_ENVIRONMENT, f"required env variables [{','.join(missing)}] missing")
    data = canonical(parse_object(_text(stdin), "network configuration"))
    name = data.get("name")
    if not isinstance(name, str) or not name:
        raise CniError(CNI_INVALID_NETWORK_CONFIG, "missing network name")
    if not is_name(name):
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"invalid network name: {name!r}", "letters, digits, _ . - only")
    version = _check_version(plugin_name, command, data.get("cniVersion"))
    _require_objects(data, "args", "runtimeConfig", "ipam")
    _require_objects(data.get("args") or {}, "cni")
    conf = NetConf(version, name, plugin_name, data)
    return CmdArgs(command, attachment, conf, _previous(data), environ, stdin, load)


def _require_objects(data: Mapping[str, Any], *keys: str) -> None:
    for key in keys:
        if not isinstance(data.get(key) or {}, dict):
            raise CniError(CNI_DECODING_FAILURE, f"{key} is {data[key]!r}", "it must be an object")


def _text(stdin: bytes) -> str:
    try:
        return stdin.decode()
    except UnicodeDecodeError as error:
        raise CniError(CNI_DECODING_FAILURE, f"failed to decode the network configuration: {error}") from error


def _check_version(plugin_name: str, command: str, version: Any) -> str:
    supported = _versions(plugin_name)
    if version is None or version == "":
        version = VERSIONS[0]
    if version not in supported:
        readable = isinstance(version, str) and _is_readable(version)
        code = CNI_DECODING_FAILURE if not readable and command in _SINCE else CNI_INCOMPATIBLE_VERSION
        raise CniError(code, "incompatible CNI versions", f"config is {version!r}, plugin supports {list(supported)}")
    if version < _SINCE.get(command, ""):
        raise CniError(
            CNI_INCOMPATIBLE_VERSION,
            f"config version does not allow {command}",
            f"config is {version}, {command} needs {_SINCE[command]}",
        )
    return str(version)


def _is_readable(version: str) -> bool:
    parts = version.split(".")
    return len(parts) == 3 and all(part.isascii() and part.isdigit() for part in parts)


def _versions(plugin_name: str) -> Tuple[str, ...]:
    return tuple(version for version in VERSIONS if version >= PLUGINS[plugin_name].lowest)


def _previous(data: Mapping[str, Any]) -> Optional[Result]:
    previous = data.get("prevResult")
    if previous is None:
        return None
    if not isinstance(previous, dict):
        raise CniError(CNI_DECODING_FAILURE, f"failed to decode prevResult: {previous!r} is not an object")
    return Result.from_json(previous)


def _refuse_own_namespace(call: CmdArgs) -> None:
    if call.attachment.netns and call.environ.get("CNI_NETNS_OVERRIDE", "").upper() not in ("1", "TRUE"):
        refuse_own_namespace(call.attachment.netns)


# --- VERSION and errors ----------------------------------------------------------------------------


def _version(plugin_name: str, stdin: bytes) -> Dict[str, Any]:
    return {"cniVersion": _version_of(stdin), "supportedVersions": list(_versions(plugin_name))}


def _version_of(stdin: bytes) -> str:
    """The configuration's cniVersion; the newest if it has none, or is none."""
    try:
        version = canonical(parse_object(stdin.decode(), "configuration")).get("cniVersion")
    except (CniError, UnicodeDecodeError):
        return NEWEST
    return version if isinstance(version, str) and version else NEWEST


def _print(stdout: BinaryIO, document: Dict[str, Any]) -> None:
    stdout.write(dumps(document).encode() + b"\n")
    stdout.flush()
