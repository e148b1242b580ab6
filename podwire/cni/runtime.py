"""The runtime side of CNI: ADD, CHECK and DEL of a network for many attachments at once.

All attachments of one call share one lock, one round of reservations, and one converge. They do not share
their fate: when the converge of all fails (and has gone back), halves of them are tried, so that the ones at
fault are found and the others attached. What failed keeps neither device nor address nor cached result.

Order makes a kill harmless. ADD reserves, then builds, then caches; DEL takes away the devices, then the
reservation, then the cache. So whatever is left of an attachment, its address or its cached result tells of it,
and a DEL (or ``stale``, which finds them) removes the rest: device names follow from the attachment.
"""

from __future__ import annotations

import os

from ..converge import Target, converge
from ..errors import (
    CNI_CONFLICT,
    CNI_INVALID_NETWORK_CONFIG,
    CNI_KERNEL_FAILURE,
    CNI_NOT_AVAILABLE,
    CniError,
    ConflictError,
    ExhaustedError,
    PodwireError,
)
from ..ipam.allocator import Allocator, Reservation
from ..ipam.store import Claim
from ..kernel import Namespace
from ..kernel.lock import locked
from ..lean import TYPE_CHECKING, NamedTuple
from ..model import Link, Sysctl
from ..plan import Operation
from ..state import EMPTY, Scope
from .cache import CACHE_DIR, Cache
from .namespaces import NODE, Namespaces, union
from .netconf import Attachment, NetConfList
from .plugin import Plugin, Projection
from .result import Result

if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

Operations = tuple[tuple[str, Operation], ...]


class Answers(NamedTuple):
    """What came of each attachment (its result, or its error), and the operations that were needed."""

    results: Dict[Attachment, Result]
    errors: Dict[Attachment, CniError]
    operations: Operations = ()


class Runtime:
    """Runs one network's plugins in this process, in the caller's network namespace.

    ``plugins``: type to plugin. ``cache_dir``: libcni's, which also holds the lock.
    """

    def __init__(self, network: NetConfList, plugins: Mapping[str, Plugin], cache_dir: str = CACHE_DIR) -> None:
        for conf in network.plugins:
            if conf.type not in plugins:
                raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {network.name}: no plugin {conf.type!r} here")
        self.network = network
        self.cache = Cache(cache_dir, network.name)
        self._plugins = [(conf, plugins[conf.type]) for conf in network.plugins]
        self._lock = os.path.join(cache_dir, "podwire.lock")
        ipam = network.ipam
        self.allocator = Allocator(network.name, ipam.range_sets, ipam.data_dir) if ipam else None

    def add(self, attachments: Sequence[Attachment]) -> Answers:
        """ADD: reserve, build, cache. An attachment whose interface exists already is an error."""
        with locked(self._lock), Namespaces() as namespaces:
            errors = namespaces.open_all(attachments, vacant=True)
            reservations, refused = self._reserve([each for each in attachments if each not in errors])
            errors.update(refused)
            try:
                projections = {each: self.project(each, held) for each, held in reservations.items()}
                done = self._converge_each(projections, namespaces)
                errors.update(done.errors)
                good = {each: result for each, result in done.results.items() if each not in errors}
                errors.update(self.cache.write(self.network, good))
                namespaces.announce({each: projections[each] for each in good})
            except BaseException:
                self._take_away(reservations)
                raise
            self._take_away([each for each in reservations if each in errors])
        return Answers({a: r for a, r in good.items() if a not in errors}, errors, done.operations)

    def foresee(self, attachments: Sequence[Attachment]) -> Answers:
        """What ADD would answer, and the operations on what attachments share. Changes nothing, and needs no
        container's namespace. If addresses are short, the last attachments are left out."""
        found = [Reservation(())] * len(attachments)
        if self.allocator is not None:
            found = self.allocator.preview(len(attachments)) if attachments else []
        projections = {each: self.project(each, reservation) for each, reservation in zip(attachments, found)}
        results = {each: projection.result for each, projection in projections.items()}
        with Namespaces() as namespaces:
            target = namespaces.node_target(union(projection.shared for projection in projections.values()))
            return Answers(results, {}, converge([target], check=True).operations if results else ())

    def mend(self, held: Mapping[Attachment, Reservation], *, check: bool = False) -> Answers:
        """Make attachments that hold these addresses look as this configuration wants: what CHECK would
        find is put right, also eth0 gone or another MTU. With ``check`` nothing is changed; the operations
        tell what CHECK finds, and so do the errors of attachments that cannot be looked at.
        """
        if not held:
            return Answers({}, {})
        with locked(self._lock), Namespaces() as namespaces:
            errors = namespaces.open_all(list(held), vacant=False)
            sound = {each: self.project(each, addresses) for each, addresses in held.items() if each not in errors}
            done = self._converge_each(sound, namespaces, check=check)
            errors.update(done.errors)
            good = {each: result for each, result in done.results.items() if each not in errors}
            if not check:
                differing = {each: result for each, result in good.items() if not self._is_cached(each, result)}
                errors.update(self.cache.write(self.network, differing))
        return Answers(good, errors, done.operations)

    def shared(self, answers: Answers) -> Operations:
        """The operations on what attachments share, of those that ADD needed."""
        own = {name for each in answers.results for name in self._devices(each)}
        own |= {name for each in answers.errors for name in self._devices(each)}
        return tuple(each for each in answers.operations if each[0] == NODE and _device_of(each[1]) not in own)

    def check(self, attachments: Sequence[Attachment]) -> Dict[Attachment, CniError]:
        """CHECK: the errors of those that are not as ADD left them; empty if all is well."""
        errors: Dict[Attachment, CniError] = {}
        held = {}
        for each, reservation in self.held(attachments).items():
            if reservation is None or self.cache.read(each) is None:
                errors[each] = CniError(CNI_KERNEL_FAILURE, f"{each.name} holds no address or cached result")
            else:
                held[each] = reservation
        answers = self.mend(held, check=True)
        errors.update(answers.errors)
        owner = {name: each for each in answers.results for name in self._devices(each)}
        for each in answers.results:
            lacking = [
                str(operation)
                for where, operation in answers.operations
                if where == each.name or (where == NODE and owner.get(_device_of(operation), each) == each)
            ]
            if lacking:
                errors[each] = CniError(CNI_KERNEL_FAILURE, f"{each.name} is not as configured", "; ".join(lacking[:5]))
        return errors

    def delete(self, attachments: Iterable[Attachment]) -> None:
        """DEL: remove devices, release addresses, forget results. What is not there is no error, and
        neither is a namespace that is gone."""
        with locked(self._lock):
            self._take_away(attachments)

    def held(self, attachments: Iterable[Attachment]) -> Dict[Attachment, Optional[Reservation]]:
        """The addresses that attachments hold, where they are of this configuration's ranges; else None."""
        if self.allocator is None:
            return {each: Reservation(()) for each in attachments}
        found = self.allocator.lookup([each.claim for each in attachments])
        return {each: found[each.claim] for each in attachments}

    def stale(self, valid: Set[Claim]) -> List[Attachment]:
        """Attachments that left an address or a cached result, and are none of the valid ones (for GC)."""
        claims = {cached.attachment.claim: cached.attachment for cached in self.cache.all()}
        if self.allocator is not None:
            for claim in self.allocator.collect(valid, read_only=True).values():
                claims.setdefault(claim, Attachment(claim.container_id, claim.ifname))
        return [attachment for claim, attachment in claims.items() if claim not in valid]

    # --- the parts -------------------------------------------------------------------------------

    def _reserve(
        self, attachments: Sequence[Attachment]
    ) -> Tuple[Dict[Attachment, Reservation], Dict[Attachment, CniError]]:
        if self.allocator is None:
            return {each: Reservation(()) for each in attachments}, {}
        if not attachments:
            return {}, {}
        answers = self.allocator.reserve([each.claim for each in attachments])
        reservations: Dict[Attachment, Reservation] = {}
        errors: Dict[Attachment, CniError] = {}
        for each in attachments:
            answer = answers[each.claim]
            if isinstance(answer, Reservation):
                reservations[each] = answer
            else:
                code = CNI_NOT_AVAILABLE if isinstance(answer, ExhaustedError) else CNI_CONFLICT
                errors[each] = CniError(code, answer.message, answer.hint)
        return reservations, errors

    def project(self, attachment: Attachment, reservation: Reservation) -> Projection:
        """What the whole chain wants for an attachment."""
        found = Projection(Result())
        previous: Optional[Result] = None
        for conf, plugin in self._plugins:
            own = reservation if conf.ipam is not None else None
            found = plugin.project(conf, attachment, own, previous).behind(found)
            previous = found.result
        return found

    def _converge_each(
        self, projections: Mapping[Attachment, Projection], namespaces: Namespaces, *, check: bool = False
    ) -> Answers:
        results = {each: projection.result for each, projection in projections.items()}
        try:
            operations = converge(namespaces.targets(projections), check=check).operations
        except PodwireError as error:
            if len(projections) <= 1:
                return Answers(results, {each: _as_cni_error(each, error) for each in projections})
        else:
            return Answers(results, {}, operations)
        return self._converge_halves(projections, namespaces, check)

    def _converge_halves(
        self, projections: Mapping[Attachment, Projection], namespaces: Namespaces, check: bool
    ) -> Answers:
        """After the converge of all failed: what they share first (if that is what fails, it fails for
        all), then halves, and halves of the halves that fail."""
        results = {each: projection.result for each, projection in projections.items()}
        shared = union(projection.shared for projection in projections.values())
        try:
            operations = converge([namespaces.node_target(shared)], check=check).operations
        except PodwireError as error:
            return Answers(results, {each: _as_cni_error(each, error) for each in projections})
        errors: Dict[Attachment, CniError] = {}
        pending = [list(projections)]
        while pending:
            group = pending.pop()
            try:
                operations += converge(
                    namespaces.targets({each: projections[each] for each in group}), check=check
                ).operations
            except PodwireError as error:
                if len(group) == 1:
                    errors[group[0]] = _as_cni_error(group[0], error)
                else:
                    middle = len(group) // 2
                    pending += [group[:middle], group[middle:]]
        return Answers(results, errors, operations)

    def _is_cached(self, attachment: Attachment, result: Result) -> bool:
        cached = self.cache.read(attachment)
        version = self.network.cni_version
        return (
            cached is not None
            and cached.config == self.network.source
            and cached.attachment == attachment
            and cached.result.to_json(version) == result.to_json(version)
        )

    def _take_away(self, attachments: Iterable[Attachment]) -> None:
        gone = list(attachments)
        if not gone:
            return
        devices = frozenset(name for each in gone for name in self._devices(each))
        with Namespace.current(NODE) as node:
            converge([Target(node, EMPTY, Scope(links=devices))])
        if self.allocator is not None:
            self.allocator.release(each.claim for each in gone)
        for each in gone:
            self.cache.remove(each)

    def _devices(self, attachment: Attachment) -> Set[str]:
        return {name for conf, plugin in self._plugins for name in plugin.devices(conf, attachment)}


def _as_cni_error(attachment: Attachment, error: PodwireError) -> CniError:
    if isinstance(error, CniError):
        return error
    code = CNI_CONFLICT if isinstance(error, ConflictError) else CNI_KERNEL_FAILURE
    return CniError(code, f"failed to attach {attachment.name}: {error.message}", error.hint)


def _device_of(operation: Operation) -> str:
    """The device that an operation on the node is about; "" for none."""
    each = operation.object
    if isinstance(each, Link):
        return each.name
    if isinstance(each, Sysctl):
        return each.key.split("/")[-2]
    return getattr(each, "device", None) or ""
