"""Ranges of addresses, with the semantics of host-local (plugins/ipam/host-local/backend/allocator).

A **range** is a part of a subnet. A **range set** is one pool made of ranges of one family; a
container gets one address from each range set. Candidates are tried round robin, starting behind
the address that was reserved last.
"""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface, ip_address

from ..errors import IpamError
from ..model.objects import IPAddress, IPInterface, IPNetwork
from ..startup_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Iterator, List, Optional, Sequence, Tuple


class Range(NamedTuple):
    """Addresses ``start`` to ``end``, both inclusive, of ``subnet``. The gateway is never handed out."""

    subnet: IPNetwork
    start: IPAddress
    end: IPAddress
    gateway: IPAddress

    def __contains__(self, address: object) -> bool:
        return getattr(address, "version", 0) == self.subnet.version and self.start <= address <= self.end  # type: ignore[operator]

    def __str__(self) -> str:
        return f"{self.start}-{self.end}"

    @property
    def size(self) -> int:
        """How many addresses can be handed out."""
        return int(self.end) - int(self.start) + 1 - (self.gateway in self)


RangeSet = tuple[Range, ...]


class IpConfig(NamedTuple):
    """An address with its subnet's prefix length, and its gateway (CNI's IPConfig)."""

    address: IPInterface
    gateway: IPAddress


def make_range(
    subnet: IPNetwork,
    start: Optional[IPAddress] = None,
    end: Optional[IPAddress] = None,
    gateway: Optional[IPAddress] = None,
) -> Range:
    """A range with host-local's defaults: the gateway and the start are the subnet's first address,
    the end is its last but the IPv4 broadcast address. A gateway outside the subnet is accepted.
    IpamError for what host-local refuses.
    """
    if subnet.max_prefixlen - subnet.prefixlen < 2:
        raise IpamError(f"failed to use subnet {subnet}: it is too small", "give it two host bits or more")
    first = subnet[1]
    last = subnet[-2] if subnet.version == 4 else subnet[-1]
    found = Range(subnet, start or first, end or last, gateway or first)
    for word, address in (("rangeStart", found.start), ("rangeEnd", found.end)):
        # host-local takes neither the network address nor the IPv4 broadcast address for outside.
        if address.version != subnet.version or address not in subnet:
            raise IpamError(f"failed to use {word} {address}: it is not in subnet {subnet}")
    if found.gateway.version != subnet.version:
        raise IpamError(f"failed to use gateway {found.gateway}: subnet {subnet} is of the other family")
    if int(found.start) > int(found.end):
        raise IpamError(f"failed to use range {found} of subnet {subnet}: it ends before it starts")
    return found


def make_range_sets(sets: Sequence[Sequence[Range]]) -> Tuple[RangeSet, ...]:
    """Range sets; IpamError if one is empty, mixes families, or two ranges of any sets overlap."""
    seen: List[Range] = []
    for number, ranges in enumerate(sets):
        if not ranges:
            raise IpamError(f"failed to use range set {number}: it is empty", "name a subnet")
        if len({range_.subnet.version for range_ in ranges}) > 1:
            raise IpamError(f"failed to use range set {number}: it mixes IPv4 and IPv6", "make a range set a family")
        for range_ in ranges:
            for other in seen:
                if range_.start in other or other.start in range_:
                    raise IpamError(f"failed to use range {range_}: it overlaps with {other}")
            seen.append(range_)
    return tuple(tuple(ranges) for ranges in sets)


def find_range(ranges: RangeSet, address: IPAddress) -> Optional[Range]:
    """The range of a set that an address belongs to."""
    return next((range_ for range_ in ranges if address in range_), None)


def candidates(ranges: RangeSet, last_reserved: Optional[IPAddress] = None) -> Iterator[IpConfig]:
    """Every address of a set once, round robin, starting behind ``last_reserved``; never a gateway.

    A ``last_reserved`` that is of no range (the configuration changed) starts from the beginning.
    """
    first = next((i for i, each in enumerate(ranges) if last_reserved in each), None)
    if first is None or last_reserved is None:
        yield from _walk(ranges, 0, int(ranges[0].start), None)
        return
    yield from _walk(ranges, first, int(last_reserved) + 1, int(last_reserved))


def _walk(ranges: RangeSet, index: int, start: int, stop: Optional[int]) -> Iterator[IpConfig]:
    """From ``start`` in the range of ``index`` through all others, and the first one again up to ``stop``."""
    yield from _span(ranges[index], start, int(ranges[index].end))
    for offset in range(1, len(ranges)):
        each = ranges[(index + offset) % len(ranges)]
        yield from _span(each, int(each.start), int(each.end))
    if stop is not None:
        yield from _span(ranges[index], int(ranges[index].start), stop)


def _span(each: Range, first: int, last: int) -> Iterator[IpConfig]:
    address_type = type(each.subnet.network_address)
    prefix = each.subnet.prefixlen
    gateway = int(each.gateway)
    for number in range(first, last + 1):
        if number != gateway:
            ip = address_type(number)
            yield IpConfig(with_prefix(ip, prefix), each.gateway)


def with_prefix(ip: IPAddress, prefix: int) -> IPInterface:
    """``ip/prefix`` without a detour over text."""
    return IPv4Interface((ip, prefix)) if ip.version == 4 else IPv6Interface((ip, prefix))


def parse_address(text: str) -> Optional[IPAddress]:
    """An address, or None for any other text."""
    try:
        return ip_address(text)
    except ValueError:
        return None
