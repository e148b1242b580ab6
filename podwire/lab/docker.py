"""Nodes of kind docker: containers on Docker networks, one network a segment, all of a lab in one call.

Labels say what belongs to which lab, so that a container is found again also after a crash; the registry keeps the
nodes' processes, by which everything else here enters them as it enters any node. What Docker decides anew at every
start (MAC address, /etc/hosts) is converged like the inside of any other node.

The underlay is a Linux bridge in the engine's own namespace. Docker drops what it forwards, and with br_netfilter
that goes for bridged frames, too; what stays on one of its bridges it accepts (``icc``), and nothing else is asked of
it. So there are no routers here.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack, nullcontext
from typing import AbstractSet, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..converge import Target, converge
from ..errors import LabError
from ..intent import underlay
from ..intent.cluster import Cluster, Node
from ..intent.cluster_json import cluster_to_json
from ..kernel import Namespace
from ..model.state import EMPTY
from ..plan import plan
from ..sandbox.process import Process
from . import registry
from .engine import Engine, Found, connect
from .hosts import name_nodes
from .image import MADE_HERE, Image
from .netns import LabOutcome, require_root
from .networks import Network, refuse_collisions, wanted_networks


class _Plan(NamedTuple):
    """What stays and what changes. ``digests`` are those of the nodes that this run is about."""

    digests: Dict[str, str]
    staying: Dict[str, Found]
    restarting: Dict[str, Found]
    removing: List[Found]
    missing: List[str]
    networks: List[Network]
    old_networks: List[str]

    def lines(self) -> List[str]:
        lines = [f"- node {container.node} (container {container.name})" for container in self.removing]
        lines += [f"- network {name}" for name in self.old_networks]
        lines += [f"+ network {network.name} {' '.join(map(str, network.cidrs))}" for network in self.networks]
        lines += [f"~ node {name} (started again)" for name in self.restarting]
        return lines + [f"+ node {name}" for name in self.missing]


def present(
    cluster: Cluster,
    *,
    limit: Optional[AbstractSet[str]] = None,
    check: bool = False,
    image: Image = MADE_HERE,
    tell: Callable[[str], None] = lambda _: None,
) -> LabOutcome:
    """Have the cluster's docker nodes run, and no others. ``limit`` and ``check`` as for netns.present.

    ``tell`` is called with words for people before something begins that takes a minute. LabError; after an error
    whatever was made carries its label, for the next run or ``absent`` to find.
    """
    if registry.containers(cluster.id) is None and all(node.kind != "docker" for node in cluster.nodes):
        return LabOutcome(())
    require_root(f"build lab {cluster.id}")
    with connect(cluster.id) as engine:
        if check:
            return _check(cluster, engine, limit, image)
        with registry.locked(cluster.id):
            return _present(cluster, engine, limit, image, tell)


def leave(cluster: Cluster, names: Sequence[str], *, check: bool = False) -> LabOutcome:
    """Remove the containers of nodes that leave. ``cluster`` is what stays, which is known from then on."""
    if registry.containers(cluster.id) is None:
        return LabOutcome(())
    require_root(f"change lab {cluster.id}")
    with connect(cluster.id) as engine, nullcontext() if check else registry.locked(cluster.id):
        containers = engine.containers()
        leaving = [container for container in containers if container.node in names]
        lines = [f"- node {container.node} (container {container.name})" for container in leaving]
        if leaving and not check:
            engine.remove(leaving)
            staying = {
                container.node: Process.of(container.pid)
                for container in containers
                if container.pid and container not in leaving
            }
            registry.write_containers(cluster.id, staying)
            lines += name_nodes(cluster, {name: container.pid for name, container in staying.items()}, check=False)
            registry.write_intent(cluster.id, cluster_to_json(cluster))
    return LabOutcome(tuple(lines))


def absent(cluster_id: str, *, check: bool = False) -> LabOutcome:
    """Remove a lab's containers and networks. Asks Docker only where a run has made any."""
    if registry.containers(cluster_id) is None:
        return LabOutcome(())
    require_root(f"remove lab {cluster_id}")
    with connect(cluster_id) as engine, nullcontext() if check else registry.locked(cluster_id):
        containers, networks = engine.containers(), engine.networks()
        lines = [f"- node {container.node} (container {container.name})" for container in containers]
        lines += [f"- network {name}" for name in networks]
        if not check:
            engine.remove(containers)
            engine.remove_networks(networks)
    return LabOutcome(tuple(lines))


def _present(
    cluster: Cluster, engine: Engine, limit: Optional[AbstractSet[str]], image: Image, tell: Callable[[str], None]
) -> LabOutcome:
    registry.write_containers(cluster.id, registry.containers(cluster.id) or {})  # before there is any
    lines: List[str] = []
    ready = engine.image(image)
    steps = _plan(cluster, engine, limit, image, ready)
    refuse_collisions(steps.networks, engine.foreign_subnets(), engine.bridges())
    if steps.missing and ready is None:
        ready, how = engine.make_image(image, tell)
        lines.append(f"+ image {image.tag} ({how})")
        steps = _plan(cluster, engine, limit, image, ready)
    engine.remove(steps.removing)
    engine.remove_networks(steps.old_networks)
    for network in steps.networks:
        engine.make_network(network)
    for found in steps.restarting.values():
        engine.start(found.id)
    for name in steps.missing:
        engine.make_node(cluster.node(name), image.tag, steps.digests[name])
    containers = engine.containers()
    for container in containers:
        if container.node in steps.digests and not container.pid:
            cause = f"its container {container.name} ended at once"
            raise LabError(f"failed to start node {container.node}: {cause}", f"docker logs {container.name}")
    running = {container.node: Process.of(container.pid) for container in containers if container.pid}
    if running != registry.containers(cluster.id):
        registry.write_containers(cluster.id, running)
    lines += steps.lines()
    lines += _inside(cluster, {name: running[name].pid for name in steps.digests}, check=False)
    if registry.intent(cluster.id) != cluster_to_json(cluster):
        registry.write_intent(cluster.id, cluster_to_json(cluster))
    return LabOutcome(tuple(lines))


def _check(cluster: Cluster, engine: Engine, limit: Optional[AbstractSet[str]], image: Image) -> LabOutcome:
    ready = engine.image(image)
    steps = _plan(cluster, engine, limit, image, ready)
    refuse_collisions(steps.networks, engine.foreign_subnets(), engine.bridges())
    lines = [f"+ image {image.tag}"] if steps.missing and ready is None else []
    lines += steps.lines()
    lines += _inside(cluster, {name: container.pid for name, container in steps.staying.items()}, check=True)
    states = underlay.inside(cluster)
    lines += [f"{name}: {operation}" for name in steps.missing for operation in plan(states[name], EMPTY)]
    return LabOutcome(tuple(lines))


def _plan(
    cluster: Cluster, engine: Engine, limit: Optional[AbstractSet[str]], image: Image, ready: Optional[str]
) -> _Plan:
    """Compare what is declared with what is there. ``ready`` is the image's id if Docker has it."""
    nodes = {node.name: node for node in cluster.nodes if node.kind == "docker"}
    networks, old_networks = _compare_networks(cluster, engine, limit)
    # A tag of our own says what is in an image; a name of somebody's can be another image by now.
    runs = (ready or "") if image.name else image.tag
    wanted = wanted_networks(cluster)
    digests = {name: _digest(node, wanted, runs) for name, node in nodes.items() if limit is None or name in limit}
    staying: Dict[str, Found] = {}
    restarting: Dict[str, Found] = {}
    removing: List[Found] = []
    for container in engine.containers():
        if container.node not in digests:
            removing += [container] if limit is None else []
        elif container.digest != digests[container.node] or container.node in {**staying, **restarting}:
            removing.append(container)
        elif container.pid:
            staying[container.node] = container
        elif len(nodes[container.node].ports) == 1:
            restarting[container.node] = container
        else:  # Docker may connect its networks in another order now, and name devices by that
            removing.append(container)
    missing = [name for name in digests if name not in staying and name not in restarting]
    return _Plan(digests, staying, restarting, removing, missing, networks, old_networks)


def _compare_networks(
    cluster: Cluster, engine: Engine, limit: Optional[AbstractSet[str]]
) -> Tuple[List[Network], List[str]]:
    """(networks to make, names of those to remove)."""
    wanted = {wanted_network.name: wanted_network for wanted_network in wanted_networks(cluster)}
    existing = engine.networks()
    missing = [network for name, network in wanted.items() if existing.get(name) != network.digest]
    old = [name for name, digest in existing.items() if name not in wanted or wanted[name].digest != digest]
    if limit is None:
        return missing, old
    anew = [network.segment for network in missing if network.name in existing]
    if anew:
        cause = "its network has to be made anew, with all nodes on it"
        raise LabError(f"failed to change segment {anew[0]}: {cause}", "run without --limit")
    return missing, []


def _digest(node: Node, networks: List[Network], image: str) -> str:
    """Of all that a container cannot change while it runs."""
    ports = [(port.segment, [str(address) for address in port.addresses]) for port in node.ports]
    stands_on = [network.digest for network in networks if network.segment in {port.segment for port in node.ports}]
    return hashlib.sha256(json.dumps([image, node.name, ports, stands_on]).encode()).hexdigest()[:16]


def _inside(cluster: Cluster, pids: Mapping[str, int], *, check: bool) -> List[str]:
    """Converge what is Docker's no more: devices and addresses in the nodes' namespaces, and names."""
    states = underlay.inside(cluster)
    with ExitStack() as stack:
        spaces = {name: stack.enter_context(Namespace.open(f"/proc/{pid}/ns/net", name)) for name, pid in pids.items()}
        targets = [Target(namespace, states[name], underlay.scope(states[name])) for name, namespace in spaces.items()]
        lines = [f"{name}: {operation}" for name, operation in converge(targets, check=check).operations]
    return lines + name_nodes(cluster, pids, check=check)
