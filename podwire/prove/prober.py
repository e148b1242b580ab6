"""The prober: one process a node, which probes from the node and from all of its pods.

It reports observations, not verdicts: counts, failing pairs in words, and what the pods really have.
The judge (verdict.py) holds them against intent and against the other nodes' observations.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any, Dict, FrozenSet, List, Mapping, NamedTuple, Sequence, Tuple

from ..cluster import Cluster
from ..kernel import Namespace, show
from ..state import Scope
from . import expect
from .echoes import Check, Echoes, PathMtu, Problem, Source
from .owners import second_owners
from .reach import Reach

#: Failing pairs listed one by one, per node and kind of check; the rest is counted.
LISTED = 1000
_POD_DEVICE = "eth0"


class Running(NamedTuple):
    """A pod's sandbox as the prober needs it. ``netns`` is a path; hostNetwork pods share the node's."""

    netns: str
    host_network: bool


def probe(cluster: Cluster, node: str, addresses: expect.Addresses) -> Dict[str, Any]:
    """Probe from the lab node this process runs in; observations for ``verdict.judge``.

    ``addresses``: of all pods of the cluster, as their nodes attached them. ProofError, KernelError.
    """
    from ..lab import sandbox

    running = {name: Running(each.netns, each.host_network) for name, each in sandbox.running().items()}
    return observe(cluster, node, addresses, running)


def addresses(cluster: Cluster, node: str) -> Dict[str, List[str]]:
    """What the pods of the lab node this process runs in have in the kernel, for where nobody kept what
    was attached."""
    from ..lab import sandbox

    found: Dict[str, List[str]] = {}
    for name, each in sandbox.running().items():
        if not each.host_network:
            with Namespace.open(each.netns, name) as pod:
                found[name] = _really_has(pod)["addresses"]
    return found


def observe(cluster: Cluster, node: str, addresses: expect.Addresses, running: Mapping[str, Running]) -> Dict[str, Any]:
    """The same with the node's sandboxes given, however they were found."""
    began = time.monotonic()
    ends = expect.endpoints(cluster, addresses)
    declared = cluster.pods_of(node)
    with ExitStack() as stack:
        sources = [Source(node, stack.enter_context(Namespace.current(node)))]
        for pod in declared:
            if pod.name in running:
                here = running[pod.name]
                opened = Namespace.current(pod.name) if here.host_network else Namespace.open(here.netns, pod.name)
                sources.append(Source(pod.name, stack.enter_context(opened)))
        observations: Dict[str, Any] = {
            "node": node,
            "mtu": cluster.mtu,
            "mtu_mode": "all" if expect.measures_all(ends) else "classes",
            "pods": {
                source.name: _really_has(source.namespace)
                for source in sources[1:]
                if not running[source.name].host_network
            },
            "absent": [pod.name for pod in declared if pod.name not in running],
        }
        observations.update(_probe(cluster, node, ends, sources))
        observations["second_owners"] = second_owners(
            sources[0].namespace,
            cluster.cni.bridge if cluster.cni.type == "bridge" else "",
            [end.address for end in ends if end.node == node and end.address and not end.host_network],
        )
    observations["seconds"] = round(time.monotonic() - began, 3)
    return observations


def _probe(cluster: Cluster, node: str, ends: Sequence[expect.Endpoint], sources: Sequence[Source]) -> Dict[str, Any]:
    index = {source.name: number for number, source in enumerate(sources) if number}
    pairs = [pair for pair in expect.pairs_from(node, ends) if _possible(pair, index)]
    agents = [end for end in expect.agent_targets(node, ends) if end.address]
    accepted = _Accepted(cluster)
    checks = [_check(index[pair.source.pod], pair.target, accepted.of(pair)) for pair in pairs]
    checks += [_check(0, target, None) for target in agents]
    measured = [pair for pair in expect.mtu_pairs_from(node, ends) if _possible(pair, index)]
    with Echoes(sources) as echoes:
        reach = Reach(echoes, checks)
        problems = reach.run()
        silent = {(checks[number].source, checks[number].address) for number in reach.unanswered}
        answering: List[expect.Pair] = []
        unanswering: List[expect.Pair] = []
        for pair in measured:
            mute = (index[pair.source.pod], pair.target.address) in silent
            (unanswering if mute else answering).append(pair)
        sizes = PathMtu(echoes, [_check(index[p.source.pod], p.target, None) for p in answering], cluster.mtu)
        too = sizes.measure()
    for number in range(len(unanswering)):
        too[len(answering) + number] = Problem("timeout", "no answer at any size")
    measured = answering + unanswering
    first = len(pairs)
    return {
        "pairs": _summary([(pair.source.pod, pair.target) for pair in pairs], problems),
        "agents": _summary(
            [(node, target) for target in agents],
            {number - first: problem for number, problem in problems.items() if number >= first},
        ),
        "path_mtu": _summary([(pair.source.pod, pair.target) for pair in measured], too),
    }


def _possible(pair: expect.Pair, sources: Mapping[str, int]) -> bool:
    return pair.source.pod in sources and bool(pair.source.address and pair.target.address)


def _check(source: int, target: expect.Endpoint, accepted: Any) -> Check:
    return Check(source, target.version, target.address, target.port, target.pod, accepted)


class _Accepted:
    """``expect.accepted_sources``, worked out once for all pairs that share it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._known: Dict[Tuple[expect.Endpoint, bool, bool], FrozenSet[str]] = {}

    def of(self, pair: expect.Pair) -> FrozenSet[str]:
        key = pair.source, pair.target.host_network, pair.source.node == pair.target.node
        if key not in self._known:
            self._known[key] = expect.accepted_sources(self._cluster, pair)
        return self._known[key]


def _really_has(namespace: Namespace) -> Dict[str, Any]:
    """The addresses (without link-local ones) and the MTU that a pod's device has in the kernel."""
    state = show(namespace, Scope(links=frozenset((_POD_DEVICE,)))).state
    ips = [address.interface.ip for address in state.addresses]
    return {
        "addresses": sorted(str(ip) for ip in ips if not ip.is_link_local),
        "mtu": next((link.mtu for link in state.links), None),
    }


def _summary(ran: Sequence[Tuple[str, expect.Endpoint]], problems: Mapping[int, Problem]) -> Dict[str, Any]:
    """Counts for each target's node, and the failures: listed up to a bound, the rest counted."""
    towards: Dict[str, List[int]] = {}
    failures: List[Tuple[str, str, str, str, str]] = []
    for number, (source, target) in enumerate(ran):
        count = towards.setdefault(target.node, [0, 0])
        problem = problems.get(number)
        count[problem is not None] += 1
        if problem is not None:
            failures.append((source, target.pod, target.address, problem.cause, problem.reason))
    return {
        "passed": len(ran) - len(failures),
        "failed": len(failures),
        "towards": towards,
        "failures": failures[:LISTED],
    }
