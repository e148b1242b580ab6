"""Break and mend on the nodes of a lab: from the controller, which can reach the switch and the machine as well."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, List, Mapping, Tuple

from ..faults.places import MACHINE, UNDERLAY
from ..intent.cluster import Cluster
from ..intent.underlay import SWITCH
from ..kernel import Namespace, enter
from ..lab import registry
from . import Answer, Options
from .faults import not_running


def visit(function: Any, cluster: Cluster, node: str, options: Options, check: bool) -> Answer:
    """A function of ``faults`` inside a netns node, which gets the switch and the machine to hold on to."""
    lab = registry.read(cluster.id)
    running = lab.running() if lab else {}
    if node not in running:
        return not_running(function, node, options, check)
    with ExitStack() as stack:
        namespaces = {
            place: stack.enter_context(Namespace.open(path, place))
            for place, path in _paths({name: process.pid for name, process in running.items()})
        }
        return enter.call(running[node].pid, function, cluster, node, {**options, "namespaces": namespaces}, check)


def _paths(pids: Mapping[str, int]) -> List[Tuple[str, str]]:
    found = [(MACHINE, "/proc/self/ns/net")]
    return found + [(UNDERLAY, f"/proc/{pids[SWITCH]}/ns/net")] if SWITCH in pids else found
