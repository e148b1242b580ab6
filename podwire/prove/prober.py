"""The prober: one process a node, which probes from the node and from all of its pods.

It reports observations, not verdicts: counts, failing pairs with reasons, the pods' devices, and a snapshot
of the node. The judge (verdict.py) compares them with intent and with the other nodes' observations.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from functools import partial
from typing import Callable, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Sequence, Tuple, TypeVar

from ..intent.cluster import Cluster
from ..kernel import Namespace
from ..observe import snapshot
from . import expect, throughput, user_checks
from .bulk import bulk
from .duplicate_addresses import second_owners, strangers
from .observations import FailureRow, Observations, Probed, Summary, real_devices
from .pathmtu import PathMtu
from .reach import Progress, Reach
from .sockets import ALL, ICMP, Check, Problem, Sockets, Source

#: Failing pairs that are listed, per node and kind of check; the others are only counted.
LISTED = 1000
_T = TypeVar("_T")
_FRAGMENTS = ("Ip.FragCreates", "Ip6.FragCreates")


class Running(NamedTuple):
    """A pod's sandbox. ``netns`` is a path; hostNetwork pods share the node's."""

    netns: str
    host_network: bool


class Options(NamedTuple):
    """``mode``: see ``expect.MODES``; ``tell`` is called with the progress. ``netns``: paths of the network
    namespaces of discovered pods; ``sinks``: servers for measuring throughput, node -> pod or node -> port.
    ``quick``: shorter timeouts, for a diagnosis."""

    mode: str = "auto"
    tell: Optional[Progress] = None
    netns: Optional[Mapping[str, str]] = None
    sinks: Optional[Mapping[str, Mapping[str, int]]] = None
    quick: bool = False


def probe(cluster: Cluster, node: str, addresses: expect.Addresses, options: Options = Options()) -> Observations:  # noqa: B008
    """Probe from the lab node this process runs in; observations for ``verdict.judge``.

    ``addresses``: of all pods of the cluster, as their nodes attached them. ProofError, KernelError.
    """
    from ..sandbox import sandboxes

    if options.netns is not None:
        running = {name: Running(path, False) for name, path in options.netns.items()}
    else:
        running = {name: Running(sandbox.netns, sandbox.host_network) for name, sandbox in sandboxes.running().items()}
    return observe(cluster, node, addresses, running, options)


def addresses(cluster: Cluster, node: str) -> Dict[str, List[str]]:
    """The kernel's addresses of the pods of the lab node this process runs in, for when the results of their
    attachments are not available."""
    from ..sandbox import sandboxes

    by_pod: Dict[str, List[str]] = {}
    for name, sandbox in sandboxes.running().items():
        if not sandbox.host_network:
            with Namespace.open(sandbox.netns, name) as pod:
                by_pod[name] = real_devices(snapshot.read(pod))["addresses"]
    return by_pod


def observe(
    cluster: Cluster,
    node: str,
    addresses: expect.Addresses,
    running: Mapping[str, Running],
    options: Options = Options(),  # noqa: B008  # frozen
) -> Observations:
    """The same with the node's sandboxes given."""
    began = time.monotonic()
    ends = expect.endpoints(cluster, addresses)
    declared = cluster.pods_of(node)
    with ExitStack() as stack:
        sources = [Source(node, stack.enter_context(Namespace.current(node)))]
        for pod in declared:
            if pod.name in running:
                sandbox = running[pod.name]
                opened = (
                    Namespace.current(pod.name) if sandbox.host_network else Namespace.open(sandbox.netns, pod.name)
                )
                sources.append(Source(pod.name, stack.enter_context(opened)))
        node_snapshot = _snapshot(cluster, node, running)
        probed = _Probing(cluster, node, ends, sources, options).run()
        pods = [end.address for end in ends if end.node == node and end.address and not end.host_network]
        bridge = cluster.cni.bridge if cluster.cni.type == "bridge" else ""
        observations: Observations = {
            **probed,
            "node": node,
            "mtu": cluster.mtu,
            "pods": {
                source.name: real_devices(node_snapshot["sandboxes"][source.name]["namespace"])
                for source in sources[1:]
                if source.name in node_snapshot["sandboxes"]
            },
            "absent": [pod.name for pod in declared if pod.name not in running],
            "snapshot": node_snapshot,
            "second_owners": second_owners(sources[0].namespace, bridge, pods),
            "strangers": {},
            "seconds": 0.0,
        }
        if options.sinks is not None:
            spaces = {source.name: source.namespace for source in sources}
            observations["throughput"] = throughput.measure(cluster, node, ends, spaces, options.sinks, node_snapshot)
        observations["strangers"] = strangers(sources[0].namespace, bridge, node_snapshot, cluster.node(node).pod_cidrs)
    observations["seconds"] = round(time.monotonic() - began, 3)
    return observations


def _snapshot(cluster: Cluster, node: str, running: Mapping[str, Running]) -> snapshot.Snapshot:
    """The node's snapshot, in which podwire's pods have their names."""
    by_inode = {sandbox.inode: sandbox for sandbox in snapshot.find()}
    for name, sandbox in running.items():
        if not sandbox.host_network:
            with Namespace.open(sandbox.netns, name) as opened:
                inode = os.fstat(opened.fd).st_ino
            known = by_inode.get(inode) or snapshot.DiscoveredSandbox(name, sandbox.netns, inode, (), "", "podwire")
            by_inode[inode] = known._replace(name=name, known_by="podwire")
    declared = cluster.node(node)
    return snapshot.take(node, list(by_inode.values()), {declared.interface, *(port.device for port in declared.ports)})


class _Probing:
    """All probes of one node, in order."""

    def __init__(
        self, cluster: Cluster, node: str, ends: Sequence[expect.Endpoint], sources: Sequence[Source], options: Options
    ) -> None:
        self.cluster, self.node, self.ends, self.sources, self.options = cluster, node, ends, sources, options
        self.index = {source.name: number for number, source in enumerate(sources) if number}
        self.accepted = _Accepted(cluster)
        self.took: Dict[str, float] = {}

    def run(self) -> Probed:
        with Sockets(self.sources) as sockets:
            pairs, agents, nodes = self._timed("pods", lambda: self._reach(sockets))
            before = self._fragments()
            probed: Probed = {
                "pairs": pairs,
                "agents": agents,
                "nodes": nodes,
                "path_mtu": self._timed("mtu", lambda: self._path_mtu(sockets)),
                "bulk": self._timed("bulk", lambda: self._bulk(sockets)),
                "fragments": self._fragments() - before,
                "took": self.took,
            }
            if self.cluster.checks:
                run = partial(user_checks.run, self.cluster, self.node, self.ends, sockets)
                probed["checks"], probed["controls"] = self._timed("checks", run)
        return probed

    def _timed(self, key: str, work: Callable[[], _T]) -> _T:
        began = time.monotonic()
        result = work()
        self.took[key] = round(time.monotonic() - began, 3)
        return result

    def _possible(self, pair: expect.Pair) -> bool:
        return pair.source.pod in self.index and bool(pair.source.address and pair.target.address)

    def _check(self, pair: expect.Pair, protocols: int = ALL) -> Check:
        target = pair.target
        return Check(
            self.index[pair.source.pod],
            target.version,
            target.address,
            target.port,
            target.pod,
            self.accepted.of(pair),
            protocols,
        )

    # --- who reaches whom ------------------------------------------------------------------------

    def _reach(self, sockets: Sockets) -> Tuple[Summary, Summary, Summary]:
        """Of pairs of pods, of the node and its pods, of pods and their node."""
        mode = expect.mode_for(self.ends, self.options.mode)
        classes = [pair for pair in expect.classes_from(self.node, self.ends) if self._possible(pair)]
        pairs = classes
        if mode == "all":
            pairs = [pair for pair in expect.pairs_from(self.node, self.ends) if self._possible(pair)]
        every = len(pairs) == len(classes) or expect.count_pairs(self.ends) <= expect.ALL_PAIRS
        chosen = set(() if every else classes)
        checks = [self._check(pair, ALL if every or pair in chosen else ICMP) for pair in pairs]
        agents = [end for end in expect.agent_targets(self.node, self.ends) if end.address]
        checks += [Check(0, end.version, end.address, end.port, end.pod, None) for end in agents]
        nodes = [
            (end, ip) for end, ip in expect.node_targets(self.cluster, self.node, self.ends) if self._can_probe(end)
        ]
        checks += [Check(self.index[end.pod], end.version, ip, 0, self.node, None, ICMP) for end, ip in nodes]
        reach = Reach(sockets, checks, self.options.tell)
        problems = reach.run(self.options.quick)
        first, second = len(pairs), len(pairs) + len(agents)
        self.silent = {(checks[number].source, checks[number].address) for number in reach.unanswered if number < first}
        failed = [pairs[number] for number in problems if number < first]
        extra: List[expect.Pair] = []
        more: Dict[int, Problem] = {}
        if mode == "classes" and failed:
            extra = [pair for pair in expect.members(failed, self.node, self.ends) if self._possible(pair)]
            again = Reach(sockets, [self._check(pair) for pair in extra], self.options.tell)
            more = again.run()
            self.silent |= {(self.index[extra[n].source.pod], extra[n].target.address) for n in again.unanswered}
        ran = [(pair.source.pod, pair.target) for pair in pairs]
        summary = _summary(ran, _part(problems, 0, first))
        members = _summary([(pair.source.pod, pair.target) for pair in extra], more)
        failures = _listed([*summary["failures"], *members["failures"]])
        of_pairs: Summary = {
            **summary, "mode": mode, "all_protocols": every, "members": members["towards"], "failures": failures
        }  # fmt: skip
        of_agents = _summary([(self.node, end) for end in agents], _part(problems, first, second))
        of_nodes = _summary(
            [(end.pod, end._replace(pod=self.node, address=ip)) for end, ip in nodes],
            _part(problems, second, len(checks)),
        )
        return of_pairs, of_agents, of_nodes

    def _can_probe(self, end: expect.Endpoint) -> bool:
        return end.pod in self.index and bool(end.address)

    # --- path MTU --------------------------------------------------------------------------------

    def _path_mtu(self, sockets: Sockets) -> Summary:
        answering: List[expect.Pair] = []
        unanswered: List[expect.Pair] = []
        for pair in expect.mtu_pairs_from(self.node, self.ends):
            if self._possible(pair):
                silent = (self.index[pair.source.pod], pair.target.address) in self.silent
                (unanswered if silent else answering).append(pair)
        checks = [self._check(pair, ICMP) for pair in answering]
        problems = PathMtu(sockets, checks, self.cluster.mtu).measure(self.options.quick)
        self.narrow = {(checks[number].source, checks[number].address) for number in problems}
        for number in range(len(unanswered)):
            problems[len(answering) + number] = Problem("timeout", "no answer at any size")
        return _summary([(pair.source.pod, pair.target) for pair in answering + unanswered], problems)

    def _bulk(self, sockets: Sockets) -> Summary:
        """One transfer for each pair of nodes and family."""
        pairs = [pair for pair in expect.bulk_pairs_from(self.node, self.ends) if self._possible(pair)]
        if self.options.quick:  # skip what has failed already
            bad = self.silent | self.narrow
            pairs = [p for p in pairs if (self.index[p.source.pod], p.target.address) not in bad]
        problems = bulk(sockets, [self._check(pair) for pair in pairs], self.options.quick)
        return _summary([(pair.source.pod, pair.target) for pair in pairs], problems)

    def _fragments(self) -> int:
        """The number of fragments that the node has created so far."""
        counters = self.sources[0].namespace.call(snapshot.counters)
        return sum(counters.get(key, 0) for key in _FRAGMENTS)


def _part(problems: Mapping[int, Problem], start: int, end: int) -> Dict[int, Problem]:
    return {number - start: problem for number, problem in problems.items() if start <= number < end}


class _Accepted:
    """``expect.accepted_sources``, computed once for all pairs that share it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._known: Dict[Tuple[expect.Endpoint, bool, bool], FrozenSet[str]] = {}

    def of(self, pair: expect.Pair) -> FrozenSet[str]:
        key = pair.source, pair.target.host_network, pair.source.node == pair.target.node
        if key not in self._known:
            self._known[key] = expect.accepted_sources(self._cluster, pair)
        return self._known[key]


def _summary(ran: Sequence[Tuple[str, expect.Endpoint]], problems: Mapping[int, Problem]) -> Summary:
    """Counts for each target's node, and the failures, listed up to a limit."""
    towards: Dict[str, List[int]] = {}
    failures: List[FailureRow] = []
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
        "failures": _listed(failures),
    }


def _listed(failures: Sequence[FailureRow]) -> List[FailureRow]:
    """Up to ``LISTED`` failures, some of each cause."""
    if len(failures) <= LISTED:
        return list(failures)
    by_cause: Dict[str, List[FailureRow]] = {}
    for failure in failures:
        by_cause.setdefault(failure[3], []).append(failure)
    share = LISTED // len(by_cause)
    return [row for rows in by_cause.values() for row in rows[:share]]
