"""tuning: sysctls and attributes of the container's interface, and back to what they were on DEL.

What an attribute was is kept in ``<dataDir>/<container id>_<ifname>.json`` until DEL. Only sysctls below net/ may be
set, and of those only what /etc/cni/tuning/allowlist.conf matches (a regular expression a line), where there is one.
"""

from __future__ import annotations

import os

from ...converge import Target, converge
from ...errors import (
    CNI_INVALID_NETNS,
    CNI_INVALID_NETWORK_CONFIG,
    CNI_IO_FAILURE,
    CNI_KERNEL_FAILURE,
    CniError,
    KernelError,
)
from ...files import remove_file, replace_file
from ...jsontext import dumps, loads
from ...kernel import Namespace, execute, link_of
from ...model.objects import Link, MacAddress, Sysctl
from ...model.state import Scope, State
from ...plan import CHANGE, Operation
from ...startup_typing import TYPE_CHECKING, NamedTuple
from ..spec.cmdargs import CmdArgs, Commands, CommandsBase
from ..spec.result import Result

if TYPE_CHECKING:
    from typing import Any, Dict, FrozenSet, List, Mapping, Optional

    from ..spec.netconf import NetConf

_DATA_DIR = "/run/cni/tuning"

_ALLOWED = "/etc/cni/tuning/allowlist.conf"

#: Attributes of a Link by the key of the backup, which the reference's is like.
_KEYS = {"mac": "mac", "promisc": "promisc", "mtu": "mtu", "allmulti": "allmulti", "txQLen": "tx_queue"}


class Settings(NamedTuple):
    """What a configuration wants; None is left alone."""

    sysctls: FrozenSet[Sysctl]
    mac: Optional[MacAddress]
    promisc: Optional[bool]
    mtu: Optional[int]
    allmulti: Optional[bool]
    tx_queue: Optional[int]

    @property
    def attributes(self) -> Dict[str, Any]:
        """Of a Link."""
        return {name: getattr(self, name) for name in _KEYS.values() if getattr(self, name) is not None}


class Tuning(CommandsBase):
    """The commands."""

    def add(self, call: CmdArgs) -> Result:
        """Everything set, or nothing; the result with the interface's new MAC address and MTU."""
        previous, settings = call.require_previous(), settings_of(call)
        with _open(call) as pod:
            found = _link(call, pod)
            older = _read(call)
            if settings.attributes:
                _write(call, {name: older.get(name, getattr(found, name)) for name in {**settings.attributes, **older}})
            try:
                converge([_target(pod, found, settings)])
            except BaseException:
                if not older:
                    _forget(call)
                raise
        return _told(call, previous, settings)

    def check(self, call: CmdArgs) -> None:
        """Everything is still as set."""
        call.require_previous()
        settings = settings_of(call)
        with _open(call) as pod:
            lacking = converge([_target(pod, _link(call, pod), settings)], check=True).operations
        if lacking:
            raise CniError(
                CNI_KERNEL_FAILURE,
                f"interface {call.attachment.ifname} is not as tuned",
                "; ".join(str(operation) for _, operation in lacking[:5]),
            )

    def delete(self, call: CmdArgs) -> None:
        """The interface's attributes as they were, if it is still there."""
        kept = _read(call)
        if kept and call.attachment.netns:
            try:
                with Namespace.open(call.attachment.netns, call.attachment.name) as pod:
                    found = link_of(pod, call.attachment.ifname)
                    if found is not None:
                        execute([(pod, Operation(CHANGE, found._replace(**kept), found))], {})
            except KernelError:
                pass  # the namespace is gone, and the interface with it
        _forget(call)

    def collect(self, call: CmdArgs) -> None:
        """What is kept of interfaces of this network that are not listed. Networks may share the directory."""
        valid = call.valid_attachments()
        folder = _folder(call)
        if valid is None or not os.path.isdir(folder):
            return
        for name in sorted(os.listdir(folder)):
            data = _data(os.path.join(folder, name))
            owner = (data.get("containerID"), data.get("ifname"))
            if data.get("network") == call.conf.name and owner not in valid and name == f"{owner[0]}_{owner[1]}.json":
                remove_file(os.path.join(folder, name))

    def status(self, call: CmdArgs) -> None:
        """Always ready."""


COMMANDS: Commands = Tuning()


def settings_of(call: CmdArgs) -> Settings:
    """Parse; CniError 7 for what makes no sense or may not be."""
    args = (call.conf.data.get("args") or {}).get("cni") or {}
    outranking = {key: args[key] for key in ("sysctl", *_KEYS) if args.get(key) is not None}
    conf = call.conf.with_data({**call.conf.data, **outranking})
    data = conf.data
    mac = args.get("mac") or call.argument("MAC") or (data.get("runtimeConfig") or {}).get("mac") or data.get("mac")
    try:
        parsed = MacAddress.parse(mac) if mac else None
    except (ValueError, AttributeError) as error:
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {conf.name}: invalid mac {mac!r}") from error
    return Settings(
        _sysctls(conf, call.attachment.ifname),
        parsed,
        conf.flag("promisc") or None,
        conf.number("mtu", 68, 65535) or None,
        conf.flag("allmulti") if data.get("allmulti") is not None else None,
        conf.number("txQLen", 0, 1 << 31) if data.get("txQLen") is not None else None,
    )


def _sysctls(conf: NetConf, ifname: str) -> FrozenSet[Sysctl]:
    given = conf.data.get("sysctl") or {}
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise CniError(
            CNI_INVALID_NETWORK_CONFIG, f"network {conf.name}: sysctl is {given!r}", "it maps names to strings"
        )
    allowed = _allow_list()
    found = set()
    for name, value in given.items():
        path = name if "/" in name else name.replace(".", "/")
        parts = [ifname if part == "IFNAME" else part for part in path.split("/")]
        if parts[0] != "net" or len(parts) < 3 or any(part in ("", ".", "..") for part in parts) or "\0" in path:
            raise _refused(conf, name, "only sysctls below net/ may be set")
        if allowed is not None and not any(_matches(each, name) for each in allowed):
            raise _refused(conf, name, f"{_ALLOWED} does not allow it")
        key = "/".join(parts)
        found.add(Sysctl(key, " ".join(value.split())))
    return frozenset(found)


def _refused(conf: NetConf, name: str, why: str) -> CniError:
    return CniError(CNI_INVALID_NETWORK_CONFIG, f"network {conf.name}: invalid sysctl {name!r}: {why}")


def _allow_list() -> Optional[List[str]]:
    try:
        with open(_ALLOWED, encoding="utf-8") as file:
            return [line.strip() for line in file if line.strip()]
    except FileNotFoundError:
        return None


def _matches(pattern: str, name: str) -> bool:
    import re

    try:
        return re.search(pattern, name) is not None
    except re.error as error:
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"invalid line in {_ALLOWED}: {pattern!r}: {error}") from error


# --- the interface ------------------------------------------------------------------------------------


def _open(call: CmdArgs) -> Namespace:
    try:
        return Namespace.open(call.attachment.netns, call.attachment.name)
    except (KernelError, ValueError) as error:
        raise CniError(CNI_INVALID_NETNS, f"failed to open netns {call.attachment.netns!r}: {error}") from error


def _link(call: CmdArgs, pod: Namespace) -> Link:
    try:
        found = link_of(pod, call.attachment.ifname)
    except KernelError as error:
        raise CniError(CNI_INVALID_NETNS, f"failed to use {call.attachment.netns}: {error.message}") from error
    if found is None:
        raise CniError(
            CNI_KERNEL_FAILURE, f"failed to find interface {call.attachment.ifname} in {call.attachment.netns}"
        )
    return found


def _target(pod: Namespace, found: Link, settings: Settings) -> Target:
    """Only the link itself and the sysctls: its addresses and routes are others'. A kind of "" is one that another
    made, and so is what is set here."""
    attributes = settings.attributes
    links = frozenset({found._replace(**attributes)}) if attributes else frozenset()
    shown = frozenset({found.name}) if attributes else frozenset()
    scope = Scope(
        links=shown, sysctls=frozenset(sysctl.key for sysctl in settings.sysctls), routes=False, only_links=True
    )
    return Target(pod, State(links=links, sysctls=settings.sysctls), scope)


def _told(call: CmdArgs, previous: Result, settings: Settings) -> Result:
    interfaces = tuple(
        interface._replace(
            mac=settings.mac or interface.mac,
            mtu=(settings.mtu or interface.mtu) if interface.mtu or settings.mtu else 0,
        )
        if interface.name == call.attachment.ifname and interface.sandbox
        else interface
        for interface in previous.interfaces
    )
    return previous._replace(interfaces=interfaces)


# --- what is kept -------------------------------------------------------------------------------------


def _shown(value: Any) -> Any:
    return str(value) if isinstance(value, MacAddress) else value


def _folder(call: CmdArgs) -> str:
    return call.conf.text("dataDir") or _DATA_DIR


def _path(call: CmdArgs) -> str:
    return os.path.join(_folder(call), f"{call.attachment.container_id}_{call.attachment.ifname}.json")


def _write(call: CmdArgs, kept: Mapping[str, Any]) -> None:
    """``kept``: attributes of a Link. With whose they are, for GC."""
    path = _path(call)
    data = {"network": call.conf.name, "containerID": call.attachment.container_id, "ifname": call.attachment.ifname}
    data.update((key, _shown(kept[name])) for key, name in _KEYS.items() if name in kept)
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        replace_file(path, dumps(data).encode(), 0o600, fsync=False)
    except OSError as error:
        raise CniError(CNI_IO_FAILURE, f"failed to write {path}: {error.strerror}") from error


def _read(call: CmdArgs) -> Dict[str, Any]:
    """Attributes of a Link; none if nothing was kept, or nothing that can be read."""
    data = _data(_path(call))
    found = {name: data[key] for key, name in _KEYS.items() if data.get(key) is not None}
    try:
        if "mac" in found:
            found["mac"] = MacAddress.parse(found["mac"])
    except (ValueError, AttributeError):
        return {}
    return found


def _data(path: str) -> Dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            data = loads(file.read())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _forget(call: CmdArgs) -> None:
    remove_file(_path(call))
