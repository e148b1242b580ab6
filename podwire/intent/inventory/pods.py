"""Pods: how many or which, and on which node."""

from __future__ import annotations

from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..cluster import Pod
from .field import Field
from .names import is_hostname
from .nodes import NodeIntent

DEFAULT_COUNT = 2
DEFAULT_PORT = 8080
#: The value of ``pods`` for clusters whose pods somebody else made.
DISCOVER = "discover"
_EXAMPLE = "[pod-a, {name: pod-b, node: node-1}]"
_KEYS = ("name", "node", "hostNetwork", "host_network", "port")


class _Asked(NamedTuple):
    name: str
    node: Optional[Field]
    host_network: bool
    port: int
    variable: Field


def read_pods(
    pods: Field, nodes: Sequence[NodeIntent], reserved: Mapping[str, str], placed: Mapping[str, str]
) -> Tuple[Pod, ...]:
    """All pods, node by node. ``reserved`` are names that a pod may not have, and what has them; ``placed`` says
    where an earlier run put those that may be anywhere."""
    if pods.value == DISCOVER:
        for node in nodes:
            if node.pods is not None:
                node.pods.fail(f"pods = {DISCOVER}: they are found, not declared", "leave one of them out")
        return ()
    count = 0
    spread: Dict[str, List[_Asked]] = {}
    if isinstance(pods.value, (list, tuple)):
        names = [node.name for node in nodes]
        spread = _spread(_list(pods), [node.name for node in nodes if node.pods is None], names, placed)
    else:
        count = _count(pods)
    declared: List[Tuple[Pod, Field]] = []
    for node in nodes:
        asked = spread.get(node.name, [])
        number = count
        if node.pods is not None:
            several = isinstance(node.pods.value, (list, tuple))
            asked, number = (_own(node.name, node.pods), 0) if several else ([], _count(node.pods))
        declared += [
            (Pod(request.name, node.name, request.host_network, request.port), request.variable) for request in asked
        ]
        declared += [(Pod(f"{node.name}-pod-{i}", node.name), node.pods or pods) for i in range(1, number + 1)]
    _check(declared, reserved)
    return tuple(pod for pod, _ in declared)


def _count(variable: Field) -> int:
    if isinstance(variable.value, int) or str(variable.value).isdecimal():
        return variable.integer(0, 65536, DEFAULT_COUNT) or 0
    right = f"write pods a node, e.g. 2, a list, e.g. {_EXAMPLE}, or {DISCOVER}"
    variable.fail("neither a number, a list nor the word discover", right)
    return 0


def _list(variable: Field) -> List[_Asked]:
    asked = []
    for item in variable.items(_EXAMPLE):
        if isinstance(item.value, str) and item.value:
            asked.append(_Asked(str(item.value), None, False, DEFAULT_PORT, item))
            continue
        if not isinstance(item.value, Mapping):
            item.fail("not a pod", f"write a name or a mapping, e.g. {_EXAMPLE}")
            continue
        fields = item.mapping(_KEYS)
        name = fields["name"].text("pod-a") if "name" in fields else None
        if "name" not in fields:
            item.fail("has no name", "add name, e.g. {name: pod-a}")
        if "hostNetwork" in fields and "host_network" in fields:
            fields["host_network"].fail("hostNetwork is set as well", "write one of them")
        host = fields.get("hostNetwork", fields.get("host_network"))
        port = fields["port"].integer(1, 65535, DEFAULT_PORT) if "port" in fields else None
        host_network = host.boolean(False) if host is not None else False
        if name:
            asked.append(_Asked(name, fields.get("node"), host_network, port or DEFAULT_PORT, item))
    return asked


def _own(node: str, variable: Field) -> List[_Asked]:
    asked = _list(variable)
    for request in asked:
        if request.node is not None and request.node.value != node:
            request.node.fail(f"in the list of {node}", "leave node out, or move the pod to that node's node_pods")
    return asked


def _spread(
    asked: Sequence[_Asked], open_nodes: Sequence[str], all_nodes: Sequence[str], placed: Mapping[str, str]
) -> Dict[str, List[_Asked]]:
    """Give the pods of the cluster's list to nodes: where they say, else where they were, else round robin."""
    spread: Dict[str, List[_Asked]] = {}
    known, free = set(all_nodes), set(open_nodes)
    turn = sum(request.node is None and placed.get(request.name) in free for request in asked)
    for request in asked:
        if request.node is None and placed.get(request.name) in free:
            node = placed[request.name]
        elif request.node is None:
            if not open_nodes:
                request.variable.fail("no node is left for it: all have node_pods", "move it to a node_pods")
                continue
            node = open_nodes[turn % len(open_nodes)]
            turn += 1
        else:
            node = str(request.node.value)
            if node not in known:
                names = ", ".join(all_nodes[:3]) + (", ..." if len(all_nodes) > 3 else "")
                request.node.fail("no such node", f"the nodes are {names}")
                continue
            if node not in free:
                request.node.fail(f"{node} has its own list, node_pods", "move the pod there")
                continue
        spread.setdefault(node, []).append(request)
    return spread


def _check(declared: Sequence[Tuple[Pod, Field]], reserved: Mapping[str, str]) -> None:
    """Names are hostnames and unique; the pods of a host network do not share a port."""
    names: Dict[str, Pod] = {}
    ports: Dict[Tuple[str, int], Pod] = {}
    for pod, variable in declared:
        other = names.setdefault(pod.name, pod)
        holder = ports.setdefault((pod.node, pod.port), pod) if pod.host_network else pod
        if not is_hostname(pod.name) and is_hostname(pod.node):  # a pod without a name of its own has its node's
            variable.fail(f"{pod.name} is not a hostname", "write letters, digits and '-', at most 63, e.g. pod-a")
        if pod.name in reserved:
            variable.fail(f"{pod.name} is the name of a {reserved[pod.name]}", "give the pod another name")
        if other is not pod:
            variable.fail(f"pod {pod.name} is declared twice, on {other.node} and {pod.node}", "give each its own name")
        if holder is not pod:
            cause = f"{holder.name} and {pod.name} both listen on port {pod.port} of {pod.node}"
            variable.fail(cause, "give one of them another port")
