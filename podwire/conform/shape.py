"""Results in the shapes of every version of the specification (Section 5, and its older editions)."""

from __future__ import annotations

import re
from ipaddress import ip_interface, ip_network
from typing import Any, Dict, List, Mapping, Tuple

from .case import Failed

#: Every released version, oldest first.
VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", re.IGNORECASE)


def number(version: str) -> Tuple[int, ...]:
    """``1.1.0`` as (1, 1, 0); (0,) for what is no version."""
    parts = version.split(".")
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else (0,)


def older(version: str, than: str) -> bool:
    return number(version) < number(than)


def convert(result: Mapping[str, Any], version: str) -> Dict[str, Any]:
    """A result of 1.1.0 as an older version writes it."""
    if older(version, "0.3.0"):
        old: Dict[str, Any] = {"cniVersion": version, "dns": {}}
        for ip in result.get("ips", ()):
            family = 6 if ":" in ip["address"] else 4
            routes = [route for route in result.get("routes", ()) if (":" in route["dst"]) == (family == 6)]
            gateway = {"gateway": ip["gateway"]} if "gateway" in ip else {}
            old.setdefault(f"ip{family}", {"ip": ip["address"], **gateway, "routes": routes})
        return old
    new = {**result, "cniVersion": version}
    if older(version, "1.1.0"):
        dropped = {"mtu", "socketPath", "pciID"}
        new["interfaces"] = [
            {key: value for key, value in interface.items() if key not in dropped}
            for interface in result.get("interfaces", ())
        ]
        new["routes"] = [
            {key: route[key] for key in ("dst", "gw") if key in route} for route in result.get("routes", ())
        ]
    if older(version, "1.0.0"):
        new["ips"] = [{**ip, "version": "6" if ":" in ip["address"] else "4"} for ip in result.get("ips", ())]
        new.setdefault("dns", {})
    return new


def addresses(result: Mapping[str, Any]) -> List[str]:
    """The addresses with prefix lengths, of any version's result."""
    if "ip4" in result or "ip6" in result:
        return [result[family]["ip"] for family in ("ip4", "ip6") if family in result]
    return [ip["address"] for ip in result.get("ips") or ()]


def gateways(result: Mapping[str, Any]) -> List[str]:
    """The gateways of the addresses of a result since 0.3.0."""
    return [ip["gateway"] for ip in result.get("ips") or () if ip.get("gateway")]


def bare(result: Mapping[str, Any]) -> List[str]:
    """The addresses without prefix lengths."""
    return [address.partition("/")[0] for address in addresses(result)]


def validate(result: Mapping[str, Any], version: str, *, ipam: bool = False) -> None:
    """Failed unless the result has the shape that its version asks for."""
    _want(result.get("cniVersion") == version, f'"cniVersion": "{version}"', f"{result.get('cniVersion')!r}")
    if older(version, "0.3.0"):
        _want("ips" not in result and "interfaces" not in result, f"ip4 and ip6 in a {version} result", f"{result}")
        for family in ("ip4", "ip6"):
            if family in result:
                _cidr(result[family]["ip"], f"{family}.ip")
        return
    _want("ip4" not in result and "ip6" not in result, f"ips[] in a {version} result", f"{result}")
    interfaces = result.get("interfaces") or []
    _want(not (ipam and interfaces), "no interfaces in the result of an IPAM plugin", f"{interfaces}")
    for interface in interfaces:
        _want(isinstance(interface.get("name"), str), "interfaces[].name is a string", f"{interface}")
        mac = interface.get("mac", "")
        _want(not mac or bool(_MAC.fullmatch(mac)), "interfaces[].mac is a hardware address", f"{interface}")
        young = [key for key in ("mtu", "socketPath", "pciID") if key in interface and older(version, "1.1.0")]
        _want(not young, f"no {young} in a {version} result", f"{interface}")
    for ip in result.get("ips") or ():
        _cidr(ip.get("address"), "ips[].address")
        family = "6" if ":" in ip["address"] else "4"
        wanted = family if older(version, "1.0.0") else None
        _want(ip.get("version") == wanted, f"ips[].version {wanted!r} in a {version} result", f"{ip}")
        index = ip.get("interface")
        _want(not (ipam and index is not None), "no ips[].interface in the result of an IPAM plugin", f"{ip}")
        fits = index is None or isinstance(index, int) and 0 <= index < len(interfaces)
        _want(fits, "ips[].interface is an index of interfaces", f"{ip}")
    for route in result.get("routes") or ():
        try:
            ip_network(route.get("dst"), strict=False)
        except ValueError as error:
            raise Failed("routes[].dst is a network in CIDR notation", f"{route}") from error
        young = [key for key in route if key not in ("dst", "gw") and older(version, "1.1.0")]
        _want(not young, f"no {young} in a {version} result", f"{route}")


def _cidr(text: Any, what: str) -> None:
    try:
        ip_interface(text)
        fits = "/" in text
    except (ValueError, TypeError):
        fits = False
    _want(fits, f"{what} is an address in CIDR notation", repr(text))


def _want(condition: bool, expected: str, seen: str) -> None:
    if not condition:
        raise Failed(expected, seen)
