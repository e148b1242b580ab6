"""Network configuration lists: parsed as libcni does, and loaded from a directory (CNI spec 1.1.0, section 1)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from functools import cached_property

from ...errors import (
    CNI_DECODING_FAILURE,
    CNI_INCOMPATIBLE_VERSION,
    CNI_INVALID_NETWORK_CONFIG,
    CNI_IO_FAILURE,
    CniError,
)
from ...startup_typing import TYPE_CHECKING
from .netconf import VERSIONS, NetConf, is_name, parse_object

if TYPE_CHECKING:
    from typing import Any, List, Mapping, Optional, Tuple

    from .netconf import IpamConf


@dataclass(frozen=True)
class NetConfList:
    """A network: its plugins in the order of ADD. ``source`` is the text it was parsed from."""

    cni_version: str
    name: str
    plugins: Tuple[NetConf, ...]
    source: str
    disable_check: bool = False
    disable_gc: bool = False

    @cached_property
    def ipam(self) -> Optional[IpamConf]:
        """The ``ipam`` of the one plugin that has one; CniError if two do."""
        found = [conf for conf in self.plugins if conf.data.get("ipam")]
        if len(found) > 1:
            raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {self.name}: more than one plugin has ipam")
        return found[0].ipam if found else None

    def speaks(self, version: str) -> bool:
        """Whether the list is of this version or a newer one."""
        return VERSIONS.index(self.cni_version) >= VERSIONS.index(version)


def parse_list(text: str) -> NetConfList:
    """A NetConfList from JSON. CniError 6 for what is none, 7 for values that make no sense, 1 for versions."""
    found = _parse(text)
    if not found.plugins:
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {found.name}: plugins must be a list that is not empty")
    return found


def parse_single(text: str) -> NetConfList:
    """The list of one plugin that a single network configuration (``.conf``) stands for."""
    data = parse_object(text, "network configuration")
    name, version = _name(data), _version(data)
    source = json.dumps({"cniVersion": version, "name": name, "plugins": [data]})
    return NetConfList(version, name, (_plugin(version, name, data),), source)


def load_file(path: str) -> NetConfList:
    """The list in a file, with the plugins of its folder ``<directory of the file>/<network>/*.conf`` behind
    its own, unless ``loadOnlyInlinedPlugins`` (1.1.0) forbids it."""
    text = _read(path)
    found = _parse(text)
    more: List[Mapping[str, Any]] = []
    data = json.loads(text)
    if not _flag(data, "loadOnlyInlinedPlugins"):
        folder = os.path.join(os.path.dirname(path), found.name)
        more = [parse_object(_read(file), "plugin configuration") for file in _files(folder, (".conf",))]
    if more:
        text = json.dumps({**data, "plugins": [*(data.get("plugins") or ()), *more]})
    return replace(parse_list(text), source=text)


def load(directory: str, name: str) -> NetConfList:
    """The network called ``name`` in a directory: the first list of that name, else the first single
    configuration. CniError 7 if there is none."""
    for path in _files(directory, (".conflist",)):
        if _named(path, name):
            return load_file(path)
    for path in _files(directory, (".conf", ".json")):
        if _named(path, name):
            return parse_single(_read(path))
    raise CniError(
        CNI_INVALID_NETWORK_CONFIG,
        f"no net configuration with name {name!r} in {directory}",
        "it is the name inside the file; NETCONFPATH names the directory",
    )


def _parse(text: str) -> NetConfList:
    data = parse_object(text, "network configuration list")
    name, version = _name(data), _version(data)
    plugins = data.get("plugins") or []
    if not isinstance(plugins, list):
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {name}: plugins must be a list")
    confs = tuple(_plugin(version, name, plugin) for plugin in plugins)
    return NetConfList(version, name, confs, text, _flag(data, "disableCheck"), _flag(data, "disableGC"))


def _name(data: Mapping[str, Any]) -> str:
    name = data.get("name")
    if not isinstance(name, str) or not is_name(name):
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"invalid network name: {name!r}", "letters, digits, _ . - only")
    return name


def _version(data: Mapping[str, Any]) -> str:
    """The newest of ``cniVersion`` and ``cniVersions`` that is known here."""
    single, several = data.get("cniVersion") or "", data.get("cniVersions") or []
    if not isinstance(single, str) or not isinstance(several, list):
        raise CniError(CNI_DECODING_FAILURE, "cniVersion must be a string, and cniVersions a list of them")
    wanted = [*several, *([single] if single else [])] or [VERSIONS[0]]
    known = [each for each in VERSIONS if each in wanted]
    if not known:
        details = f"config is {single!r}, supported: {', '.join(VERSIONS)}"
        raise CniError(CNI_INCOMPATIBLE_VERSION, "incompatible CNI versions", details)
    return known[-1]


def _plugin(version: str, name: str, data: Any) -> NetConf:
    kind = data.get("type") if isinstance(data, dict) else None
    if not isinstance(kind, str) or not kind or "/" in kind:
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {name}: invalid plugin type {kind!r}")
    return NetConf(version, name, kind, data)


def _flag(data: Mapping[str, Any], key: str) -> bool:
    """A boolean; libcni takes the strings "true" and "false" too."""
    value = data.get(key, False)
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise CniError(CNI_DECODING_FAILURE, f"{key} is {value!r}", "it must be true or false")
    return value


def _named(path: str, name: str) -> bool:
    """Whether a file is of that network. One that is broken is an error: it might be the one."""
    return parse_object(_read(path), f"configuration {path}").get("name") == name


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise CniError(CNI_IO_FAILURE, f"failed to read {path}: {error}") from error


def _files(folder: str, endings: Tuple[str, ...]) -> List[str]:
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CniError(CNI_IO_FAILURE, f"failed to read {folder}: {error.strerror}") from error
    paths = [os.path.join(folder, name) for name in names if name.endswith(endings)]
    return [path for path in paths if os.path.isfile(path)]
