"""What CHECK makes of the operations that would lead to what an attachment should be."""

from __future__ import annotations

from ...errors import CNI_KERNEL_FAILURE, CniError
from ...model.objects import Address, FdbEntry, IptablesRule, Link, Neighbour, PortVlans, Route, Rule, Sysctl
from ...plan import REMOVE
from ...startup_typing import TYPE_CHECKING
from ..plugins.base import NODE

if TYPE_CHECKING:
    from typing import Dict, List, Mapping, Sequence

    from ...plan import Operation
    from ..plugins.plugin import Projection
    from ..spec.netconf import Attachment
    from ..spec.result import Result
    from .step import Answers


def as_left(projection: Projection, previous: Result) -> Projection:
    """The projection with MAC addresses as the result tells them. MTU and the like may have been changed since."""
    macs = {interface.name: interface.mac for interface in previous.interfaces if interface.sandbox and interface.mac}
    pod = frozenset(link._replace(mac=macs.get(link.name, link.mac), mtu=None) for link in projection.pod.links)
    node = frozenset(link._replace(mtu=None) for link in projection.node.links)
    shared = frozenset(link._replace(mtu=None) for link in projection.shared.links)
    return projection._replace(
        pod=projection.pod._replace(links=pod),
        node=projection.node._replace(links=node),
        shared=projection.shared._replace(links=shared),
    )


def lacking(answers: Answers, owners: Mapping[str, Attachment]) -> Dict[Attachment, List[str]]:
    """What each attachment lacks. Sysctls of the container are its own to change."""
    return {
        attachment: [
            f"{operation} ({where})"
            for where, operation in answers.operations
            if _concerns(attachment, where, operation, owners)
            and operation.action != REMOVE
            and (where == NODE or not isinstance(operation.object, Sysctl))
        ]
        for attachment in answers.results
    }


def differing(answers: Answers, owners: Mapping[str, Attachment]) -> Dict[Attachment, List[str]]:
    """Likewise, and what is too much; on what attachments share, others may have added something."""
    return {
        attachment: [
            f"{operation} ({where})"
            for where, operation in answers.operations
            if _concerns(attachment, where, operation, owners)
            and not (operation.action == REMOVE and where == NODE and subject_of(operation) not in owners)
        ]
        for attachment in answers.results
    }


def _concerns(attachment: Attachment, where: str, operation: Operation, owners: Mapping[str, Attachment]) -> bool:
    """Whether an operation is about an attachment, or about what all share."""
    return where == attachment.name or (where == NODE and owners.get(subject_of(operation), attachment) == attachment)


def subject_of(operation: Operation) -> str:
    """The device, or the owner of the rule, that an operation on the node is about; "" for none."""
    changed = operation.object
    if isinstance(changed, Link):
        return changed.name
    if isinstance(changed, (Rule, IptablesRule)):
        return changed.owner
    if isinstance(changed, Sysctl):
        return changed.key.split("/")[-2]
    if isinstance(changed, (Address, Neighbour, FdbEntry, PortVlans, Route)):
        return changed.device or ""
    return ""


def not_as_left(attachment: Attachment, operations: Sequence[str]) -> CniError:
    """The error of CHECK."""
    return CniError(
        CNI_KERNEL_FAILURE,
        f"container {attachment.container_id} interface {attachment.ifname} is not as ADD left it",
        "lacking: " + "; ".join(operations[:5]),
    )
