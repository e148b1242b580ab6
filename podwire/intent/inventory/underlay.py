"""The underlay as it is declared: segments, routers, and which nodes have ports on them."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface, ip_network
from typing import Dict, List, Mapping, NamedTuple, Optional, Tuple

from ...model.objects import IPAddress, IPInterface, IPNetwork
from ..cluster import Segment
from .field import ALL, Field, Problems
from .names import is_hostname, is_segment

_LOWEST_MTU = {4: 576, 6: 1280}
_LONGEST = {4: 30, 6: 126}


class RouterIntent(NamedTuple):
    """A router with its segments, in the order of its ports, and explicit addresses on them."""

    name: str
    segments: Tuple[str, ...]
    addresses: Mapping[str, List[Field]]


def default_cidr(version: int, index: int, count: int) -> IPNetwork:
    """CIDR of segment ``index``: the whole range for the only one, else slices of it."""
    if version == 4:
        return ip_network("172.30.0.0/16" if count == 1 else f"172.30.{index % 256}.0/24")
    return ip_network(f"fd00:30:0:{index:x}::/64")


def read_underlay(
    variable: Optional[Field], versions: Tuple[int, ...], problems: Problems
) -> Tuple[List[Segment], List[RouterIntent]]:
    """Segments (at least one) and routers."""
    fields = variable.mapping(("segments", "routers")) if variable is not None else {}
    segments = _segments(fields["segments"], versions) if "segments" in fields else []
    if not segments:
        cidrs = tuple(default_cidr(version, 0, 1) for version in sorted(versions))
        segments = [Segment("underlay", cidrs)]
    _overlaps(segments, problems)
    routers = _routers(fields["routers"], segments) if "routers" in fields else []
    return segments, routers


def _segments(variable: Field, versions: Tuple[int, ...]) -> List[Segment]:
    value = variable.value
    if isinstance(value, Mapping) and any(settings is None for settings in value.values()):
        # "rack-a:" with nothing below it is a segment with defaults, not one that is not set.
        variable = Field(variable.problems, variable.subject, variable.path, {k: v or {} for k, v in value.items()})
    fields = variable.named("write a mapping, e.g. {rack-a: {cidrs: [172.30.1.0/24], mtu: 1500}}")
    segments = []
    for index, (name, settings) in enumerate(fields.items()):
        if not is_segment(name):
            settings.fail("not a segment name", "write 1 to 11 of a-z, 0-9 and '-', e.g. rack-a")
        keys = settings.mapping(("cidrs", "mtu"))
        cidrs = _segment_cidrs(keys["cidrs"]) if "cidrs" in keys else ()
        cidrs = cidrs or tuple(default_cidr(version, index, len(fields)) for version in sorted(versions))
        lowest = max(_LOWEST_MTU[cidr.version] for cidr in cidrs)
        mtu = keys["mtu"].integer(lowest, 65535, 1500) if "mtu" in keys else None
        segments.append(Segment(name, cidrs, mtu or 1500))
    return segments


def _segment_cidrs(variable: Field) -> Tuple[IPNetwork, ...]:
    by_version: Dict[int, IPNetwork] = {}
    for item in variable.items("[172.30.1.0/24]"):
        cidr = item.cidr("172.30.1.0/24")
        if cidr is None:
            continue
        if cidr.version in by_version:
            item.fail(f"a second IPv{cidr.version} CIDR of the segment", "write one CIDR a family")
        elif cidr.prefixlen > _LONGEST[cidr.version]:
            item.fail("no room for two hosts", f"write a prefix of /{_LONGEST[cidr.version]} or shorter")
        else:
            by_version[cidr.version] = cidr
    return tuple(by_version.values())


def _overlaps(segments: List[Segment], problems: Problems) -> None:
    for i, segment in enumerate(segments):
        for other in segments[:i]:
            for one in segment.cidrs:
                clash = next((cidr for cidr in other.cidrs if cidr.version == one.version and cidr.overlaps(one)), None)
                if clash is not None:
                    cause = f"overlaps {clash} of segment {other.name}"
                    path = f"underlay.segments.{segment.name}.cidrs"
                    problems.add(ALL, path, str(one), cause, "give each segment a CIDR of its own")


def _routers(variable: Field, segments: List[Segment]) -> List[RouterIntent]:
    known = [segment.name for segment in segments]
    routers = []
    for name, settings in variable.named("write a mapping, e.g. {spine: {segments: [rack-a, rack-b]}}").items():
        if not is_hostname(name):
            settings.fail("not a hostname", "write letters, digits and '-', at most 63, e.g. spine")
        keys = settings.mapping(("segments",))
        if "segments" not in keys:
            settings.fail("stands on no segment", f"write {{segments: [{', '.join(known)}]}}")
            continue
        ports: Dict[str, List[Field]] = {}
        for segment, addresses in _router_segments(keys["segments"]):
            if segment.value not in known:
                segment.fail("no such segment", f"declared are {', '.join(known)}")
            elif segment.value in ports:
                segment.fail("named twice", "name each segment of a router once")
            else:
                ports[segment.value] = addresses
        routers.append(RouterIntent(name, tuple(ports), ports))
    return routers


def _router_segments(variable: Field) -> List[Tuple[Field, List[Field]]]:
    """The segments of a router, from a list of names or from a mapping of names to addresses."""
    if not isinstance(variable.value, Mapping):
        return [(item, []) for item in variable.items("[rack-a, rack-b]")]
    pairs = []
    for name, value in variable.value.items():
        entry = variable.member(name, value)
        addresses: List[Field] = []
        if isinstance(value, (list, tuple)):
            addresses = entry.items("[172.30.1.1]")
        elif value is not None:
            addresses = [entry]
        pairs.append((variable.member(name, str(name)), addresses))
    return pairs


def on_segment(variable: Field, segment: Segment) -> Optional[IPAddress]:
    """An explicit address on a segment, written plain or with the segment's prefix length."""
    example = str(segment.cidrs[0].network_address + 5)
    parsed = variable.address(example)
    if parsed is None:
        return None
    address, length = parsed
    cidrs = ", ".join(map(str, segment.cidrs))
    cidr = next((candidate for candidate in segment.cidrs if candidate.version == address.version), None)
    if cidr is None or address not in cidr:
        variable.fail(f"outside segment {segment.name} ({cidrs})", f"write an address in it, e.g. {example}")
    elif length is not None and length != cidr.prefixlen:
        variable.fail(f"segment {segment.name} has prefix length {cidr.prefixlen}", f"write {address}/{cidr.prefixlen}")
    elif address == cidr.network_address or (cidr.version == 4 and address == cidr.broadcast_address):
        variable.fail(f"the network or broadcast address of segment {segment.name}", f"write e.g. {example}")
    else:
        return address
    return None


def interface(address: IPAddress, length: int) -> IPInterface:
    """An address with its prefix length."""
    return IPv4Interface((int(address), length)) if address.version == 4 else IPv6Interface((int(address), length))
