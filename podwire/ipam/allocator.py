"""Reserve and release addresses for containers: many under one lock, with one flush for all.

A batch never fails as a whole because of one member: each claim gets its reservation or its own error, and a
claim that cannot have an address of every range set keeps none.
"""

from __future__ import annotations

from ..errors import ExhaustedError, IpamError
from ..model.objects import IPAddress
from ..startup_typing import TYPE_CHECKING, NamedTuple
from .ranges import IpConfig, RangeSet, candidates, find_range, parse_address, with_prefix
from .store import DATA_DIR, Claim, Store

if TYPE_CHECKING:
    from typing import Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple, Union

#: After so many taken candidates in a row the directory is read once instead of trying on.
_PATIENCE = 32


class Reservation(NamedTuple):
    """The addresses held for a container's interface: one of each range set, in their order."""

    ips: Tuple[IpConfig, ...]


class Allocator:
    """The addresses of one network. ``data_dir`` as host-local's ``dataDir``."""

    def __init__(self, network: str, range_sets: Sequence[RangeSet], data_dir: str = DATA_DIR) -> None:
        self.network = network
        self.range_sets = tuple(range_sets)
        self.data_dir = data_dir
        self._store = Store(data_dir, network)

    def reserve(
        self, claims: Sequence[Claim], requested: Sequence[IPAddress] = ()
    ) -> Dict[Claim, Union[Reservation, IpamError]]:
        """Reserve an address of every range set for each claim; durable when this returns.

        ``requested`` addresses are the only candidates of the range sets that they belong to; each of them has to
        be free and of a range set, else the claim gets nothing. A claim that already holds an address gets an
        IpamError, one for which there is none left an ExhaustedError. IpamError is raised if the store itself
        cannot be used.
        """
        answers: Dict[Claim, Union[Reservation, IpamError]] = {}
        with self._store as store:
            fresh = []
            for claim in dict.fromkeys(claims):
                held = store.find(claim)
                if held:
                    answers[claim] = self._duplicate(claim, held)
                else:
                    fresh.append(claim)
            try:
                store.prepare(fresh)
                self._reserve_fresh(store, fresh, answers, requested)
            except OSError as error:
                self._give_back(store, answers)
                raise IpamError(
                    f"failed to reserve an address in {store.directory}: {error.strerror}",
                    "is the disk full or read-only?",
                ) from error
        return answers

    def release(self, claims: Iterable[Claim]) -> Dict[Claim, Tuple[IPAddress, ...]]:
        """Release what each claim holds; one that holds nothing is no error. Tells what was released."""
        released: Dict[Claim, Tuple[IPAddress, ...]] = {}
        with self._store as store:
            for claim in claims:
                held = store.find(claim)
                self._remove(store, claim, held)
                released[claim] = tuple(held)
        return released

    def collect(self, valid: Set[Claim], *, read_only: bool = False) -> Dict[IPAddress, Claim]:
        """Release every lease that no valid claim holds (a lease without ifname: no valid container)."""
        containers = {claim.container_id for claim in valid}
        with Store(self.data_dir, self.network, read_only=read_only) as store:
            stale = {
                ip: claim
                for ip, claim in store.leases().items()
                if claim not in valid and not (claim.ifname == "" and claim.container_id in containers)
            }
            if not read_only:
                for ip, claim in stale.items():
                    self._remove(store, claim, [ip])
        return stale

    def lookup(self, claims: Iterable[Claim]) -> Dict[Claim, Optional[Reservation]]:
        """What each claim holds, if that is one address of each of these range sets; else None. Writes nothing."""
        with Store(self.data_dir, self.network, read_only=True) as store:
            return {claim: self._as_reservation(store.find(claim)) for claim in claims}

    def exhausted(self) -> Optional[ExhaustedError]:
        """The error that the next claim would get for want of addresses. Writes nothing."""
        with Store(self.data_dir, self.network, read_only=True) as store:
            taken = set(store.names())
            for index, ranges in enumerate(self.range_sets):
                walk = _Walk(store, index, ranges)
                if all(
                    str(candidate.address.ip) in taken and store.content(candidate.address.ip)
                    for candidate in walk.candidates()
                ):
                    error = self._exhausted(store, walk)
                    return error if isinstance(error, ExhaustedError) else None
        return None

    def preview(self, count: int) -> List[Reservation]:
        """What ``reserve`` would give to the next claims, fewer if fewer are left. Writes nothing."""
        found = []
        with Store(self.data_dir, self.network, read_only=True) as store:
            taken = set(store.names())
            walks = [candidates(ranges, store.last_reserved(i)) for i, ranges in enumerate(self.range_sets)]
            for _ in range(count):
                ips = [next((each for each in walk if str(each.address.ip) not in taken), None) for walk in walks]
                if None in ips:
                    break
                found.append(Reservation(tuple(ip for ip in ips if ip is not None)))
        return found

    # --- the parts of reserve --------------------------------------------------------------------

    def _reserve_fresh(
        self,
        store: Store,
        claims: Sequence[Claim],
        answers: Dict[Claim, Union[Reservation, IpamError]],
        requested: Sequence[IPAddress],
    ) -> None:
        refusal = self._misplaced(requested)
        walks = [_Walk(store, i, ranges, requested) for i, ranges in enumerate(self.range_sets)]
        for claim in claims:
            if refusal is not None:
                answers[claim] = refusal
                store.settle(claim, [])
                continue
            ips: List[IpConfig] = []
            answers[claim] = Reservation(())
            for walk in walks:
                found = walk.take(claim)
                if found is None:
                    answers[claim] = self._exhausted(store, walk)
                    for ip in ips:
                        store.remove(ip.address.ip)
                    ips = []
                    break
                ips.append(found)
                answers[claim] = Reservation(tuple(ips))
            store.settle(claim, [ip.address.ip for ip in ips])
        for walk in walks:
            if walk.last is not None:
                store.set_last_reserved(walk.index, walk.last)

    def _misplaced(self, requested: Sequence[IPAddress]) -> Optional[IpamError]:
        """Why requested addresses cannot be had, whoever holds them."""
        used: Set[int] = set()
        for ip in requested:
            found = next(
                ((i, find_range(each, ip)) for i, each in enumerate(self.range_sets) if find_range(each, ip)), None
            )
            if found is None:
                return IpamError(
                    f"failed to reserve {ip} in network {self.network}: it is in none of "
                    + ", ".join(str(range_) for ranges in self.range_sets for range_ in ranges),
                    "ask for another address",
                )
            index, place = found
            if place is not None and ip == place.gateway:
                return IpamError(
                    f"failed to reserve {ip} in network {self.network}: it is the gateway of {place.subnet}"
                )
            if index in used:
                return IpamError(f"failed to reserve {ip} in network {self.network}: one address of a range set is all")
            used.add(index)
        return None

    def _give_back(self, store: Store, answers: Dict[Claim, Union[Reservation, IpamError]]) -> None:
        """After a failure of the store itself: nobody got anything."""
        for claim, answer in answers.items():
            if isinstance(answer, Reservation):
                self._remove(store, claim, [ip.address.ip for ip in answer.ips])

    @staticmethod
    def _remove(store: Store, claim: Claim, ips: Iterable[IPAddress]) -> None:
        for ip in ips:
            try:
                store.remove(ip)
            except OSError as error:
                raise IpamError(f"failed to release {ip} in {store.directory}: {error.strerror}") from error
        store.forget(claim)

    def _duplicate(self, claim: Claim, held: Sequence[IPAddress]) -> IpamError:
        return IpamError(
            f"failed to reserve an address in network {self.network}: container {claim.container_id} "
            f"interface {claim.ifname} already holds {', '.join(map(str, held))}",
            "detach it first (DEL)",
        )

    def _exhausted(self, store: Store, walk: _Walk) -> IpamError:
        ranges = self.range_sets[walk.index]
        if walk.wanted is not None:
            return IpamError(
                f"failed to reserve {walk.wanted} in network {self.network}: it is taken",
                "ask for another address, or detach who has it",
            )
        held = [ip for ip in map(parse_address, store.names()) if ip is not None and find_range(ranges, ip)]
        return ExhaustedError(
            f"failed to reserve an IPv{ranges[0].subnet.version} address in network {self.network}: "
            f"no address is free in {', '.join(map(str, ranges))} ({len(held)} leases)",
            f"detach pods, give a larger subnet, or release stale leases in {store.directory}",
        )

    def _as_reservation(self, held: Sequence[IPAddress]) -> Optional[Reservation]:
        if len(held) != len(self.range_sets):
            return None
        ips = []
        for ranges in self.range_sets:
            match = next(((ip, range_) for ip in held for range_ in ranges if ip in range_), None)
            if match is None:
                return None
            ip, each = match
            ips.append(IpConfig(with_prefix(ip, each.subnet.prefixlen), each.gateway))
        return Reservation(tuple(ips))


class _Walk:
    """One range set's candidates, in turn for all claims of a batch."""

    def __init__(self, store: Store, index: int, ranges: RangeSet, requested: Sequence[IPAddress] = ()) -> None:
        self.index = index
        self.last: Optional[IPAddress] = None
        self._store = store
        #: The requested address of this range set, its only candidate.
        self.wanted = next((ip for ip in requested if find_range(ranges, ip)), None)
        place = find_range(ranges, self.wanted) if self.wanted is not None else None
        self._candidates: Iterator[IpConfig] = candidates(ranges, store.last_reserved(index))
        if self.wanted is not None and place is not None:
            self._candidates = iter((IpConfig(with_prefix(self.wanted, place.subnet.prefixlen), place.gateway),))
        self._misses = 0
        self._taken: Set[str] = set()

    def candidates(self) -> Iterator[IpConfig]:
        """What is left to try."""
        return self._candidates

    def take(self, claim: Claim) -> Optional[IpConfig]:
        """Reserve the next free candidate; None if there is none."""
        for candidate in self._candidates:
            ip = candidate.address.ip
            if self._misses >= _PATIENCE:
                if not self._taken:
                    self._taken = set(self._store.names())
                if str(ip) in self._taken:
                    continue
            if self._store.take(claim, ip):
                self.last = ip
                self._misses = 0 if not self._taken else self._misses
                return candidate
            self._misses += 1
        return None
