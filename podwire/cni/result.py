"""Result: what ADD answers, and its JSON (CNI spec 1.1.0, section 5)."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network

from ..errors import CNI_DECODING_FAILURE, CniError
from ..lean import TYPE_CHECKING, NamedTuple
from ..model import IPAddress, IPInterface, MacAddress
from .netconf import CniRoute

if TYPE_CHECKING:
    from typing import Any, Dict, Mapping, Optional, Tuple


class Interface(NamedTuple):
    """A device that the attachment made or uses. ``sandbox`` is the path of its namespace, "" on the node.

    ``mtu`` is shown from version 1.1.0 on.
    """

    name: str
    mac: Optional[MacAddress] = None
    sandbox: str = ""
    mtu: int = 0


class ResultIp(NamedTuple):
    """An address; ``interface`` is an index into the result's interfaces."""

    address: IPInterface
    gateway: Optional[IPAddress] = None
    interface: Optional[int] = None


class Result(NamedTuple):
    """What an attachment got."""

    interfaces: Tuple[Interface, ...] = ()
    ips: Tuple[ResultIp, ...] = ()
    routes: Tuple[CniRoute, ...] = ()

    def to_json(self, version: str) -> Dict[str, Any]:
        """The result as the objects of JSON, in the given version of the specification."""
        data: Dict[str, Any] = {"cniVersion": version}
        if self.interfaces:
            data["interfaces"] = [_interface_json(each, version) for each in self.interfaces]
        if self.ips:
            data["ips"] = [_ip_json(each) for each in self.ips]
        if self.routes:
            data["routes"] = [
                {"dst": str(each.destination), **({"gw": str(each.gateway)} if each.gateway else {})}
                for each in self.routes
            ]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Result:
        """A result of version 1.0.0 or 1.1.0; CniError 6 if it is none."""
        try:
            return cls(
                tuple(_interface(each) for each in data.get("interfaces") or ()),
                tuple(_ip(each) for each in data.get("ips") or ()),
                tuple(
                    CniRoute(ip_network(each["dst"]), ip_address(each["gw"]) if each.get("gw") else None)
                    for each in data.get("routes") or ()
                ),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise CniError(CNI_DECODING_FAILURE, f"failed to decode a result: {error}") from error


def _interface_json(each: Interface, version: str) -> Dict[str, Any]:
    data: Dict[str, Any] = {"name": each.name}
    if each.mac is not None:
        data["mac"] = str(each.mac)
    if each.mtu and version >= "1.1.0":
        data["mtu"] = each.mtu
    if each.sandbox:
        data["sandbox"] = each.sandbox
    return data


def _ip_json(each: ResultIp) -> Dict[str, Any]:
    data: Dict[str, Any] = {}
    if each.interface is not None:
        data["interface"] = each.interface
    data["address"] = str(each.address)
    if each.gateway is not None:
        data["gateway"] = str(each.gateway)
    return data


def _interface(data: Mapping[str, Any]) -> Interface:
    mac = MacAddress.parse(data["mac"]) if data.get("mac") else None
    return Interface(data["name"], mac, data.get("sandbox") or "", data.get("mtu") or 0)


def _ip(data: Mapping[str, Any]) -> ResultIp:
    gateway = ip_address(data["gateway"]) if data.get("gateway") else None
    return ResultIp(ip_interface(data["address"]), gateway, data.get("interface"))
