"""converge: show, plan, execute, verify; on any failure plan back to what was shown."""

from __future__ import annotations

from .errors import ConflictError, RollbackError, VerificationError
from .kernel import Namespace, Observed, Reader, Step
from .kernel import execute as kernel_execute
from .model.kind import DEVICES, STACKED_DEVICES, SYSCTLS
from .model.state import Scope, State
from .plan import REMOVE, Operation, fields_of, plan
from .startup_typing import TYPE_CHECKING, NamedTuple, defaultdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Callable, NoReturn

    Execute = Callable[[Sequence[Step], Mapping[str, Namespace]], None]

#: Up to so many operations are verified one by one, which for one peer of 5,000 saves half a show.
_FEW = 64


class Target(NamedTuple):
    """One namespace, what it should hold, and what of it is ours."""

    namespace: Namespace
    desired: State
    scope: Scope


class Outcome(NamedTuple):
    """What was done (or, in check mode, what would be): (namespace name, operation). Empty: unchanged."""

    operations: tuple[tuple[str, Operation], ...]

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return bool(self.operations)

    def of(self, namespace: str) -> list[Operation]:
        """The operations of one namespace."""
        return [operation for name, operation in self.operations if name == namespace]


def converge(targets: Sequence[Target], *, check: bool = False, execute: Execute = kernel_execute) -> Outcome:
    """Make the kernel show what is desired, in all targets together or in none.

    Raises ConflictError before anything is touched; KernelError or VerificationError after
    everything is back as it was. Ctrl-C goes back too. ``execute`` is a parameter for the tests that
    fail it at every position.
    """
    readers = [Reader(target.namespace, target.scope, target.desired) for target in targets]
    before = [reader.show() for reader in readers]
    for target, shown in zip(targets, before):
        _refuse_conflicts(target, shown)
    plans = [plan(target.desired, shown.state) for target, shown in zip(targets, before)]
    outcome = Outcome(tuple((t.namespace.name, op) for t, ops in zip(targets, plans) for op in ops))
    if check or not outcome.changed:
        return outcome
    namespaces = {target.namespace.name: target.namespace for target in targets}
    try:
        execute(_interleave(targets, plans), namespaces)
        _verify(targets, readers, plans, before)
    except BaseException as error:
        _rollback(targets, readers, before, namespaces, error)
    return outcome


def _interleave(targets: Sequence[Target], plans: Sequence[Sequence[Operation]]) -> list[Step]:
    """All plans as one list: what must be removed first, then devices, then namespace by namespace, then removals.

    Only devices reach across namespaces (a veth's far end exists once the near end was made), so only
    they are aligned; the rest of a namespace stays together and shares its batches.
    """
    buckets: dict[tuple[tuple[int, int], int], list[Step]] = defaultdict(list)
    for number, (target, operations) in enumerate(zip(targets, plans)):
        clearing = True
        for operation in operations:
            clearing = clearing and operation.action == REMOVE
            stage = (0, 0) if clearing else _stage(operation)
            buckets[stage, number].append((target.namespace, operation))
    return [step for key in sorted(buckets) for step in buckets[key]]


def _stage(operation: Operation) -> tuple[int, int]:
    """Sysctls come before devices that only have to be configured: those exist by then, and should not
    be up before duplicate address detection is off. So the rest of a namespace is one batch."""
    if operation.action == REMOVE:
        return 3, 0
    return _STAGES.get(operation.object.batch(operation.action), (2, 0))


_STAGES = {DEVICES: (1, 0), STACKED_DEVICES: (1, 1), SYSCTLS: (1, 3)}


def _refuse_conflicts(target: Target, shown: Observed) -> None:
    """A foreign route on a wanted prefix would win, lose or share by its metric: none of it declared."""
    if not shown.foreign.routes:
        return
    routes = sorted(map(str, shown.foreign.routes))
    raise ConflictError(
        f"failed to converge {target.namespace.name}: a route that podwire does not own stands on a wanted prefix: "
        + "; ".join(routes),
        "remove it, or declare other cluster_cidrs",
    )


def _verify(
    targets: Sequence[Target],
    readers: Sequence[Reader],
    plans: Sequence[Sequence[Operation]],
    before: Sequence[Observed],
) -> None:
    """Read back the kinds of objects that were touched, and plan again: nothing may be left."""
    for target, reader, done, shown in zip(targets, readers, plans, before):
        if not done or (len(done) <= _FEW and reader.shows(done)):
            continue
        touched = fields_of(done)
        if "links" in touched:  # devices take objects of every other kind along
            touched |= {name for name, old, new in zip(State._fields, shown.state, target.desired) if old or new}
        missing = plan(_only(target.desired, touched), _only(reader.show(touched).state, touched))
        if missing:
            raise VerificationError(
                f"failed to converge {target.namespace.name}: the kernel accepted everything, but still lacks: "
                + "; ".join(map(str, missing[:5])),
                "something else is changing this node at the same time",
            )


def _only(state: State, fields: frozenset[str]) -> State:
    return State._make(value if name in fields else frozenset() for name, value in zip(State._fields, state))


def _rollback(
    targets: Sequence[Target],
    readers: Sequence[Reader],
    before: Sequence[Observed],
    namespaces: Mapping[str, Namespace],
    error: BaseException,
) -> NoReturn:
    """Plan from what is there now to what was shown, and raise the error that made it necessary; or one that names both
    that and what kept the rollback from ending there, whichever sort either is of."""
    try:
        plans = [plan(shown.state, reader.show().state) for shown, reader in zip(before, readers)]
        kernel_execute(_interleave(targets, plans), namespaces)
        for target, reader, shown in zip(targets, readers, before):
            rest = plan(shown.state, reader.show().state)
            if rest:
                raise VerificationError(f"{target.namespace.name} still lacks: " + "; ".join(map(str, rest[:5])))
    except BaseException as second:
        raise RollbackError(
            f"{_name(error)}; and rolling back failed: {_name(second)}",
            getattr(error, "errno", None) or 0,
            "the node is between its earlier and its desired state: run the same again",
        ) from error
    raise error


def _name(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return str(error) or type(error).__name__
