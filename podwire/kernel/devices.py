"""Devices of a namespace: their names and ifindexes."""

from __future__ import annotations

from ..errors import KernelError
from ..model.link import LINK_REQUEST, index_and_name, index_request, link_request
from ..model.wire import RTM_GETLINK
from ..startup_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import List, Optional

    from .namespaces import Namespace

#: So many devices are asked for one by one.
_FEW = 4


def find(namespace: Namespace, name: str) -> Optional[bytes]:
    """A device's RTM_NEWLINK; None if there is none of that name."""
    return namespace.socket.get(RTM_GETLINK, link_request(name))


def name_of(namespace: Namespace, index: int) -> Optional[str]:
    """The name of the device with an ifindex; None if there is none."""
    payload = namespace.socket.get(RTM_GETLINK, index_request(index))
    return None if payload is None else index_and_name(payload)[1]


def index_of(namespace: Namespace, name: str) -> int:
    """A device's ifindex; KernelError if there is none."""
    payload = find(namespace, name)
    if payload is None:
        raise no_device(namespace, name)
    return index_and_name(payload)[0]


def dump(namespace: Namespace) -> List[bytes]:
    """The RTM_NEWLINK of every device, without its counters."""
    return [payload for _, payload in namespace.socket.dump(RTM_GETLINK, LINK_REQUEST)]


def names(namespace: Namespace) -> dict[int, str]:
    """The names of all devices by ifindex."""
    return dict(map(index_and_name, dump(namespace)))


def no_device(namespace: Namespace, name: str) -> KernelError:
    """The error for a device that is not there."""
    return KernelError(f"failed to find device {name} on {namespace.name}: there is none", 19)


class Indices:
    """Names to ifindexes, read from the kernel when first asked: a few by themselves, many all at once."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._known: dict[str, int] = {}

    def __call__(self, name: str) -> int:
        index = self._known.get(name)
        if index is None and len(self._known) < _FEW:
            index = self._known[name] = index_of(self._namespace, name)
        elif index is None:
            self._known.update({known: number for number, known in names(self._namespace).items()})
            index = self._known.get(name)
        if index is None:
            raise no_device(self._namespace, name)
        return index
