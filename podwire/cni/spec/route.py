"""A route of a configuration or of a result."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from ...startup_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any, Mapping, Optional

    from ...model.objects import IPAddress, IPNetwork

ROUTE_KEYS = ("mtu", "advmss", "priority", "table", "scope")
#: Up to what the kernel takes a number as it is (net/ipv4/metrics.c, ip_metrics_convert).
_LARGEST = {"mtu": 65535 - 15, "advmss": 65535 - 40, "scope": 255}


class CniRoute(NamedTuple):
    """A route that a configuration asks for or a result tells of. No ``gateway``: the address's own.

    ``mtu``, ``advmss`` and ``priority`` 0 and ``table`` and ``scope`` None mean unset. ``scope`` is rtnetlink's number.
    """

    destination: IPNetwork
    gateway: Optional[IPAddress] = None
    mtu: int = 0
    advmss: int = 0
    priority: int = 0
    table: Optional[int] = None
    scope: Optional[int] = None


def route_from_json(data: Mapping[str, Any]) -> CniRoute:
    """A route of a result or of a configuration; KeyError, TypeError or ValueError if it is none."""
    numbers = [data.get(key) for key in ROUTE_KEYS]
    if any(number is not None and (not isinstance(number, int) or isinstance(number, bool)) for number in numbers):
        raise TypeError(f"route {data!r}: {', '.join(ROUTE_KEYS)} must be numbers")
    for key, number in zip(ROUTE_KEYS, numbers):
        if number is not None and not 0 <= number <= _LARGEST.get(key, 2**32 - 1):
            raise ValueError(f"route {data!r}: {key} must be a number up to {_LARGEST.get(key, 2**32 - 1)}")
    mtu, advmss, priority, table, scope = numbers
    return CniRoute(
        ip_network(data["dst"], strict=False),
        ip_address(data["gw"]) if data.get("gw") else None,
        mtu or 0,
        advmss or 0,
        priority or 0,
        table,
        scope,
    )
