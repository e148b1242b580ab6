"""``podwire exec``: run a command in a node or pod of a running lab."""

from __future__ import annotations

import os
import signal
import sys
from typing import List, NamedTuple, Optional, Sequence

from ..agent import unit
from ..errors import LabError, PodwireError
from ..intent.ids import cluster_id
from ..intent.underlay import SWITCH
from ..kernel import enter
from ..lab import registry
from ..sandbox import sandboxes
from ..sandbox.process import Process
from .intent import default_source

#: The name of a lab's switch, as in explain's output, unless a node or pod has it.
UNDERLAY = "underlay"


class Place(NamedTuple):
    """A node (or the switch), by its first process, or a pod on it."""

    lab: str
    node: Process
    pod: Optional[str]


def execute(name: str, command: Sequence[str], inventory: Optional[str]) -> int:
    """Run ``command`` in the node or pod ``name``; its exit status, or 128 and the signal that ended it."""
    if not command:
        raise PodwireError(f"failed to run a command on {name}: none is given", f"podwire exec {name} -- ip route")
    place = find(name, inventory)
    if place.pod is not None:
        enter.load_libc()  # here: a docker node's file system may have neither it nor ctypes
    child = enter.fork_into(place.node.pid, lambda: _become(place.pod, name, command))
    for number in (signal.SIGINT, signal.SIGQUIT):  # the terminal sends them to the command too
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: os.kill(child, number))
    status = os.waitpid(child, 0)[1]
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def find(name: str, inventory: Optional[str]) -> Place:
    """The one place of a name in the lab of an inventory, or in all running labs. LabError otherwise.

    Without an inventory, the default one's lab takes precedence, as for ``inspect``.
    """
    if inventory is None:
        labs = registry.labs()
    else:
        lab = registry.read(cluster_id(inventory))
        labs = [lab] if lab else []
    running = [lab for lab in labs if lab.nodes()]
    if not running:
        which = f"the lab of {inventory}" if inventory else "no lab"
        raise LabError(
            f"failed to find {name}: {which} is {'not ' if inventory else ''}running", "build it: ./run site"
        )
    places = [place for lab in running for place in _places(lab, name)]
    if not places:
        hint = "podwire inspect lists them"
        raise LabError(f"failed to find {name}: no running node or pod has that name", hint)
    if len(places) > 1 and inventory is None:
        default = cluster_id(default_source())
        places = [place for place in places if place.lab == default] or places
    if len(places) > 1:
        names = " and ".join(place.lab for place in places)
        raise LabError(f"failed to choose a {name}: the labs {names} have one each", "select one: -i INVENTORY")
    return places[0]


def _places(lab: registry.Lab, name: str) -> List[Place]:
    nodes = lab.nodes()
    if name in nodes:
        return [Place(lab.id, nodes[name], None)]
    record = f"{sandboxes.RECORDS}/{os.path.basename(name)}.json"
    on = [node for node in nodes.values() if os.path.exists(f"/proc/{node.pid}/root{record}")]
    switch = lab.running().get(SWITCH)
    if not on and name == UNDERLAY and switch is not None:
        return [Place(lab.id, switch, None)]
    return [Place(lab.id, node, name) for node in on]


def _become(pod: Optional[str], name: str, command: Sequence[str]) -> int:
    """In the node: enter the pod, and execute the command."""
    if pod is not None:
        sandbox = sandboxes.running().get(pod)
        if sandbox is None:
            print(f"podwire: failed to enter pod {pod}: its process died; run site.yml again", file=sys.stderr)
            return 1
        if not sandbox.host_network:
            _step_into(sandbox)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and children would too
        signal.signal(number, signal.SIG_DFL)
    # ``podwire apply`` is not in a distribution's PATH: append this one's directory, and that of a docker node's own.
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:{os.path.dirname(sys.executable)}:{unit.HOME}"
    try:
        os.execvp(command[0], list(command))
    except OSError as error:
        print(f"podwire: failed to run {command[0]} on {name}: {error.strerror}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126


def _step_into(sandbox: sandboxes.Sandbox) -> None:
    """Join the pod's namespaces, with the pod's /sys, which shows its devices, for this command only."""
    enter.join_pod(sandbox.pid)
