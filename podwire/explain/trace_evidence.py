"""Closer looks (closer.py) as evidence: in words, and where in the network a packet ended. Pure."""

from __future__ import annotations

from typing import Any, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from .cause import Cause, Pair
from .evidence import World
from .packet_paths import certain

#: Devices of a way that are written out; what is between is counted.
_SHOWN = 12
#: Counters that are written out.
_COUNTED = 6


class Drop(NamedTuple):
    """The end of a probe or of its answer. ``node``: where, "" for what is between nodes; ``device``: the last that had
    it; ``reason``, ``function``: the kernel's name for why and where; ``told``: the look."""

    pair: Pair
    node: str
    device: str
    reason: str
    function: str
    told: Mapping[str, Any]


def drops(world: World) -> Iterator[Drop]:
    """What the kernel told of the ends of packets, over all looks."""
    for node, look in world.looks:
        for flight in certain(look["flights"]):
            if flight["end"]:
                device = flight["way"][-1] if flight["way"] else ""
                where = _where(world, node, look, flight)
                reason, _, function = flight["end"].partition(" in ")
                yield Drop((look["source"], look["target"]), where, device, reason, function, look)


def _where(world: World, node: str, look: Mapping[str, Any], flight: Mapping[str, Any]) -> str:
    """The node on which a flight ended: it starts on one, and may go by the interface to the other. A machine of its
    own tells of no other; nodes of one machine, which share its tracefs, tell of all."""
    if world.nodes[node].node.kind == "ssh":
        return node
    ends: List[str] = [world.home.get(look[end], look[end]) for end in ("source", "target")]
    start, other = ends if flight["what"] == "probe" else ends[::-1]
    way: List[str] = flight["way"]
    interface = world.nodes[start].node.interface if start in world.nodes else ""
    # The first device is a pod's own, which mostly has the same name.
    crossing = next((number for number in range(1, len(way)) if way[number] == interface), len(way))
    if start == other or len(way) - 1 <= crossing:
        return start
    return other if other in world.nodes and way[-1] in world.nodes[other].view.links or way[-1] == "eth0" else ""


def about(cause: Cause, looks: Sequence[Tuple[str, Mapping[str, Any]]]) -> List[str]:
    """What the look that says most of a cause saw."""
    mine = [(node, look) for node, look in looks if (look["source"], look["target"]) in cause.pairs]
    if not mine:
        return []
    node, look = min(mine, key=lambda each: (each[1]["answered"], each[0] != cause.node, not _ends(each[1])))
    return words(node, look)


def _ends(look: Mapping[str, Any]) -> bool:
    return any(flight["end"] for flight in certain(look["flights"]))


def words(node: str, look: Mapping[str, Any]) -> List[str]:
    """A look as lines of evidence."""
    name = f"{look['source']} -> {look['target']}"
    head = f"probe {name} ({look['address']}, {look['protocol'].upper()}, {look['length']} bytes)"
    outcome = "answered" if look["answered"] else look["error"].lower() or "no answer"
    lines = [f"{head}: {outcome}"]
    asking = [each for each in look["flights"] if each["what"] == "neighbour"]
    for flight in (*certain(look["flights"]), *asking):
        who = {"probe": "path", "answer": "reply path", "neighbour": "neighbour lookup path"}[flight["what"]]
        end = f"; dropped: {flight['end']}" if flight["end"] else ""
        if not look["answered"] or flight["end"]:
            lines.append(f"{who}: {_way(flight['way'])}{end}")
    for place, where, handle, ends in look["verdicts"]:
        if ends:
            rule = f"rule {handle}" if handle else "the policy"
            lines.append(f"nftables trace: {rule} of {where} drops it{f' in {place}' if place else ''}")
    if not look["answered"]:
        for place, grown in look["counters"].items():
            told = [f"{key} +{value}" for key, value in grown.items()]
            more = f" and {len(told) - _COUNTED} more" if len(told) > _COUNTED else ""
            lines.append(f"counters of {place or node} during the probe: {', '.join(told[:_COUNTED])}{more}")
    return lines


def _way(way: Sequence[str]) -> str:
    if len(way) <= _SHOWN:
        return " > ".join(way) or "no device"
    half = _SHOWN // 2
    return f"{' > '.join(way[:half])} > … > {' > '.join(way[-half:])}"
