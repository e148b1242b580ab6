"""NetConfList and NetConf: a network's configuration, parsed strictly (CNI spec 1.1.0, section 1).

What is wrong with a configuration is a CniError with the specification's code: 6 for what is not
JSON of the right types, 7 for values that make no sense, 1 for a version nobody here speaks, 2 for a
feature that is not there.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address, ip_network

from ..errors import (
    CNI_DECODING_FAILURE,
    CNI_INCOMPATIBLE_VERSION,
    CNI_INVALID_ENVIRONMENT,
    CNI_INVALID_NETWORK_CONFIG,
    CNI_UNSUPPORTED_FIELD,
    CniError,
    IpamError,
)
from ..ipam.ranges import Range, RangeSet, make_range, make_range_sets
from ..ipam.store import DATA_DIR, Claim
from ..lean import TYPE_CHECKING, NamedTuple
from ..model import IPAddress, IPNetwork

if TYPE_CHECKING:
    from typing import Any, List, Mapping, Optional, Tuple, Type

#: Versions of the specification that configurations and results may have.
VERSIONS = ("1.0.0", "1.1.0")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*")


class Attachment(NamedTuple):
    """One container's interface in a network: CNI_CONTAINERID, CNI_IFNAME, CNI_NETNS.

    ``netns`` is empty where the namespace is gone, which only DEL accepts.
    """

    container_id: str
    ifname: str = "eth0"
    netns: str = ""

    @property
    def claim(self) -> Claim:
        """As who it holds addresses."""
        return Claim(self.container_id, self.ifname)

    @property
    def name(self) -> str:
        """What people call its namespace: the name under /run/netns, else the container's id."""
        folder, _, name = self.netns.rpartition("/")
        return name if folder.endswith("run/netns") and name else self.container_id

    def validate(self) -> None:
        """CniError 4 for an id or interface name that the specification or the kernel refuses."""
        if not _NAME.fullmatch(self.container_id):
            raise CniError(CNI_INVALID_ENVIRONMENT, f"invalid CNI_CONTAINERID: {self.container_id!r}")
        name = self.ifname
        bad = name in (".", "..") or not 1 <= len(name.encode()) <= 15
        if bad or any(each in "/:\0" or each.isspace() for each in name):
            raise CniError(
                CNI_INVALID_ENVIRONMENT, f"invalid CNI_IFNAME: {name!r}", "1 to 15 bytes without / : or space"
            )


class CniRoute(NamedTuple):
    """A route that a configuration asks for or a result tells of. No ``gateway``: the address's own."""

    destination: IPNetwork
    gateway: Optional[IPAddress] = None


class IpamConf(NamedTuple):
    """The ``ipam`` part, of type ``host-local``."""

    range_sets: Tuple[RangeSet, ...]
    routes: Tuple[CniRoute, ...]
    data_dir: str


@dataclass(frozen=True)
class NetConf:
    """One plugin's configuration: its own object of the list, with the list's name and version."""

    cni_version: str
    name: str
    type: str
    data: Mapping[str, Any]

    def text(self, key: str, default: str = "") -> str:
        """A string value."""
        return str(self._value(key, default, str, "a string"))

    def flag(self, key: str) -> bool:
        """A boolean value; false if absent. A boolean given as string is an error."""
        return bool(self._value(key, False, bool, "true or false"))

    def number(self, key: str, low: int, high: int) -> int:
        """A whole number in ``low`` to ``high``; 0 if absent."""
        value = self._value(key, 0, int, "a whole number")
        if isinstance(value, bool) or not (value == 0 or low <= value <= high):
            raise self._invalid(key, value, f"a whole number from {low} to {high}", CNI_INVALID_NETWORK_CONFIG)
        return int(value)

    def refuse(self, *keys: str) -> None:
        """CniError 2 if one of these features, which this plugin does not have, is asked for."""
        for key in keys:
            if self.data.get(key):
                raise CniError(CNI_UNSUPPORTED_FIELD, f"plugin {self.type} does not support {key}: {self.data[key]!r}")

    def _value(self, key: str, default: Any, kind: Type[Any], wanted: str) -> Any:
        value = self.data.get(key)
        if value is None:
            return default
        if not isinstance(value, kind):
            raise self._invalid(key, value, wanted, CNI_DECODING_FAILURE)
        return value

    def _invalid(self, key: str, value: Any, wanted: str, code: int) -> CniError:
        return CniError(code, f"network {self.name}, plugin {self.type}: {key} is {value!r}", f"it must be {wanted}")

    @cached_property
    def ipam(self) -> Optional[IpamConf]:
        """The parsed ``ipam`` object; None if there is none or it is empty (a layer-2 network)."""
        data = self.data.get("ipam")
        if not data:
            return None
        if not isinstance(data, dict):
            raise self._invalid("ipam", data, "an object", CNI_DECODING_FAILURE)
        if data.get("type") != "host-local":
            raise self._invalid("ipam.type", data.get("type"), "host-local", CNI_UNSUPPORTED_FIELD)
        try:
            return IpamConf(_range_sets(data), _routes(data.get("routes") or []), data.get("dataDir") or DATA_DIR)
        except IpamError as error:
            raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {self.name}: {error.message}", error.hint) from error
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {self.name}: invalid ipam: {error}") from error


@dataclass(frozen=True)
class NetConfList:
    """A network: its plugins in the order of ADD. ``source`` is the text it was parsed from."""

    cni_version: str
    name: str
    plugins: Tuple[NetConf, ...]
    source: str

    @cached_property
    def ipam(self) -> Optional[IpamConf]:
        """The ``ipam`` of the one plugin that has one; CniError if two do."""
        found = [conf for conf in self.plugins if conf.data.get("ipam")]
        if len(found) > 1:
            raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {self.name}: more than one plugin has ipam")
        return found[0].ipam if found else None


def parse_list(text: str) -> NetConfList:
    """A NetConfList from JSON."""
    data = parse_object(text, "network configuration list")
    name, version = data.get("name"), data.get("cniVersion") or ""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"invalid network name: {name!r}", "letters, digits, _ . - only")
    if version not in VERSIONS:
        raise CniError(
            CNI_INCOMPATIBLE_VERSION,
            "incompatible CNI versions",
            f"config is {version!r}, supported: {', '.join(VERSIONS)}",
        )
    plugins = data.get("plugins")
    if not isinstance(plugins, list) or not plugins:
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {name}: plugins must be a list that is not empty")
    return NetConfList(version, name, tuple(_parse_plugin(version, name, each) for each in plugins), text)


def parse_object(text: str, what: str) -> Mapping[str, Any]:
    """A JSON object; CniError 6 for anything else."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise CniError(CNI_DECODING_FAILURE, f"failed to decode the {what}: {error}") from error
    if not isinstance(data, dict):
        raise CniError(CNI_DECODING_FAILURE, f"failed to decode the {what}: it is not a JSON object")
    return data


def _parse_plugin(version: str, name: str, data: Any) -> NetConf:
    kind = data.get("type") if isinstance(data, dict) else None
    if not isinstance(kind, str) or not kind or "/" in kind:
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {name}: invalid plugin type {kind!r}")
    return NetConf(version, name, kind, data)


def _range_sets(data: Mapping[str, Any]) -> Tuple[RangeSet, ...]:
    """host-local's order: the old-style range of the ipam object itself comes before ``ranges``."""
    sets: List[List[Range]] = [[_range(data)]] if data.get("subnet") else []
    sets += [[_range(each) for each in ranges] for ranges in data.get("ranges") or []]
    if not sets:
        raise IpamError("failed to use ipam: it has no ranges", 'give ranges, such as [[{"subnet": "10.244.1.0/24"}]]')
    return make_range_sets(sets)


def _range(data: Mapping[str, Any]) -> Range:
    start, end, gateway = (
        ip_address(data[key]) if data.get(key) else None for key in ("rangeStart", "rangeEnd", "gateway")
    )
    return make_range(ip_network(data["subnet"]), start, end, gateway)


def _routes(data: List[Mapping[str, Any]]) -> Tuple[CniRoute, ...]:
    return tuple(CniRoute(ip_network(each["dst"]), ip_address(each["gw"]) if each.get("gw") else None) for each in data)
