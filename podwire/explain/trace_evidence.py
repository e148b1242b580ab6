"""Traced probes (trace_probe.py) as evidence: as text, and where in the network a packet was dropped. Pure."""

from __future__ import annotations

from typing import Iterator, List, NamedTuple, Sequence, Tuple

from .cause import Cause, Pair
from .evidence import World
from .packet_paths import certain
from .records import Look, PacketPath

#: Devices of a path that are written out; what is between is counted.
_SHOWN = 12
#: Counters that are written out.
_COUNTED = 6
_LABELS = {"probe": "path", "answer": "reply path", "neighbour": "neighbour lookup path"}


class Drop(NamedTuple):
    """The end of a probe or of its answer. ``node``: where, "" for what is between nodes; ``device``: the last that had
    it; ``reason``, ``function``: the kernel's name for why and where."""

    pair: Pair
    node: str
    device: str
    reason: str
    function: str


def drops(world: World) -> Iterator[Drop]:
    """Where packets were dropped, over all traced probes."""
    for node, look in world.looks:
        for flight in certain(look["flights"]):
            if flight["end"]:
                device = flight["way"][-1] if flight["way"] else ""
                where = _where(world, node, look, flight)
                yield Drop((look["source"], look["target"]), where, device, flight["reason"], flight["function"])


def _where(world: World, node: str, look: Look, flight: PacketPath) -> str:
    """The node on which a packet was dropped: it starts on one, and may go by the interface to the other. A machine of
    its own traces no other; nodes of one machine, which share its tracefs, trace all."""
    if world.nodes[node].node.kind == "ssh":
        return node
    ends = [world.home.get(end, end) for end in (look["source"], look["target"])]
    start, other = ends if flight["what"] == "probe" else ends[::-1]
    path = flight["way"]
    interface = world.nodes[start].node.interface if start in world.nodes else ""
    # The first device is a pod's own, which mostly has the same name.
    crossing = next((number for number in range(1, len(path)) if path[number] == interface), len(path))
    if start == other or len(path) - 1 <= crossing:
        return start
    return other if other in world.nodes and path[-1] in world.nodes[other].view.links or path[-1] == "eth0" else ""


def about(cause: Cause, looks: Sequence[Tuple[str, Look]]) -> List[str]:
    """The traced probe that says most of a cause, as text."""
    matching = [(node, look) for node, look in looks if (look["source"], look["target"]) in cause.pairs]
    if not matching:
        return []
    node, look = min(matching, key=lambda it: (it[1]["answered"], it[0] != cause.node, not _has_end(it[1])))
    return lines(node, look)


def _has_end(look: Look) -> bool:
    return any(flight["end"] for flight in certain(look["flights"]))


def lines(node: str, look: Look) -> List[str]:
    """A traced probe as lines of evidence."""
    name = f"{look['source']} -> {look['target']}"
    head = f"probe {name} ({look['address']}, {look['protocol'].upper()}, {look['length']} bytes)"
    outcome = "answered" if look["answered"] else look["error"].lower() or "no answer"
    texts = [f"{head}: {outcome}"]
    requests = [flight for flight in look["flights"] if flight["what"] == "neighbour"]
    for flight in (*certain(look["flights"]), *requests):
        end = f"; dropped: {flight['end']}" if flight["end"] else ""
        if not look["answered"] or flight["end"]:
            texts.append(f"{_LABELS[flight['what']]}: {_path(flight['way'])}{end}")
    for place, chain, handle, is_drop in look["verdicts"]:
        if is_drop:
            rule = f"rule {handle}" if handle else "the policy"
            texts.append(f"nftables trace: {rule} of {chain} drops it{f' in {place}' if place else ''}")
    return [*texts, *(_counters(node, look) if not look["answered"] else ())]


def _counters(node: str, look: Look) -> Iterator[str]:
    for place, increases in look["counters"].items():
        texts = [f"{key} +{value}" for key, value in increases.items()]
        more = f" and {len(texts) - _COUNTED} more" if len(texts) > _COUNTED else ""
        yield f"counters of {place or node} during the probe: {', '.join(texts[:_COUNTED])}{more}"


def _path(devices: Sequence[str]) -> str:
    if len(devices) <= _SHOWN:
        return " > ".join(devices) or "no device"
    half = _SHOWN // 2
    return f"{' > '.join(devices[:half])} > … > {' > '.join(devices[-half:])}"
