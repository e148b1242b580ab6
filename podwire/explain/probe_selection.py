"""Which pairs deserve a closer look: the cheapest probes that tell hypotheses from each other. Pure."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Optional, Sequence, Set, Tuple

from .cause import Cause, Pair
from .evidence import World

#: Looks a node at most: each takes some 0.02 s, or 0.3 where nobody tells of the packet's end.
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
) -> Dict[str, List[Dict[str, Any]]]:
    """Node -> what it should look at (see closer.py): of each cause the failing pair that the fewest other candidates
    would break as well, both ways, as a fault on one side shows there; of unexplained pairs one for each two nodes.
    ``ends``: only pairs from a source to a target, "" for any."""
    found: Dict[str, List[Dict[str, Any]]] = {}
    taken: Set[Pair] = set()
    wanted = {pair for pair in world.failing if all(end in ("", its) for end, its in zip(ends, pair))}
    for source, target in _pairs(world, candidates, chosen, unexplained, wanted):
        for pair in ((source, target), (target, source)):
            ask = _ask(world, pair) if pair in world.failing and pair not in taken else None
            mine = found.setdefault(world.home.get(pair[0], pair[0]), []) if ask else []
            if ask is not None and len(mine) < PER_NODE:
                taken.add(pair)
                mine.append(ask)
    return found


def _pairs(
    world: World, candidates: Sequence[Cause], chosen: Iterable[Cause], unexplained: Sequence[Pair], wanted: Set[Pair]
) -> Iterable[Pair]:
    for cause in chosen:
        failing = sorted(pair for pair in cause.pairs & wanted if _shows(world, pair))
        own = [pair for pair in failing if world.home.get(pair[0], pair[0]) == cause.node]
        some = sorted(own or failing, key=lambda pair: _ends(world, pair))[:_WEIGHED]
        if some:
            yield min(
                some,
                key=lambda pair: (_ends(world, pair), sum(pair in candidate.pairs for candidate in candidates), pair),
            )
    seen: Set[Tuple[str, ...]] = set()
    for pair in sorted(unexplained):
        nodes = tuple(world.home.get(end, end) for end in pair)
        if nodes not in seen and pair in wanted and _shows(world, pair):
            seen.add(nodes)
            yield pair


def _ends(world: World, pair: Pair) -> int:
    """How many ends are no pod of the pod network: what goes from pod to pod has the longest way to tell of."""
    return sum(end in world.host_pods or end not in world.home for end in pair)


def _shows(world: World, pair: Pair) -> bool:
    return world.failing[pair].partition(":")[0] not in _ANSWERED


def _ask(world: World, pair: Pair) -> Optional[Dict[str, Any]]:
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
    pods = {pod.name: pod for pod in world.cluster.pods}
    port = pods[target].port if target in pods else 0
    length = _SHORTEST + _APART * (list(world.nodes).index(home) % _LENGTHS)
    if any(pair in world.failures[kind] for kind in ("path_mtu", "bulk")) and pair not in world.failures["pairs"]:
        length = world.cluster.mtu
    version = 6 if ":" in address else 4
    peer = world.home.get(target, target)
    outer = world.cluster.backend_driver.overhead[version] if peer != home else 0
    other = world.cluster.by_name.get(peer)
    ends = (*other.public_ips, *(each.ip for each in other.addresses)) if other is not None and outer else ()
    protocol = _protocol(world.failing[pair])
    return {
        "source": source, "target": target, "address": address, "port": port, "protocol": protocol,
        "length": length, "alone": protocol != "tcp" and length < world.cluster.mtu, "outer": outer,
        "tunnel": sorted({str(ip) for ip in ends}), "places": places,
    }  # fmt: skip


def _protocol(why: str) -> str:
    """The first protocol that fails; reach.py names those that do where not all of them do."""
    return next((each.lower() for each in ("ICMP", "UDP", "TCP") if each in why), "icmp")
