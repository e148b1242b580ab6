"""What makes objects of the model so, as the commands that a person would type on the node. Pure."""

from __future__ import annotations

from typing import List

from ..model.command import Command
from ..model.objects import Sysctl
from ..plan import CHANGE, Operation

#: The MAC address of a VXLAN device's entries for whatever it has no other entry for.
FLOOD = "00:00:00:00:00:00"


def commands(operation: Operation) -> List[Command]:
    """The commands of one operation of a plan; none for what only podwire itself makes (its nftables rules)."""
    return operation.object.commands(operation.action, operation.previous)


def sysctl(key: str, value: str) -> Command:
    """The command that sets a sysctl."""
    return Sysctl(key, value).commands(CHANGE, None)[0]
