"""Ranges against a model: every address once, in host-local's order."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import List, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.errors import IpamError
from podwire.ipam.ranges import Range, candidates, make_range, make_range_sets
from podwire.model.objects import IPAddress

V4 = ip_network("10.244.1.0/24")
V6 = ip_network("fd00:10:244:1::/64")


def ips(ranges: List[Range], last: Optional[str] = None) -> List[str]:
    return [str(each.address.ip) for each in candidates(tuple(ranges), ip_address(last) if last else None)]


def test_defaults() -> None:
    assert make_range(V4) == Range(V4, V4[1], V4[254], V4[1])
    assert make_range(V6) == Range(V6, V6[1], V6[-1], V6[1])


def test_a_candidate_carries_prefix_and_gateway() -> None:
    first = next(candidates((make_range(V4),)))
    assert (str(first.address), str(first.gateway)) == ("10.244.1.2/24", "10.244.1.1")


def test_gateway_is_skipped_wherever_it_stands() -> None:
    small = ip_network("10.0.0.0/29")
    assert ips([make_range(small, gateway=small[3])]) == [f"10.0.0.{i}" for i in (1, 2, 4, 5, 6)]
    assert ips([make_range(small, small[3], small[3], small[3])]) == []


def test_goes_on_behind_the_last_reserved_and_comes_round() -> None:
    small = ip_network("10.0.0.0/29")
    assert ips([make_range(small)], "10.0.0.4") == ["10.0.0.5", "10.0.0.6", "10.0.0.2", "10.0.0.3", "10.0.0.4"]
    assert ips([make_range(small)], "10.9.9.9") == [f"10.0.0.{i}" for i in range(2, 7)]


def test_the_last_reserved_may_be_the_end_of_the_last_range() -> None:
    first, second = ip_network("10.0.0.0/30"), ip_network("10.0.1.0/30")
    assert ips([make_range(first), make_range(second)], "10.0.1.2") == ["10.0.0.2", "10.0.1.2"]


@pytest.mark.parametrize(
    ("subnet", "start", "end", "gateway", "why"),
    [
        ("10.0.0.0/31", None, None, None, "too small"),
        ("fd00::/127", None, None, None, "too small"),
        ("10.0.0.0/24", "10.0.1.1", None, None, "rangeStart 10.0.1.1: it is not in"),
        ("10.0.0.0/24", None, "10.0.1.1", None, "rangeEnd 10.0.1.1: it is not in"),
        ("10.0.0.0/24", "10.0.0.9", "10.0.0.8", None, "ends before it starts"),
        ("10.0.0.0/24", None, None, "fd00::1", "other family"),
    ],
)
def test_refusals(subnet: str, start: Optional[str], end: Optional[str], gateway: Optional[str], why: str) -> None:
    parts = [ip_address(each) if each else None for each in (start, end, gateway)]
    with pytest.raises(IpamError, match=why):
        make_range(ip_network(subnet), *parts)


def test_a_gateway_outside_the_subnet_is_accepted() -> None:
    assert ips([make_range(ip_network("10.0.0.0/30"), gateway=ip_address("192.0.2.1"))]) == ["10.0.0.1", "10.0.0.2"]


@pytest.mark.parametrize(
    ("sets", "why"),
    [
        ([[]], "empty"),
        ([[make_range(V4), make_range(V6)]], "mixes"),
        ([[make_range(V4), make_range(V4, V4[9])]], "overlaps"),
        ([[make_range(V4)], [make_range(V4, V4[9], V4[9])]], "overlaps"),
    ],
)
def test_range_set_refusals(sets: List[List[Range]], why: str) -> None:
    with pytest.raises(IpamError, match=why):
        make_range_sets(sets)


@st.composite
def range_set_and_last(draw: st.DrawFn) -> tuple[List[Range], Optional[IPAddress]]:
    ranges = []
    for third in range(draw(st.integers(1, 3))):
        subnet = ip_network(f"10.0.{third}.0/28")
        start = draw(st.integers(0, 15))
        end = draw(st.integers(start, 15))
        ranges.append(make_range(subnet, subnet[start], subnet[end], subnet[draw(st.integers(0, 15))]))
    last = draw(st.none() | st.integers(0, 63).map(lambda i: ip_network("10.0.0.0/16")[i // 16 * 256 + i % 16]))
    return ranges, last


@given(range_set_and_last())
def test_every_address_once_and_the_last_reserved_last(drawn: tuple[List[Range], Optional[IPAddress]]) -> None:
    ranges, last = drawn
    pools = [
        [ip for ip in map(ip_address, range(int(each.start), int(each.end) + 1)) if ip != each.gateway]
        for each in ranges
    ]
    model = sum(pools, [])
    if any(last in each for each in ranges):
        # host-local: from last+1 on, in the order of the set, wrapping inside the range of last at the very end
        index = next(i for i, each in enumerate(ranges) if last in each)
        home, others = pools[index], pools[index + 1 :] + pools[:index]
        model = [ip for ip in home if ip > last] + sum(others, []) + [ip for ip in home if ip <= last]  # type: ignore[operator]
    assert [each.address.ip for each in candidates(tuple(ranges), last)] == model
    assert len(model) == sum(each.size for each in ranges)
