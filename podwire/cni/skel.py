"""The executable side of CNI: environment and stdin in, one JSON document and an exit status out.

Source: CNI spec 1.1.0, section 2.

What is checked, in this order: CNI_COMMAND, container id and interface name, missing variables, JSON, network name,
version, and that CNI_NETNS is not the plugin's own namespace. Only then a plugin runs, so that whatever is refused
here has changed nothing. Every failure is one JSON error with the configuration's cniVersion and a well-known code.
"""

from __future__ import annotations

import os
import sys

from ..errors import (
    CNI_CONFLICT,
    CNI_DECODING_FAILURE,
    CNI_INCOMPATIBLE_VERSION,
    CNI_INVALID_ENVIRONMENT,
    CNI_INVALID_NETNS,
    CNI_INVALID_NETWORK_CONFIG,
    CNI_IO_FAILURE,
    CNI_KERNEL_FAILURE,
    CNI_NOT_AVAILABLE,
    CniError,
    ConflictError,
    ExhaustedError,
    IpamError,
    PodwireError,
)
from ..jsontext import dumps
from ..startup_typing import TYPE_CHECKING, NamedTuple, Protocol
from .spec.netconf import VERSIONS, Attachment, NetConf, is_name, parse_object
from .spec.result import Result

if TYPE_CHECKING:
    from typing import Any, BinaryIO, Dict, FrozenSet, List, Mapping, Optional, Tuple

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

#: Module of podwire.cni.plugins and lowest version, by the type that a NetConf has.
PLUGINS: Mapping[str, Tuple[str, str]] = {
    "bandwidth": ("bandwidth", "0.3.0"),
    "bridge": ("bridge", "0.1.0"),
    "firewall": ("firewall", "0.4.0"),
    "flannel": ("flannel", "0.1.0"),
    "host-local": ("host_local", "0.1.0"),
    "loopback": ("loopback", "0.1.0"),
    "portmap": ("portmap", "0.3.0"),
    "ptp": ("ptp", "0.1.0"),
    "static": ("static", "0.1.0"),
    "tuning": ("tuning", "0.3.1"),
}


class CmdArgs(NamedTuple):
    """One call of a plugin: the environment, what came on stdin, and what it means.

    ``attachment`` is empty for GC and STATUS. ``previous`` is the configuration's prevResult.
    """

    command: str
    attachment: Attachment
    conf: NetConf
    previous: Optional[Result]
    environ: Mapping[str, str]
    stdin: bytes

    @property
    def search_path(self) -> List[str]:
        """CNI_PATH."""
        return [each for each in self.environ.get("CNI_PATH", "").split(":") if each]

    def argument(self, key: str) -> str:
        """A value of CNI_ARGS, "" if it is not there. CniError 4 for arguments that no plugin knows.

        ``IP=`` is no error for bridge: it is meant for the IPAM plugin that gets the same environment.
        """
        return arguments(self.environ.get("CNI_ARGS", "")).get(key, "")

    def require_previous(self) -> Result:
        """The prevResult; CniError 7 without."""
        if self.previous is None:
            raise CniError(
                CNI_INVALID_NETWORK_CONFIG,
                f"network {self.conf.name}, plugin {self.conf.type}: {self.command} needs a prevResult",
                "a chained plugin comes behind one that makes an interface",
            )
        return self.previous

    def valid_attachments(self) -> Optional[FrozenSet[Tuple[str, str]]]:
        """GC's (container id, interface name) that stay. None if the runtime does not say: nothing goes then."""
        listed = self.conf.data.get("cni.dev/valid-attachments")
        if listed is None:
            print(
                f"{self.conf.type}: no cni.dev/valid-attachments in network {self.conf.name}: nothing is collected",
                file=sys.stderr,
            )
            return None
        if not isinstance(listed, list):
            raise _malformed(listed)
        found = set()
        for each in listed:
            container_id, ifname = (each.get("containerID"), each.get("ifname")) if isinstance(each, dict) else ("", "")
            if not (isinstance(container_id, str) and container_id and isinstance(ifname, str) and ifname):
                raise _malformed(each)
            found.add((container_id, ifname))
        return frozenset(found)


def _malformed(value: Any) -> CniError:
    return CniError(
        CNI_INVALID_NETWORK_CONFIG,
        f"invalid cni.dev/valid-attachments: {value!r}",
        'it must be a list of {"containerID": ..., "ifname": ...}',
    )


class Executable(Protocol):
    """What a module of podwire.cni.plugins has as functions. ``add`` gives the result, all raise PodwireError."""

    def add(self, call: CmdArgs) -> Result: ...

    def check(self, call: CmdArgs) -> None: ...

    def delete(self, call: CmdArgs) -> None: ...

    def collect(self, call: CmdArgs) -> None: ...

    def status(self, call: CmdArgs) -> None: ...


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
        if not isinstance(error, (PodwireError, OSError)):  # a bug: where, for whoever mends it
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


def load(plugin_name: str) -> Executable:
    """A plugin, executable. Only the one that is called is imported; one that is a projection is made so."""
    package = __name__.rpartition(".")[0]
    module: Any = __import__(f"{package}.plugins.{PLUGINS[plugin_name][0]}", fromlist=["add"])
    if not hasattr(module, "PLUGIN"):
        return module  # type: ignore[no-any-return]
    from .engine.attachment import Attaching

    return Attaching(module.PLUGIN)


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
    return CmdArgs(command, attachment, conf, _previous(data), environ, stdin)


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
    return len(parts) == 3 and all(each.isascii() and each.isdigit() for each in parts)


def _versions(plugin_name: str) -> Tuple[str, ...]:
    return tuple(each for each in VERSIONS if each >= PLUGINS[plugin_name][1])


def _previous(data: Mapping[str, Any]) -> Optional[Result]:
    previous = data.get("prevResult")
    if previous is None:
        return None
    if not isinstance(previous, dict):
        raise CniError(CNI_DECODING_FAILURE, f"failed to decode prevResult: {previous!r} is not an object")
    return Result.from_json(previous)


def _refuse_own_namespace(call: CmdArgs) -> None:
    """ADD into the plugin's own namespace would configure the node. A path that is no namespace is for the plugin."""
    if not call.attachment.netns or call.environ.get("CNI_NETNS_OVERRIDE", "").upper() in ("1", "TRUE"):
        return
    try:
        given, own = os.stat(call.attachment.netns), os.stat("/proc/thread-self/ns/net")
    except (OSError, ValueError):
        return
    if (given.st_dev, given.st_ino) == (own.st_dev, own.st_ino):
        raise CniError(
            CNI_INVALID_NETNS,
            f"plugin's netns and netns from CNI_NETNS should not be the same: {call.attachment.netns}",
            "give the container a network namespace, or set CNI_NETNS_OVERRIDE=1",
        )


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


def as_cni_error(error: Exception) -> CniError:
    """Which error result an exception is."""
    if isinstance(error, CniError):
        return error
    if isinstance(error, OSError):
        return CniError(CNI_IO_FAILURE, f"input or output failed: {error}")
    if not isinstance(error, PodwireError):
        return CniError(CNI_KERNEL_FAILURE, f"unexpected {type(error).__name__}: {error}", "this is a bug in podwire")
    code = CNI_KERNEL_FAILURE
    if isinstance(error, ExhaustedError):
        code = CNI_NOT_AVAILABLE
    elif isinstance(error, ConflictError):
        code = CNI_CONFLICT
    elif isinstance(error, IpamError):
        code = CNI_IO_FAILURE if isinstance(error.__cause__, OSError) else CNI_CONFLICT
    return CniError(code, error.message, error.hint)


def failure_json(error: CniError, version: str) -> Dict[str, Any]:
    """An error result."""
    found: Dict[str, Any] = {"cniVersion": version, "code": error.code, "msg": error.message}
    if error.details:
        found["details"] = error.details
    return found


def _print(stdout: BinaryIO, document: Dict[str, Any]) -> None:
    stdout.write(dumps(document).encode() + b"\n")
    stdout.flush()


# --- keys and arguments ----------------------------------------------------------------------------

_ARGUMENTS = frozenset({"IgnoreUnknown", "IP", "MAC", "GATEWAY"})


def arguments(text: str) -> Dict[str, str]:
    """CNI_ARGS (``K=V;K=V``); CniError 4 for what is malformed, or unknown without IgnoreUnknown=1."""
    found: Dict[str, str] = {}
    for pair in text.split(";") if text else ():
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise CniError(CNI_INVALID_ENVIRONMENT, f"invalid CNI_ARGS: {pair!r} is not KEY=VALUE")
        found[key] = value
    ignore = found.get("IgnoreUnknown", "0").lower()
    if ignore not in ("0", "1", "true", "false"):
        raise CniError(CNI_INVALID_ENVIRONMENT, f"invalid CNI_ARGS: IgnoreUnknown={ignore!r}", "it must be 0 or 1")
    unknown = [key for key in found if key not in _ARGUMENTS]
    if unknown and ignore in ("0", "false"):
        raise CniError(
            CNI_INVALID_ENVIRONMENT, f"invalid CNI_ARGS: unknown {', '.join(unknown)}", "add IgnoreUnknown=1"
        )
    return found


_WORDS = """
cniVersion name type args cni prevResult capabilities runtimeConfig dns ipam ips ip4 ip6 interfaces routes subnet
rangeStart rangeEnd gateway ranges dataDir resolvConf dst gw mtu advmss priority table scope addresses address
interface mac sandbox socketPath pciID nameservers domain search options bridge isGateway isDefaultGateway
forceAddress ipMasq ipMasqBackend hairpinMode promiscMode vlan vlanTrunk minID maxID id preserveDefaultVlan
macspoofchk enabledad disableContainerInterface portIsolation portMappings hostPort containerPort protocol hostIP
snat masqAll markMasqBit externalSetMarkChain conditionsV4 conditionsV6 backend iptablesAdminChainName firewalldZone
ingressPolicy sysctl promisc txQLen allmulti bandwidth ingressRate ingressBurst egressRate egressBurst subnetFile
delegate ipRanges containerID ifname unshapedSubnets shapedSubnets
"""
_KEYS = {key.lower(): key for key in _WORDS.split()}


def canonical(value: Any) -> Any:
    """The same objects with the specification's spelling of keys: Go's plugins match them in any case."""
    if isinstance(value, dict):
        return {
            _KEYS.get(key.lower(), key): each if key.lower() in ("sysctl", "capabilities") else canonical(each)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [canonical(each) for each in value]
    return value
