"""``podwire apply``: converge this node to its stored intent in /etc/podwire, without a controller."""

from __future__ import annotations

import os

from ..agent.apply import apply as converge
from ..errors import PodwireError


def apply(*, check: bool, watch: bool, intent: str, node: str) -> None:
    """Converge and print each change; with ``check`` print only; with ``watch`` repeat whenever the node changes;
    with ``intent`` (a file of the controller) store that first, as its ``node``."""
    if os.geteuid() != 0 and not check:
        raise PodwireError("failed to apply: this needs root", "run it by sudo")
    if intent or not watch:
        for line in converge(check=check, intent=intent, node=node):
            print(line, flush=True)
    if watch:
        from ..agent.watch import start

        start()
