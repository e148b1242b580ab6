"""NetConf: a plugin's configuration, parsed strictly (CNI spec 1.1.0, section 1).

What is wrong with a configuration is a CniError with the specification's code: 6 for what is not
JSON of the right types, 7 for values that make no sense, 1 for a version nobody here speaks, 2 for a
feature that is not there.
"""

from __future__ import annotations

import os
from ipaddress import ip_address, ip_network

from ...errors import (
    CNI_DECODING_FAILURE,
    CNI_INVALID_ENVIRONMENT,
    CNI_INVALID_NETNS,
    CNI_INVALID_NETWORK_CONFIG,
    CNI_UNSUPPORTED_FIELD,
    CniError,
    IpamError,
)
from ...ipam.ranges import Range, RangeSet, make_range, make_range_sets
from ...ipam.store import DATA_DIR, Claim
from ...jsontext import loads
from ...model.device_name import is_device_name
from ...startup_typing import TYPE_CHECKING, NamedTuple, cached_property
from .route import CniRoute, route_from_json

if TYPE_CHECKING:
    from typing import Any, List, Mapping, Optional, Sequence, Tuple, Type

#: Versions of the specification that configurations and results may have.
VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
#: What names may have behind their first character, besides letters and digits.
_PUNCTUATION = str.maketrans("_.-", "aaa")


def is_name(text: str) -> bool:
    """Whether the specification allows it as a network's name or a container's id."""
    return text.isascii() and text[:1].isalnum() and text.translate(_PUNCTUATION).isalnum()


def refuse_own_namespace(netns: str) -> None:
    """CniError 8 for the caller's own network namespace: ADD into that would configure the node. A path that is no
    namespace is another error, of whoever opens it."""
    try:
        given, current = os.stat(netns), os.stat("/proc/thread-self/ns/net")
    except (OSError, ValueError):
        return
    if (given.st_dev, given.st_ino) == (current.st_dev, current.st_ino):
        raise CniError(
            CNI_INVALID_NETNS,
            f"plugin's netns and netns from CNI_NETNS should not be the same: {netns}",
            "give the container a network namespace, or set CNI_NETNS_OVERRIDE=1",
        )


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
        if not is_name(self.container_id):
            raise CniError(CNI_INVALID_ENVIRONMENT, f"invalid CNI_CONTAINERID: {self.container_id!r}")
        name = self.ifname
        if not is_device_name(name):
            raise CniError(
                CNI_INVALID_ENVIRONMENT, f"invalid CNI_IFNAME: {name!r}", "1 to 15 bytes without / : % or space"
            )


class IpamConf(NamedTuple):
    """The ``ipam`` part, of type ``host-local``."""

    range_sets: Tuple[RangeSet, ...]
    routes: Tuple[CniRoute, ...]
    data_dir: str


class NetConf:
    """One plugin's configuration: its own object of the list, with the list's name and version."""

    def __init__(self, cni_version: str, name: str, type: str, data: Mapping[str, Any]) -> None:
        self.cni_version = cni_version
        self.name = name
        self.type = type
        self.data = data

    def with_data(self, data: Mapping[str, Any]) -> NetConf:
        """The same with other keys."""
        return NetConf(self.cni_version, self.name, self.type, data)

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
        return parse_ipam(self.name, data)


def parse_object(text: str, what: str) -> Mapping[str, Any]:
    """A JSON object; CniError 6 for anything else."""
    try:
        data = loads(text)
        if "\\ud" in text.lower():  # half a surrogate pair is no text, and no name or path
            import json

            json.dumps(data, ensure_ascii=False).encode()
    except ValueError as error:
        raise CniError(CNI_DECODING_FAILURE, f"failed to decode the {what}: {error}") from error
    if not isinstance(data, dict):
        raise CniError(CNI_DECODING_FAILURE, f"failed to decode the {what}: it is not a JSON object")
    return data


def parse_ipam(network: str, data: Mapping[str, Any], extra: Sequence[Sequence[Any]] = ()) -> IpamConf:
    """host-local's ``ipam`` object; ``extra`` are ranges of the runtime's. CniError 7 if it makes no sense."""
    try:
        data_dir = data.get("dataDir") or DATA_DIR
        if not isinstance(data_dir, str) or "\0" in data_dir:
            raise TypeError(f"dataDir is {data_dir!r}")
        return IpamConf(
            _range_sets(data, extra), tuple(route_from_json(route) for route in data.get("routes") or []), data_dir
        )
    except IpamError as error:
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {network}: {error.message}", error.hint) from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {network}: invalid ipam: {error}") from error


def _range_sets(data: Mapping[str, Any], extra: Sequence[Sequence[Any]] = ()) -> Tuple[RangeSet, ...]:
    """host-local's order: the runtime's ranges, the old-style range of the ipam object itself, then ``ranges``."""
    sets: List[List[Range]] = [[_range(range_) for range_ in ranges] for ranges in extra]
    sets += [[_range(data)]] if data.get("subnet") else []
    sets += [[_range(range_) for range_ in ranges] for ranges in data.get("ranges") or []]
    if not sets:
        raise IpamError("failed to use ipam: it has no ranges", 'give ranges, such as [[{"subnet": "10.244.1.0/24"}]]')
    return make_range_sets(sets)


def _range(data: Mapping[str, Any]) -> Range:
    start, end, gateway = (
        ip_address(data[key]) if data.get(key) else None for key in ("rangeStart", "rangeEnd", "gateway")
    )
    return make_range(ip_network(data["subnet"]), start, end, gateway)
