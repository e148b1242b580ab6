"""execute(steps): operations into the kernel, many a system call, in the order given."""

from __future__ import annotations

import os

from ..errors import KernelError, UnsupportedError
from ..files import remove_file, replace_file, write_all
from ..model.kind import FILES, IPTABLES, MASQUERADING, NFT_RULES, REMOVE, REMOVED_DEVICES, SYSCTLS
from ..plan import Operation
from ..startup_typing import TYPE_CHECKING
from .devices import Indices
from .namespaces import Namespace
from .netlink.link_removal import removal
from .netlink.socket import ABSENT, NetlinkError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn

    from ..model.objects import File, NatRule, NetlinkObject, Sysctl
    from ..model.wire import Message

Step = tuple[Namespace, Operation]
"""An operation and the namespace that it is for."""


def execute(steps: Sequence[Step], namespaces: Mapping[str, Namespace], nat_table: str = "podwire") -> None:
    """Do all steps, consecutive ones of one namespace and kind in one batch.

    Stops at the first batch with a refusal and raises KernelError; what was done before it, and
    what the kernel did of that batch, stays done: ``converge`` goes back by planning from there.
    """
    descriptors = {name: namespace.fd for name, namespace in namespaces.items()}
    for namespace, batch, operations in _batches(steps):
        if batch == SYSCTLS:
            _write_sysctls(namespace, operations)
        elif batch == FILES:
            for operation in operations:
                _write_file(operation)
        elif batch == MASQUERADING:
            _apply_nat(namespace, operations, nat_table)
        elif batch == NFT_RULES:
            from .nftables.rules import apply_rules

            apply_rules(namespace, operations)
        elif batch == IPTABLES:
            from .iptables.rules import apply_iptables

            apply_iptables(namespace, operations)
        elif batch == REMOVED_DEVICES:
            _remove_links(namespace, operations)
        else:
            _send(namespace, operations, descriptors)


def _batches(steps: Sequence[Step]) -> list[tuple[Namespace, str, list[Operation]]]:
    """Consecutive steps of one sort and namespace, as itertools.groupby makes them; that costs a plugin's start
    0.07 ms."""
    batches: list[tuple[Namespace, str, list[Operation]]] = []
    last = None
    for namespace, operation in steps:
        key = id(namespace), operation.object.batch(operation.action)
        if key != last:
            batches.append((namespace, key[1], []))
            last = key
        batches[-1][2].append(operation)
    return batches


def _send(namespace: Namespace, operations: list[Operation], descriptors: Mapping[str, int]) -> None:
    messages: list[Message] = []
    owners: list[Operation] = []
    index = Indices(namespace)
    for operation in operations:
        action, target, previous = operation
        for message in _netlink(target).messages(action, previous, index, descriptors):
            messages.append(message)
            owners.append(operation)
    for refusal in namespace.socket.batch(messages):
        operation = owners[refusal.number]
        if operation.action != REMOVE or refusal.errno not in ABSENT:
            _refuse(namespace, operation, refusal)


def _netlink(target: Any) -> NetlinkObject:
    """The object as one of a netlink kind, which the batch that it is in says it is."""
    kind: NetlinkObject = target
    return kind


def _remove_links(namespace: Namespace, operations: Sequence[Operation]) -> None:
    names = [operation.object.identity() for operation in operations]
    for refusal in namespace.socket.batch(removal(names)):
        if refusal.errno not in ABSENT:
            _refuse(namespace, operations[min(refusal.number, len(operations) - 1)], refusal)


def _refuse(namespace: Namespace, operation: Operation, refusal: NetlinkError) -> NoReturn:
    doing = f"{operation.action} {operation.object} on {namespace.name}"
    if refusal.errno in (93, 95):  # EPROTONOSUPPORT, EOPNOTSUPP
        missing = _netlink(operation.object).feature()
        cause = f"failed to {doing}: this kernel lacks {missing}"
        raise UnsupportedError(cause, refusal.errno, "load or build the module")
    raise KernelError(f"failed to {doing}: {os.strerror(refusal.errno)}{refusal.text}", refusal.errno)


def _write_sysctls(namespace: Namespace, operations: Sequence[Operation]) -> None:
    with namespace.entered():
        for operation in operations:
            sysctl: Sysctl = operation.object  # type: ignore[assignment]
            try:
                _write_sysctl(sysctl)
            except OSError as error:
                raise KernelError(
                    f"failed to set {sysctl} on {namespace.name}: {error.strerror}", error.errno or 0
                ) from error


def _write_sysctl(sysctl: Sysctl) -> None:
    file = os.open(f"/proc/sys/{sysctl.key}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        write_all(file, sysctl.value.encode())
    finally:
        os.close(file)


def _write_file(operation: Operation) -> None:
    file: File = operation.object  # type: ignore[assignment]
    try:
        if operation.action == REMOVE:
            remove_file(file.path)
            return
        os.makedirs(os.path.dirname(file.path), exist_ok=True)
        replace_file(file.path, file.content.encode(), file.mode)
    except OSError as error:
        raise KernelError(f"failed to write {file.path}: {error.strerror}", error.errno or 0) from error


def _apply_nat(namespace: Namespace, operations: Sequence[Operation], table: str) -> None:
    """nf_tables takes a whole table in one transaction: what is there, less and plus the operations."""
    from .nftables.masquerade import apply_nat, show_nat

    rules = set(show_nat(namespace, table))
    for operation in operations:
        rule: NatRule = operation.object  # type: ignore[assignment]
        (rules.discard if operation.action == REMOVE else rules.add)(rule)
    apply_nat(namespace, table, frozenset(rules))
