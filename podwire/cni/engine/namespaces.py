"""The network namespaces of one call of the engine: the node's, and those of the attachments at hand."""

from __future__ import annotations

from ...errors import CNI_CONFLICT, CNI_INVALID_NETNS, CniError, KernelError
from ...kernel import Namespace, link_of
from ...startup_typing import TYPE_CHECKING
from ..plugins.base import NODE
from ..spec.netconf import Attachment

if TYPE_CHECKING:
    from typing import Dict, FrozenSet, Iterable, Mapping, Optional

#: Up to so many devices are asked for one by one.
_FEW = 4


class Namespaces:
    """Open namespaces. A context manager that closes them."""

    def __init__(self) -> None:
        self.node = Namespace.current(NODE)
        self._open: Dict[str, Namespace] = {}

    def __enter__(self) -> Namespaces:
        return self

    def __exit__(self, *_: object) -> None:
        for namespace in (self.node, *self._open.values()):
            namespace.close()

    def __getitem__(self, attachment: Attachment) -> Namespace:
        return self._open[attachment.name]

    def open_all(self, attachments: Iterable[Attachment]) -> Dict[Attachment, CniError]:
        """Open the attachments' namespaces; errors for those that cannot be opened."""
        errors: Dict[Attachment, CniError] = {}
        for attachment in attachments:
            if attachment.name not in self._open:
                try:
                    self._open[attachment.name] = Namespace.open(attachment.netns, attachment.name)
                except (KernelError, ValueError) as error:
                    errors[attachment] = no_namespace(attachment, error)
        return errors

    def occupied(self, attachments: Mapping[Attachment, FrozenSet[str]]) -> Dict[Attachment, CniError]:
        """Errors for attachments whose interface, or a device that they would have on the node, exists already."""
        devices = self._devices(frozenset().union(*attachments.values()))
        errors: Dict[Attachment, CniError] = {}
        for attachment, wanted in attachments.items():
            error = self._occupied(attachment, wanted & devices)
            if error is not None:
                errors[attachment] = error
        return errors

    def _devices(self, names: FrozenSet[str]) -> FrozenSet[str]:
        """Those of the names that are devices of the node."""
        if len(names) <= _FEW:
            return frozenset(name for name in names if link_of(self.node, name) is not None)
        from ...kernel import devices

        return names.intersection(devices.names(self.node).values())

    def _occupied(self, attachment: Attachment, devices: FrozenSet[str]) -> Optional[CniError]:
        name = attachment.ifname
        try:
            link = link_of(self[attachment], name)
        except KernelError as error:
            return no_namespace(attachment, error)
        if link is not None:
            message = f"{name} already exists in {attachment.name}"
        elif devices:
            message = (
                f"{min(devices)} of container {attachment.container_id} interface {name} already exists on the node"
            )
        else:
            return None
        return CniError(CNI_CONFLICT, message, "detach it first (DEL)")


def no_namespace(attachment: Attachment, error: Exception) -> CniError:
    """The error for a namespace that is gone, or is none."""
    return CniError(CNI_INVALID_NETNS, f"failed to open netns {attachment.netns!r}: {error}")
