"""Consecutive plugins of a list that run in this process, for many attachments at once.

All attachments of one call share one lock, one round of reservations, and one converge. They do not share
their fate: when the converge of all fails (and has gone back), halves of them are tried, so that the ones at
fault are found and the others attached. What failed keeps neither device nor address.
"""

from __future__ import annotations

from ...converge import Target, converge
from ...errors import (
    CNI_CONFLICT,
    CNI_INVALID_NETWORK_CONFIG,
    CNI_KERNEL_FAILURE,
    CNI_NOT_AVAILABLE,
    CniError,
    ConflictError,
    ExhaustedError,
    PodwireError,
)
from ...ipam.allocator import Allocator, Reservation
from ...ipam.store import Claim
from ...kernel import Namespace
from ...kernel.lock import locked
from ...model.objects import IptablesRule, Link, Rule, Sysctl
from ...model.state import EMPTY, Scope
from ...plan import Operation
from ...startup_typing import TYPE_CHECKING, NamedTuple
from ..plugins import owned
from ..plugins.chains import name as name_of_chain
from ..spec.netconf import Attachment, NetConf
from ..spec.result import Result
from .namespaces import Namespaces, union
from .plugin import NODE, Plugin, Projection

if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

_RULES = (Rule, IptablesRule)
Operations = tuple[tuple[str, Operation], ...]


class Answers(NamedTuple):
    """What came of each attachment (its result, or its error), and the operations that were needed."""

    results: Dict[Attachment, Result]
    errors: Dict[Attachment, CniError]
    operations: Operations = ()

    def but(self, errors: Dict[Attachment, CniError]) -> Answers:
        """With more errors, and without the results of attachments that have one."""
        errors = {**self.errors, **errors}
        good = {each: result for each, result in self.results.items() if each not in errors}
        return Answers(good, errors, self.operations)


class Batch:
    """Plugins ``chain`` of the network ``name``. ``previous``, where a method has it, are the results of the
    plugins before these."""

    def __init__(self, name: str, chain: Sequence[Tuple[NetConf, Plugin]], lock: str) -> None:
        self._plugins = tuple(chain)
        self._lock = lock
        self._name = name
        found = [conf for conf, _ in chain if conf.data.get("ipam")]
        if len(found) > 1:
            raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {name}: more than one plugin has ipam")
        ipam = found[0].ipam if found else None
        self.allocator = Allocator(name, ipam.range_sets, ipam.data_dir) if ipam else None

    def add(self, attachments: Sequence[Attachment], previous: Mapping[Attachment, Result]) -> Answers:
        """Reserve, and build. An attachment whose interface exists already is an error, unless plugins before
        these made it."""
        with locked(self._lock), Namespaces() as namespaces:
            errors = namespaces.open_all(attachments, vacant=not previous)
            reservations, refused = self._reserve(
                [attachment for attachment in attachments if attachment not in errors]
            )
            errors.update(refused)
            try:
                projections = {each: self.project(each, held, previous) for each, held in reservations.items()}
                done = self._converge_each(projections, namespaces).but(errors)
                namespaces.announce({each: projections[each] for each in done.results})
            except BaseException:
                self._take_away(reservations)
                raise
            self._take_away([reservation for reservation in reservations if reservation in done.errors])
        return done

    def dry_run(self, attachments: Sequence[Attachment]) -> Answers:
        """What ``add`` would answer, and the operations on what attachments share. Changes nothing, and needs no
        container's namespace. If addresses are short, the last attachments are left out."""
        found = [Reservation(())] * len(attachments)
        if self.allocator is not None:
            found = self.allocator.preview(len(attachments)) if attachments else []
        projections = {each: self.project(each, reservation, {}) for each, reservation in zip(attachments, found)}
        results = {each: projection.result for each, projection in projections.items()}
        with Namespaces() as namespaces:
            target = namespaces.node_target(union(projection.shared for projection in projections.values()))
            return Answers(results, {}, converge([target], check=True).operations if results else ())

    def mend(
        self, held: Mapping[Attachment, Reservation], previous: Mapping[Attachment, Result], *, check: bool = False
    ) -> Answers:
        """Make attachments that hold these addresses look as this configuration wants. With ``check`` nothing is
        changed; the operations tell what differs, and so do the errors of attachments that cannot be looked at.
        """
        if not held:
            return Answers({}, {})
        with locked(self._lock), Namespaces() as namespaces:
            errors = namespaces.open_all(list(held), vacant=False)
            sound = {
                each: self.project(each, addresses, previous) for each, addresses in held.items() if each not in errors
            }
            return self._converge_each(sound, namespaces, check=check).but(errors)

    def check(
        self, attachments: Sequence[Attachment], previous: Mapping[Attachment, Result]
    ) -> Dict[Attachment, CniError]:
        """The errors of those that are not as ``add`` left them; empty if all is well."""
        errors: Dict[Attachment, CniError] = {}
        held = {}
        for each, reservation in self.held(attachments).items():
            if reservation is None:
                errors[each] = CniError(CNI_KERNEL_FAILURE, f"{each.name} holds no address in network {self._name}")
            else:
                held[each] = reservation
        answers = self.mend(held, previous, check=True)
        errors.update(answers.errors)
        owner = {name: each for each in answers.results for name in self.devices(each)}
        owner.update((owned.owner(self._name, each.container_id, each.ifname), each) for each in answers.results)
        owner.update((name, each) for each in answers.results for name in self._iptables(each))
        for each in answers.results:
            lacking = [
                str(operation)
                for where, operation in answers.operations
                if where == each.name or (where == NODE and owner.get(_device_of(operation), each) == each)
            ]
            if lacking:
                errors[each] = CniError(CNI_KERNEL_FAILURE, f"{each.name} is not as configured", "; ".join(lacking[:5]))
        return errors

    def remove(self, attachments: Iterable[Attachment]) -> None:
        """Remove devices, then release addresses. What is not there is no error, and neither is a namespace
        that is gone."""
        with locked(self._lock):
            self._take_away(attachments)

    def status(self) -> None:
        """CniError 50 if the next ADD could have no address."""
        if self.allocator is not None and not self.allocator.preview(1):
            raise CniError(CNI_NOT_AVAILABLE, f"network {self._name} has no address left", "detach pods")

    def held(self, attachments: Iterable[Attachment]) -> Dict[Attachment, Optional[Reservation]]:
        """The addresses that attachments hold, where they are of this configuration's ranges; else None."""
        if self.allocator is None:
            return {attachment: Reservation(()) for attachment in attachments}
        found = self.allocator.lookup([attachment.claim for attachment in attachments])
        return {attachment: found[attachment.claim] for attachment in attachments}

    def leases(self, valid: Set[Claim]) -> List[Attachment]:
        """Attachments that hold an address and are none of the valid ones."""
        if self.allocator is None:
            return []
        stale = set(self.allocator.collect(valid, read_only=True).values())
        return [Attachment(claim.container_id, claim.ifname) for claim in stale]

    def shared(self, answers: Answers) -> Operations:
        """The operations on what attachments share, of those that ``add`` needed."""
        own = {name for each in (*answers.results, *answers.errors) for name in self.devices(each)}
        return tuple(
            (where, operation)
            for where, operation in answers.operations
            if where == NODE and not isinstance(operation.object, _RULES) and _device_of(operation) not in own
        )

    def devices(self, attachment: Attachment) -> Set[str]:
        """The node's devices that are the attachment's own."""
        return {name for conf, plugin in self._plugins for name in plugin.devices(conf, attachment)}

    def _iptables(self, attachment: Attachment) -> Set[str]:
        """The chains of iptables that are the container's own."""
        kinds = [kind for conf, plugin in self._plugins for kind in plugin.iptables_chains(conf)]
        return {name_of_chain(kind, self._name, attachment.container_id) for kind in kinds}

    def project(
        self, attachment: Attachment, reservation: Reservation, previous: Mapping[Attachment, Result]
    ) -> Projection:
        """What these plugins want for an attachment."""
        before = previous.get(attachment)
        found = Projection(before or Result())
        for conf, plugin in self._plugins:
            own = reservation if conf.data.get("ipam") else None
            found = plugin.project(conf, attachment, own, before).behind(found)
            before = found.result
        return found

    # --- the parts -------------------------------------------------------------------------------

    def _reserve(
        self, attachments: Sequence[Attachment]
    ) -> Tuple[Dict[Attachment, Reservation], Dict[Attachment, CniError]]:
        if self.allocator is None:
            return {attachment: Reservation(()) for attachment in attachments}, {}
        if not attachments:
            return {}, {}
        answers = self.allocator.reserve([attachment.claim for attachment in attachments])
        reservations: Dict[Attachment, Reservation] = {}
        errors: Dict[Attachment, CniError] = {}
        for attachment in attachments:
            answer = answers[attachment.claim]
            if isinstance(answer, Reservation):
                reservations[attachment] = answer
            else:
                code = CNI_NOT_AVAILABLE if isinstance(answer, ExhaustedError) else CNI_CONFLICT
                errors[attachment] = CniError(code, answer.message, answer.hint)
        return reservations, errors

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

    def _take_away(self, attachments: Iterable[Attachment]) -> None:
        gone = list(attachments)
        if not gone:
            return
        devices = frozenset(name for each in gone for name in self.devices(each))
        chains = tuple({chain: None for conf, plugin in self._plugins for chain in plugin.chains(conf)})
        owners = frozenset(owned.owner(self._name, each.container_id, each.ifname) for each in gone)
        iptables = frozenset(name for each in gone for name in self._iptables(each))
        with Namespace.current(NODE) as node:
            converge([Target(node, EMPTY, Scope(links=devices, chains=chains, owners=owners, iptables=iptables))])
        if self.allocator is not None:
            self.allocator.release(each.claim for each in gone)


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
    if isinstance(each, _RULES):
        return each.owner
    if isinstance(each, Sysctl):
        return each.key.split("/")[-2]
    return getattr(each, "device", None) or ""
