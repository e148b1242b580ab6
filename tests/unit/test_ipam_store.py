"""Reserving and releasing on disk: host-local's files, no lease lost or doubled, whoever else writes there."""

from __future__ import annotations

import os
import resource
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Dict, Optional, Set

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from podwire.errors import ExhaustedError, IpamError
from podwire.ipam.allocator import Allocator, Reservation
from podwire.ipam.ranges import make_range
from podwire.ipam.store import Claim, Store

SMALL = ip_network("10.244.1.0/28")  # 13 addresses beside the gateway
SETS = ((make_range(SMALL),),)
DUAL = ((make_range(ip_network("10.244.1.0/24")),), (make_range(ip_network("fd00:1::/64")),))


def claims(*numbers: int) -> list[Claim]:
    return [Claim(f"c{number}", "eth0") for number in numbers]


def ips(allocator: Allocator, *numbers: int) -> list[str]:
    answers = allocator.reserve(claims(*numbers))
    return [str(each.address) for answer in answers.values() if isinstance(answer, Reservation) for each in answer.ips]


def files(directory: Path) -> Dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_files_are_host_locals(tmp_path: Path) -> None:
    assert ips(Allocator("net", DUAL, str(tmp_path)), 1) == ["10.244.1.2/24", "fd00:1::2/64"]
    assert files(tmp_path / "net") == {
        "10.244.1.2": b"c1\r\neth0",
        "fd00:1::2": b"c1\r\neth0",
        "last_reserved_ip.0": b"10.244.1.2",
        "last_reserved_ip.1": b"fd00:1::2",
        "lock": b"",
    }
    for name in ("10.244.1.2", "last_reserved_ip.0"):
        assert (tmp_path / "net" / name).stat().st_mode & 0o777 == 0o600


def test_a_lease_that_is_written_in_part_is_no_lease(tmp_path: Path) -> None:
    """The kernel writes as much as there is room for, which is no error to it: here up to a limit on files' sizes."""
    allocator, claim = Allocator("net", SETS, str(tmp_path)), Claim("c" * 64, "eth0")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        with pytest.raises(IpamError, match="File too large"):
            allocator.reserve([claim])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert set(files(tmp_path / "net")) == {"lock"}
    assert isinstance(allocator.reserve([claim])[claim], Reservation)


def test_round_robin_does_not_give_a_released_address_next(tmp_path: Path) -> None:
    allocator = Allocator("net", SETS, str(tmp_path))
    ips(allocator, 1)
    allocator.release(claims(1))
    assert ips(allocator, 2) == ["10.244.1.3/28"]
    assert (tmp_path / "net" / "10.244.1.2").exists() is False


def test_a_second_reservation_of_the_same_interface_is_refused(tmp_path: Path) -> None:
    allocator = Allocator("net", SETS, str(tmp_path))
    ips(allocator, 1)
    answer = allocator.reserve([Claim("c1", "eth0"), Claim("c1", "eth1")])
    assert isinstance(answer[Claim("c1", "eth0")], IpamError)
    assert isinstance(answer[Claim("c1", "eth1")], Reservation)


def test_exhaustion_names_range_leases_and_network_and_the_others_succeed(tmp_path: Path) -> None:
    allocator = Allocator("net", SETS, str(tmp_path))
    answers = allocator.reserve(claims(*range(15)))
    failed = [answer for answer in answers.values() if isinstance(answer, ExhaustedError)]
    assert len(failed) == 2
    assert "in network net: no address is free in 10.244.1.1-10.244.1.14 (13 leases)" in str(failed[0])
    assert len(set(files(tmp_path / "net")) & {str(ip) for ip in SMALL}) == 13


def test_a_claim_that_lacks_one_family_keeps_none(tmp_path: Path) -> None:
    sets = (DUAL[0], (make_range(ip_network("fd00:1::/126")),))  # two addresses of IPv6
    answers = Allocator("net", sets, str(tmp_path)).reserve(claims(1, 2, 3))
    assert isinstance(answers[claims(3)[0]], ExhaustedError)
    assert "10.244.1.4" not in files(tmp_path / "net")
    assert not [name for name in os.listdir(tmp_path / ".podwire" / "net") if name.endswith(".new")]


def test_an_empty_lease_left_by_a_killed_host_local_is_free(tmp_path: Path) -> None:
    allocator = Allocator("net", SETS, str(tmp_path))
    ips(allocator, 1)
    (tmp_path / "net" / "10.244.1.3").touch()
    assert ips(allocator, 2) == ["10.244.1.3/28"]


def test_something_that_is_no_lease_file_is_never_given_out(tmp_path: Path) -> None:
    (tmp_path / "net" / "10.244.1.2").mkdir(parents=True)
    assert ips(Allocator("net", SETS, str(tmp_path)), 1) == ["10.244.1.3/28"]


def test_an_old_lease_without_ifname_is_found_and_released(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "10.244.1.9").write_bytes(b"c1")
    allocator = Allocator("net", SETS, str(tmp_path))
    assert allocator.collect(set(claims(1))) == {}
    assert allocator.release(claims(1)) == {claims(1)[0]: (ip_address("10.244.1.9"),)}


def test_a_miss_reads_no_lease_while_nobody_else_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allocator = Allocator("net", SETS, str(tmp_path))
    ips(allocator, 1, 2, 3)
    listed = []
    real = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(path) or real(path))
    allocator.release(claims(9))
    ips(allocator, 4)
    allocator.release(claims(4, 1))
    assert listed == []
    (tmp_path / "net" / "10.244.1.12").write_bytes(b"c9\r\neth0")
    assert allocator.release(claims(9))[claims(9)[0]] == (ip_address("10.244.1.12"),)
    assert listed


def test_preview_foretells_and_writes_nothing(tmp_path: Path) -> None:
    allocator = Allocator("net", DUAL, str(tmp_path / "data"))
    foretold = allocator.preview(2)
    assert not (tmp_path / "data").exists()
    assert foretold == list(allocator.reserve(claims(1, 2)).values())
    before = files(tmp_path / "data" / "net"), sorted(os.listdir(tmp_path / "data" / ".podwire" / "net"))
    assert len(allocator.preview(3)) == 3
    assert allocator.lookup(claims(1, 7)) == {claims(1)[0]: foretold[0], claims(7)[0]: None}
    assert allocator.collect(set(claims(1)), read_only=True) == {
        foretold[1].ips[0].address.ip: claims(2)[0],
        foretold[1].ips[1].address.ip: claims(2)[0],
    }
    assert (files(tmp_path / "data" / "net"), sorted(os.listdir(tmp_path / "data" / ".podwire" / "net"))) == before


def test_a_failure_of_the_store_gives_everything_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allocator = Allocator("net", SETS, str(tmp_path))
    real = Store.take

    def take(self: Store, claim: Claim, ip: object) -> bool:
        if claim.container_id == "c2":
            raise OSError(28, "No space left on device")
        return real(self, claim, ip)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "take", take)
    with pytest.raises(IpamError, match="No space left on device"):
        allocator.reserve(claims(1, 2, 3))
    assert set(files(tmp_path / "net")) == {"lock"}
    monkeypatch.undo()
    assert ips(allocator, 1) == ["10.244.1.2/28"]


class WithAnotherWriter(RuleBasedStateMachine):
    """Random work by us and by somebody who writes like Go's host-local, against a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self._home = tempfile.TemporaryDirectory()
        self.directory = Path(self._home.name) / "net"
        self.directory.mkdir()
        self.allocator = Allocator("net", SETS, self._home.name)
        self.held: Dict[Claim, str] = {}

    def teardown(self) -> None:
        self._home.cleanup()

    @rule(numbers=st.sets(st.integers(0, 19), min_size=1, max_size=6))
    def we_reserve(self, numbers: Set[int]) -> None:
        for claim, answer in self.allocator.reserve(claims(*numbers)).items():
            if isinstance(answer, Reservation):
                assert claim not in self.held
                ip = str(answer.ips[0].address.ip)
                assert ip not in self.held.values()
                self.held[claim] = ip
            elif isinstance(answer, ExhaustedError):
                assert len(self.held) == 13
            else:
                assert claim in self.held

    @rule(numbers=st.sets(st.integers(0, 19), max_size=6))
    def we_release(self, numbers: Set[int]) -> None:
        for claim, released in self.allocator.release(claims(*numbers)).items():
            assert [str(ip) for ip in released] == ([self.held.pop(claim)] if claim in self.held else [])

    @rule(number=st.integers(0, 19))
    def another_reserves(self, number: int) -> None:
        claim = claims(number)[0]
        free = [str(ip) for ip in SMALL.hosts() if ip != SMALL[1] and str(ip) not in self.held.values()]
        if claim in self.held or not free:
            return
        (self.directory / free[-1]).write_bytes(claim.content)
        self.held[claim] = free[-1]

    @rule(number=st.integers(0, 19))
    def another_releases(self, number: int) -> None:
        ip: Optional[str] = self.held.pop(claims(number)[0], None)
        if ip:
            (self.directory / ip).unlink()

    @rule(number=st.integers(2, 14))
    def another_dies_in_the_middle(self, number: int) -> None:
        path = self.directory / str(SMALL[number])
        if not path.exists():
            path.touch()

    @rule()
    def the_index_is_lost(self) -> None:
        import shutil

        shutil.rmtree(Path(self._home.name) / ".podwire", ignore_errors=True)

    @invariant()
    def the_files_are_the_leases(self) -> None:
        found = {
            path.name: path.read_bytes()
            for path in self.directory.iterdir()
            if path.name[0].isdigit() and path.stat().st_size
        }
        assert found == {ip: claim.content for claim, ip in self.held.items()}


TestWithAnotherWriter = WithAnotherWriter.TestCase
TestWithAnotherWriter.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
