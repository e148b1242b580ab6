"""Documents of runs that never were: clusters of any size, and what their nodes would have observed.

The intent goes through the inventory's own reader, the verdict through the judge: only the observations are made up.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Collection, Dict, Iterable, Iterator, List, Mapping, Sequence, Set, Tuple

from podwire.intent.cluster import Cluster
from podwire.intent.inventory import read
from podwire.intent.projection import desired
from podwire.model.state import State
from podwire.observe.node_state import compare
from podwire.prove import expect
from podwire.prove.prober import LISTED
from podwire.prove.verdict import _count_pairs, judge
from podwire.report.document import Run, build
from podwire.report.source_locations import Origins

Pair = Tuple[str, str]
#: The guarantees that observations are made up for; others would be not run.
_KEYS = ("unique", "pods", "agents", "mtu")


def cluster(nodes: int, pods: int, **variables: Any) -> Cluster:
    """``pods`` on each of so many nodes; ``variables`` as in an inventory."""
    hosts = {f"node-{number}": {"pods": pods, **variables} for number in range(1, nodes + 1)}
    return read(hosts, source="made-up,")


def racks() -> Cluster:
    """Two segments with a router between, two nodes on each, as inventories/racks."""
    segments = {f"rack-{name}": {"cidrs": [f"172.30.{i}.0/24"]} for i, name in ((1, "a"), (2, "b"))}
    underlay = {"segments": segments, "routers": {"spine": {"segments": ["rack-a", "rack-b"]}}}
    common = {"underlay": underlay, "backend": {"type": "vxlan", "direct_routing": True}, "pods": 2}
    return read(
        {f"node-{rack}{i}": {**common, "node_segment": f"rack-{rack}"} for rack in "ab" for i in (1, 2)},
        source="made-up,",
    )


def document(
    intent: Cluster,
    *,
    broken: Collection[Pair] = (),
    missing: Collection[str] = (),
    lost: Mapping[str, str] = {},
    causes: Sequence[Mapping[str, Any]] = (),
) -> Dict[str, Any]:
    """``broken``: (source, target) of nodes or pods between which no packet passes; ``missing``: nodes that told
    nothing; ``lost``: node -> peer whose FDB entry it lacks."""
    addresses = _addresses(intent)
    ends = expect.endpoints(intent, addresses)
    observed = {
        node.name: _observed(intent, node.name, ends, addresses, set(broken), lost.get(node.name, ""))
        for node in intent.nodes
        if node.name not in missing
    }
    run = Run("inventories/made-up", 1_700_000_000.0, 1_700_000_012.5, "0.1.0", "6.12.0")
    places = Origins(
        {node.name: f"inventories/made-up/hosts.yml:{line}" for line, node in enumerate(intent.nodes, 4)},
        {},
        {"backend": "inventories/made-up/group_vars/all.yml:7", "pods": "inventories/made-up/group_vars/all.yml:12"},
    )
    judged = judge(intent, addresses, observed)
    known = tuple(each for each in judged.guarantees if each.key in _KEYS)
    return build(intent, judged._replace(guarantees=known), addresses, observed, run, places, causes)


def _addresses(intent: Cluster) -> Dict[str, List[str]]:
    return {
        pod.name: [f"{block[2 + number]}/{block.prefixlen}" for block in node.pod_cidrs]
        for node in intent.nodes
        for number, pod in enumerate(intent.pods_of(node.name))
        if not pod.host_network
    }


def _observed(
    intent: Cluster,
    node: str,
    ends: Sequence[expect.Endpoint],
    addresses: Mapping[str, Sequence[str]],
    broken: Set[Pair],
    lost: str,
) -> Dict[str, Any]:
    towards = {target for _, target in broken}
    own = [end for end in ends if end.node == node]

    def failing(pairs: Iterable[expect.Pair]) -> Iterator[expect.Pair]:
        for source, target in pairs:
            sides = ((source.pod, target.pod), (node, target.node), (source.pod, target.node), (node, target.pod))
            if any(pair in broken for pair in sides):
                yield expect.Pair(source, target)

    # A million pairs are counted, and walked only where something is broken.
    hurt = [end for end in ends if towards & {end.pod, end.node}]
    pairs = (expect.Pair(s, t) for s in own for t in hurt if s.version == t.version and s.pod != t.pod)
    everything: Dict[str, int] = Counter()
    for (_, name), count in _count_pairs(node, ends):  # once for each family
        everything[name] += count
    paths = list(expect.mtu_pairs_from(node, ends))
    agents = [expect.Pair(expect.Endpoint(node, node, end.version, "", 0, True), end) for end in own]

    state = desired(intent, node)
    ip = next((str(intent.node(lost).public_ips[0]) for _ in [0] if lost), "")
    have = state._replace(fdb=frozenset(each for each in state.fdb if str(each.destination) != ip))
    pods = [pod.name for pod in intent.pods_of(node) if pod.name in addresses]
    plain = {pod: [text.partition("/")[0] for text in addresses[pod]] for pod in pods}
    return {
        "node": node,
        "mtu": intent.mtu,
        "pods": {pod: {"addresses": plain[pod], "mtu": intent.mtu} for pod in pods},
        "absent": [],
        "second_owners": {},
        "seconds": 0.4,
        "pairs": _summary(everything, failing(pairs), "no answer (ICMP, TCP)"),
        "agents": _summary(
            {node: len(agents)}, [each for each in agents if (node, each.target.pod) in broken], "no answer (ICMP, TCP)"
        ),
        "path_mtu": _summary(Counter(p.target.node for p in paths), failing(paths), "no answer at any size"),
        "network": {
            "objects": compare(state, State._make(have)),
            "unlisted": 0,
            "reservations": [
                (ip, f"{number:064x}", "eth0", pod) for number, pod in enumerate(pods) for ip in plain[pod]
            ],
        },
    }


def _summary(expected: Mapping[str, int], failing: Iterable[expect.Pair], reason: str) -> Dict[str, Any]:
    """As prober.py has it: counts by the targets' node, and the failures up to its bound."""
    towards = {name: [count, 0] for name, count in expected.items()}
    listed = []
    for source, target in failing:
        towards[target.node][0] -= 1
        towards[target.node][1] += 1
        listed.append((source.pod, target.pod, target.address, "timeout", reason))
    return {"towards": towards, "failures": listed[:LISTED]}
