"""What only the kernel's drop reason of a traced packet shows: programs that no table lists."""

from __future__ import annotations

from typing import Dict, FrozenSet, Iterator

from ...model.command import command
from ..cause import Cause, Pair
from ..evidence import World
from ..titles import cause
from ..trace_evidence import drops
from ..views import NodeView

_HOOKS = {"TC_INGRESS": "ingress", "TC_EGRESS": "egress"}


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes."""
    causes: Dict[str, Cause] = {}
    for drop in drops(world):
        node = world.nodes.get(drop.node)
        if node is not None and drop.reason in _HOOKS:
            for candidate in _filters(world, node, drop.device, _HOOKS[drop.reason]):
                causes.setdefault(f"{candidate.node} {candidate.object}", candidate)
        elif node is not None and (drop.reason == "XDP" or drop.function == "do_xdp_generic"):
            causes.setdefault(f"{drop.node} {drop.device}", _xdp(world, node, drop.device))
    yield from causes.values()


def _filters(world: World, node: NodeView, device: str, hook: str) -> Iterator[Cause]:
    """By tc (eBPF programs mostly). At egress the trace of a dropped packet lacks the device: any may be meant."""
    rows = [
        row for row in node.evidence["filters"] if row["hook"] == hook and (hook == "egress" or row["device"] == device)
    ]
    for name in dict.fromkeys(row["device"] for row in rows) if rows else [device]:
        listed = [row for row in rows if row["device"] == name]
        texts = [f"{row['kind']} {row['name']}".strip() + f", preference {row['preference']}" for row in listed]
        # Programs that are attached by a link (tcx, Linux 6.6) are in no list of tc's.
        fix = command("bpftool net show dev {}", name)._replace(comment="and detach what drops")
        if len(listed) == 1:
            fix = command("tc filter del dev {} {} pref {}", name, hook, listed[0]["preference"])
        yield cause(
            "filter_drops", f"filter {name} {hook}", node.name, name,
            keys=frozenset({f"{node.name} filter {name} {hook}"}), pairs=_by(world, node, name),
            evidence=["expected: nothing drops packets of pods there",
                      f"found: {'; '.join(texts) or 'a program that tc does not list: see bpftool net'}"],
            fix=[fix],
        )  # fmt: skip


def _xdp(world: World, node: NodeView, device: str) -> Cause:
    """An XDP program in generic mode: what drivers run themselves drops before there is a packet to trace."""
    return cause(
        "filter_drops", f"link {device}", node.name, device, keys=frozenset({f"{node.name} xdp {device}"}),
        pairs=_by(world, node, device),
        evidence=["expected: nothing drops packets of pods there", "found: an XDP program that does"],
        fix=[command("ip link set dev {} xdpgeneric off", device)],
    )  # fmt: skip


def _by(world: World, node: NodeView, device: str) -> FrozenSet[Pair]:
    """Pairs whose packets go by a device."""
    for name, pod in node.pods.items():
        if pod.port is not None and pod.port["name"] == device:
            return world.of(name)
    return world.far(node.name) | world.local(node.name)
