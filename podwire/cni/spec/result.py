"""Result: what ADD answers, and its JSON in every version of the specification (CNI spec 1.1.0, section 5).

========  =====================================================================================================
1.1.0     interfaces have mtu, socketPath and pciID; routes have mtu, advmss, priority, table and scope
1.0.0     neither of those
0.3, 0.4  an address says its ``version``, and there is always a ``dns``
0.1, 0.2  ``ip4`` and ``ip6``: the first address of each family with the family's routes; no interfaces
========  =====================================================================================================
"""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

from ...errors import CNI_DECODING_FAILURE, CNI_INVALID_NETWORK_CONFIG, CniError
from ...model.objects import IPAddress, IPInterface, MacAddress
from ...startup_typing import TYPE_CHECKING, NamedTuple
from .route import ROUTE_KEYS, CniRoute, route_from_json

if TYPE_CHECKING:
    from typing import Any, Dict, Mapping, Optional, Tuple


class Interface(NamedTuple):
    """A device that the attachment made or uses. ``sandbox`` is the path of its namespace, "" on the node."""

    name: str
    mac: Optional[MacAddress] = None
    sandbox: str = ""
    mtu: int = 0
    socket_path: str = ""
    pci_id: str = ""


class ResultIp(NamedTuple):
    """An address; ``interface`` is an index into the result's interfaces."""

    address: IPInterface
    gateway: Optional[IPAddress] = None
    interface: Optional[int] = None


class Dns(NamedTuple):
    """Name resolution, as resolv.conf has it. The runtime decides whether to use it."""

    nameservers: Tuple[str, ...] = ()
    domain: str = ""
    search: Tuple[str, ...] = ()
    options: Tuple[str, ...] = ()

    def to_json(self) -> Dict[str, Any]:
        """Only what is set."""
        found = zip(self._fields, self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in found if value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Dns:
        """ValueError or TypeError if it is none."""
        lists = [data.get(key) or [] for key in ("nameservers", "search", "options")]
        domain = data.get("domain") or ""
        if not isinstance(domain, str) or not all(isinstance(x, str) for each in lists for x in _list(each)):
            raise TypeError(f"dns is {data!r}")
        return cls(tuple(lists[0]), domain, tuple(lists[1]), tuple(lists[2]))


class Result(NamedTuple):
    """What an attachment got."""

    interfaces: Tuple[Interface, ...] = ()
    ips: Tuple[ResultIp, ...] = ()
    routes: Tuple[CniRoute, ...] = ()
    dns: Dns = Dns()

    def of_interface(self, ifname: str) -> Result:
        """With the addresses of one interface of the container alone: later plugins may have added others'."""
        indices = [
            index for index, interface in enumerate(self.interfaces) if interface.name == ifname and interface.sandbox
        ]
        return self._replace(ips=tuple(ip for ip in self.ips if ip.interface is None or ip.interface in indices))

    def to_json(self, version: str) -> Dict[str, Any]:
        """The result as the objects of JSON, in the given version of the specification."""
        if version < "0.3.0":
            return _old_json(self, version)
        data: Dict[str, Any] = {"cniVersion": version}
        if self.interfaces:
            data["interfaces"] = [_interface_json(interface, version) for interface in self.interfaces]
        if self.ips:
            data["ips"] = [_ip_json(ip, version) for ip in self.ips]
        if self.routes:
            data["routes"] = [_route_json(route, version) for route in self.routes]
        dns = self.dns.to_json()
        if dns or version < "1.0.0":
            data["dns"] = dns
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Result:
        """A result of any version; CniError 6 if it is none."""
        try:
            if "ip4" in data or "ip6" in data:
                return _old_result(data)
            return cls(
                tuple(_interface(each) for each in _list(data.get("interfaces") or [])),
                tuple(_ip(each) for each in _list(data.get("ips") or [])),
                tuple(route_from_json(each) for each in _list(data.get("routes") or [])),
                Dns.from_json(data.get("dns") or {}),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise CniError(CNI_DECODING_FAILURE, f"failed to decode a result: {error}") from error


def _list(value: Any) -> Any:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list")
    return value


def _old_json(result: Result, version: str) -> Dict[str, Any]:
    data: Dict[str, Any] = {"cniVersion": version}
    for family in (4, 6):
        first = next((ip for ip in result.ips if ip.address.version == family), None)
        if first is None:
            continue
        data[f"ip{family}"] = old = {"ip": str(first.address)}
        if first.gateway is not None:
            old["gateway"] = str(first.gateway)
        routes = [_route_json(route, version) for route in result.routes if route.destination.version == family]
        if routes:
            data[f"ip{family}"]["routes"] = routes
    if len(data) == 1:
        raise CniError(
            CNI_INVALID_NETWORK_CONFIG,
            f"cannot convert: no valid IP addresses for a result of version {version}",
            "declare ipam, or cniVersion 0.3.0 or newer",
        )
    data["dns"] = result.dns.to_json()
    return data


def _old_result(data: Mapping[str, Any]) -> Result:
    found = [data[key] for key in ("ip4", "ip6") if data.get(key)]
    ips = [
        ResultIp(ip_interface(each["ip"]), ip_address(each["gateway"]) if each.get("gateway") else None)
        for each in found
    ]
    routes = tuple(route_from_json(route) for each in found for route in _list(each.get("routes") or []))
    return Result((), tuple(ips), routes, Dns.from_json(data.get("dns") or {}))


def _interface_json(interface: Interface, version: str) -> Dict[str, Any]:
    data: Dict[str, Any] = {"name": interface.name}
    if interface.mac is not None:
        data["mac"] = str(interface.mac)
    new = version >= "1.1.0"
    if interface.mtu and new:
        data["mtu"] = interface.mtu
    if interface.sandbox:
        data["sandbox"] = interface.sandbox
    if interface.socket_path and new:
        data["socketPath"] = interface.socket_path
    if interface.pci_id and new:
        data["pciID"] = interface.pci_id
    return data


def _ip_json(result_ip: ResultIp, version: str) -> Dict[str, Any]:
    data: Dict[str, Any] = {}
    if version < "1.0.0":
        data["version"] = str(result_ip.address.version)
    if result_ip.interface is not None:
        data["interface"] = result_ip.interface
    data["address"] = str(result_ip.address)
    if result_ip.gateway is not None:
        data["gateway"] = str(result_ip.gateway)
    return data


def _route_json(cni_route: CniRoute, version: str) -> Dict[str, Any]:
    data: Dict[str, Any] = {"dst": str(cni_route.destination)}
    if cni_route.gateway is not None:
        data["gw"] = str(cni_route.gateway)
    if version >= "1.1.0":
        for key in ROUTE_KEYS:
            value = getattr(cni_route, key)
            if value or (value is not None and key in ("table", "scope")):
                data[key] = value
    return data


def _interface(data: Mapping[str, Any]) -> Interface:
    mac = MacAddress.parse(data["mac"]) if data.get("mac") else None
    texts = [data.get(key) or "" for key in ("name", "sandbox", "socketPath", "pciID")]
    if not all(isinstance(text, str) for text in texts) or not isinstance(data.get("mtu") or 0, int):
        raise TypeError(f"interface {data!r}")
    return Interface(texts[0], mac, texts[1], data.get("mtu") or 0, texts[2], texts[3])


def _ip(data: Mapping[str, Any]) -> ResultIp:
    gateway = ip_address(data["gateway"]) if data.get("gateway") else None
    interface = data.get("interface")
    if interface is not None and not isinstance(interface, int):
        raise TypeError(f"interface {interface!r} of {data['address']}")
    return ResultIp(ip_interface(data["address"]), gateway, interface)
