"""execute(steps): operations into the kernel, many a system call, in the order given."""

from __future__ import annotations

import os

from ..errors import KernelError
from ..files import remove_file, replace_file, write_all
from ..model.objects import Address, FdbEntry, File, Link, NatRule, Neighbour, NextHop, PortVlans, Route, Sysctl
from ..plan import ADD, CHANGE, REMOVE, Operation, kind_of, link_stage
from ..startup_typing import TYPE_CHECKING
from .namespaces import Namespace
from .netlink import rtnetlink
from .netlink.link_removal import removal
from .netlink.socket import ABSENT, Message, NetlinkError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

Step = tuple[Namespace, Operation]


def execute(steps: Sequence[Step], namespaces: Mapping[str, Namespace], nat_table: str = "podwire") -> None:
    """Do all steps, consecutive ones of one namespace and kind in one batch.

    Stops at the first batch with a refusal and raises KernelError; what was done before it, and
    what the kernel did of that batch, stays done: ``converge`` goes back by planning from there.
    """
    descriptors = {name: namespace.fd for name, namespace in namespaces.items()}
    for namespace, way, operations in _batches(steps):
        if way == "sysctl":
            _write_sysctls(namespace, operations)
        elif way == "file":
            for operation in operations:
                _write_file(operation)
        elif way == "nat":
            _apply_nat(namespace, operations, nat_table)
        elif way == "rules":
            from .nftables.rules import apply_rules

            apply_rules(namespace, operations)
        elif way == "iptables":
            from .iptables.rules import apply_iptables

            apply_iptables(namespace, operations)
        else:
            _send(namespace, operations, descriptors)


_WAYS = {"Sysctl": "sysctl", "File": "file", "NatRule": "nat", "Rule": "rules", "IptablesRule": "iptables"}


def _batches(steps: Sequence[Step]) -> list[tuple[Namespace, str, list[Operation]]]:
    """Consecutive steps of one key, as itertools.groupby makes them; that costs a plugin's start 0.07 ms."""
    found: list[tuple[Namespace, str, list[Operation]]] = []
    last = None
    for step in steps:
        key = _batch_key(step)
        if key != last:
            found.append((step[0], key[1], []))
            last = key
        found[-1][2].append(step[1])
    return found


def _batch_key(step: Step) -> tuple[int, str, int]:
    """Steps with one key share a batch. Devices that others need are a batch of their own, because the
    others' messages name them by ifindex; so are removed devices, which go together."""
    namespace, operation = step
    each = operation.object
    if not isinstance(each, Link):
        return id(namespace), _WAYS.get(kind_of(each), "netlink"), 0
    if operation.action == REMOVE:
        return id(namespace), "removed links", 0
    stage = link_stage(each)
    return id(namespace), "netlink" if stage == 2 else "links", stage % 2


def _send(namespace: Namespace, operations: list[Operation], descriptors: Mapping[str, int]) -> None:
    if operations[0].action == REMOVE and isinstance(operations[0].object, Link):
        _remove_links(namespace, operations)
        return
    messages: list[Message] = []
    owners: list[Operation] = []
    index = _Index(namespace)
    for operation in operations:
        for message in _messages(operation, index, descriptors):
            messages.append(message)
            owners.append(operation)
    for refusal in namespace.socket.batch(messages):
        operation = owners[refusal.number]
        if operation.action == REMOVE and refusal.errno in ABSENT:
            continue
        _refuse(namespace, operation, refusal)


def _messages(operation: Operation, index: _Index, descriptors: Mapping[str, int]) -> Sequence[Message]:
    action, each, previous = operation
    gone = action == REMOVE
    if isinstance(each, Link):
        if action == ADD:
            return rtnetlink.link_add(each, index, descriptors)
        return rtnetlink.link_change(each, previous if isinstance(previous, Link) else None, index)
    if isinstance(each, Route):
        kind = rtnetlink.RTM_DELROUTE if gone else rtnetlink.RTM_NEWROUTE
        return (rtnetlink.route_message(kind, each, index, action == CHANGE),)
    if isinstance(each, Address):
        return (rtnetlink.address_message(rtnetlink.RTM_DELADDR if gone else rtnetlink.RTM_NEWADDR, each, index),)
    if isinstance(each, NextHop):
        kind = rtnetlink.RTM_DELNEXTHOP if gone else rtnetlink.RTM_NEWNEXTHOP
        return (rtnetlink.next_hop_message(kind, each, index, action == CHANGE),)
    if isinstance(each, PortVlans):
        return rtnetlink.vlan_messages(each._replace(vlans=(), others=False) if gone else each, index)
    assert isinstance(each, (Neighbour, FdbEntry))
    kind = rtnetlink.RTM_DELNEIGH if gone else rtnetlink.RTM_NEWNEIGH
    encode = rtnetlink.neighbour_message if isinstance(each, Neighbour) else rtnetlink.fdb_message
    return (encode(kind, each, index),)  # type: ignore[arg-type]


def _remove_links(namespace: Namespace, operations: Sequence[Operation]) -> None:
    names = [operation.object.name for operation in operations if isinstance(operation.object, Link)]
    for refusal in namespace.socket.batch(removal(names)):
        if refusal.errno not in ABSENT:
            _refuse(namespace, operations[min(refusal.number, len(operations) - 1)], refusal)


class _Index:
    """Names to ifindexes, read from the kernel when first asked: a few by themselves, many all at once."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._known: dict[str, int] = {}

    def __call__(self, name: str) -> int:
        found = self._known.get(name)
        if found is None and len(self._known) < _FEW:
            payload = self._namespace.socket.get(rtnetlink.RTM_GETLINK, rtnetlink.link_request(name))
            if payload is not None:
                found = self._known[name] = rtnetlink.read_link_name(payload)[0]
        elif found is None:
            for _, payload in self._namespace.socket.dump(rtnetlink.RTM_GETLINK, bytes(16)):
                number, known = rtnetlink.read_link_name(payload)
                self._known[known] = number
            found = self._known.get(name)
        if found is None:
            raise KernelError(f"failed to find device {name} on {self._namespace.name}: there is none", 19)
        return found


#: So many devices are asked for one by one.
_FEW = 4
_VERBS = {ADD: "add", CHANGE: "change", REMOVE: "remove"}


def _refuse(namespace: Namespace, operation: Operation, refusal: NetlinkError) -> NoReturn:
    doing = f"{_VERBS[operation.action]} {operation.object} on {namespace.name}"
    each = operation.object
    filtering = isinstance(each, PortVlans) or (isinstance(each, Link) and each.vlan_filtering)
    feature = "VLAN filtering of bridges (CONFIG_BRIDGE_VLAN_FILTERING)" if filtering else "the feature"
    missing = rtnetlink.feature_missing(refusal.errno, doing, feature)
    raise missing or KernelError(f"failed to {doing}: {os.strerror(refusal.errno)}{refusal.text}", refusal.errno)


def _write_sysctls(namespace: Namespace, operations: Sequence[Operation]) -> None:
    with namespace.entered():
        for operation in operations:
            sysctl = operation.object
            assert isinstance(sysctl, Sysctl)
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
    file = operation.object
    assert isinstance(file, File)
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
        assert isinstance(operation.object, NatRule)
        (rules.discard if operation.action == REMOVE else rules.add)(operation.object)
    apply_nat(namespace, table, frozenset(rules))
