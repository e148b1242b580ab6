"""Which failing pairs to trace: the cheapest probes that tell hypotheses from each other. Pure."""

from __future__ import annotations

from typing import Dict, Iterable, List, Optional, Sequence, Set, Tuple

from ..intent.cluster import Cluster
from .cause import Cause, Pair
from .evidence import Reason, World
from .records import Ask

#: Traced probes a node at most: each takes some 0.02 s, or 1 where the end of the packet is not traced.
PER_NODE = 6
#: Pairs of one cause that are weighed against each other.
_WEIGHED = 50
#: Lengths of probes in bytes of IP: the node's own, so far apart that none is another's with headers on or off
#: (14 of Ethernet, 50 or 70 of VXLAN).
_SHORTEST, _APART, _LENGTHS = 200, 13, 28
#: What a probe by itself would not show again: the answer came, from or for somebody else.
_ANSWERED = ("nat", "identity")


def asks(
    world: World,
    candidates: Sequence[Cause],
    chosen: Iterable[Cause],
    unexplained: Sequence[Pair],
    ends: Tuple[str, str] = ("", ""),
) -> Dict[str, List[Ask]]:
    """Node -> what it should trace: of each cause the failing pair that the fewest other candidates would break as
    well, both ways, as a fault on one side shows there; of unexplained pairs one for each two nodes. ``ends``: only
    pairs from a source to a target, "" for any."""
    asked: Dict[str, List[Ask]] = {}
    selected: Set[Pair] = set()
    wanted = {pair for pair in world.failing if all(end in ("", its) for end, its in zip(ends, pair))}
    for source, target in _pairs(world, candidates, chosen, unexplained, wanted):
        for pair in ((source, target), (target, source)):
            ask = _ask(world, pair) if pair in world.failing and pair not in selected else None
            of_node = asked.setdefault(world.home.get(pair[0], pair[0]), []) if ask else []
            if ask is not None and len(of_node) < PER_NODE:
                selected.add(pair)
                of_node.append(ask)
    return asked


def _pairs(
    world: World, candidates: Sequence[Cause], chosen: Iterable[Cause], unexplained: Sequence[Pair], wanted: Set[Pair]
) -> Iterable[Pair]:
    for cause in chosen:
        failing = sorted(pair for pair in cause.pairs & wanted if _shows(world, pair))
        from_node = [pair for pair in failing if world.home.get(pair[0], pair[0]) == cause.node]
        some = sorted(from_node or failing, key=lambda pair: _ends(world, pair))[:_WEIGHED]
        if some:
            yield min(
                some,
                key=lambda pair: (_ends(world, pair), sum(pair in candidate.pairs for candidate in candidates), pair),
            )
    known: Set[Tuple[str, ...]] = set()
    for pair in sorted(unexplained):
        nodes = tuple(world.home.get(end, end) for end in pair)
        if nodes not in known and pair in wanted and _shows(world, pair):
            known.add(nodes)
            yield pair


def _ends(world: World, pair: Pair) -> int:
    """How many ends are no pod of the pod network: from pod to pod the path is longest, and shows most."""
    return sum(end in world.host_pods or end not in world.home for end in pair)


def _shows(world: World, pair: Pair) -> bool:
    return world.failing[pair].cause not in _ANSWERED


def _ask(world: World, pair: Pair) -> Optional[Ask]:
    source, target = pair
    home = world.home.get(source, source)
    node, address = world.nodes.get(home), world.targets[pair]
    if node is None or not _shows(world, pair):
        return None
    places = {}
    for end in pair:
        if end in world.host_pods and world.home[end] == home:
            places[end] = ""
        elif end in node.pods:
            places[end] = node.pods[end].netns
    if source != home and source not in places:
        return None
    length = _SHORTEST + _APART * (list(world.nodes).index(home) % _LENGTHS)
    if any(pair in world.failures[kind] for kind in ("path_mtu", "bulk")) and pair not in world.failures["pairs"]:
        length = world.cluster.mtu
    outer, tunnel = _tunnel(world.cluster, home, world.home.get(target, target), 6 if ":" in address else 4)
    protocol = _protocol(world.failing[pair])
    return {
        "source": source, "target": target, "address": address, "port": _port(world.cluster, target),
        "protocol": protocol, "length": length, "alone": protocol != "tcp" and length < world.cluster.mtu,
        "outer": outer, "tunnel": tunnel, "places": places,
    }  # fmt: skip


def _port(cluster: Cluster, target: str) -> int:
    return next((pod.port for pod in cluster.pods if pod.name == target), 0)


def _tunnel(cluster: Cluster, home: str, peer: str, version: int) -> Tuple[int, List[str]]:
    """Bytes that a tunnel between two nodes adds, and the addresses of its other end."""
    outer, other = cluster.backend_driver.overhead[version], cluster.by_name.get(peer)
    if not outer or other is None or peer == home:
        return 0 if peer == home else outer, []
    return outer, sorted({str(ip) for ip in (*other.public_ips, *(address.ip for address in other.addresses))})


def _protocol(reason: Reason) -> str:
    """The first protocol that fails; reach.py names those that do where not all of them do."""
    return next((name.lower() for name in ("ICMP", "UDP", "TCP") if name in reason.text), "icmp")
