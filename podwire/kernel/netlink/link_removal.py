"""Removing devices, whose names are all that has to be known.

Source: net/core/rtnetlink.c (rtnl_dellink), net/core/dev.c (netdev_run_todo).
"""

from __future__ import annotations

import os
import sys

from ...errors import KernelError
from ...model.wire import RTM_DELLINK, RTM_NEWLINK, attribute, text
from ...startup_typing import TYPE_CHECKING
from .socket import ABSENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...model.wire import Message
    from ..namespaces import Namespace

_NAME, _GROUP = 3, 27
#: A device group of our own (IFLA_GROUP) for deleting many devices in one go.
_DOOMED = 0x70770000
#: struct ifinfomsg of a device that is known by its name.
_NAMED = bytes(16)


def remove_links(namespace: Namespace, names: Sequence[str]) -> bool:
    """Delete devices; whether there were any. KernelError if the kernel refuses.

    The kernel waits for their last users before it answers, an RCU barrier of 10 to 30 ms, without Python's lock.
    """
    refusals = namespace.socket.batch(removal(names))
    for refusal in refusals:
        if refusal.errno not in ABSENT:
            what, cause = f"{', '.join(names)} on {namespace.name}", os.strerror(refusal.errno)
            raise KernelError(f"failed to remove {what}: {cause}{refusal.text}", refusal.errno)
    return len(refusals) < len(names)


def removal(names: Sequence[str]) -> list[Message]:
    """The requests. Many devices go at the price of one: each by itself would wait for an RCU grace period."""
    if len(names) == 1:
        return [(RTM_DELLINK, 0, _NAMED + text(_NAME, names[0]))]
    group = attribute(_GROUP, (_DOOMED | (os.getpid() & 0xFFFF)).to_bytes(4, sys.byteorder))
    return [*((RTM_NEWLINK, 0, _NAMED + text(_NAME, name) + group) for name in names), (RTM_DELLINK, 0, _NAMED + group)]
