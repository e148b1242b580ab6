"""What only the kernel's own word on a dropped packet tells: programs that no table lists."""

from __future__ import annotations

from typing import Dict, FrozenSet, Iterator

from ...model.command import command
from ..cause import Cause, Pair
from ..evidence import NodeView, World
from ..titles import cause
from ..trace_evidence import drops

_HOOKS = {"TC_INGRESS": "ingress", "TC_EGRESS": "egress"}


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes."""
    seen: Dict[str, Cause] = {}
    for drop in drops(world):
        node = world.nodes.get(drop.node)
        if node is not None and drop.reason in _HOOKS:
            for each in _filters(world, node, drop.device, _HOOKS[drop.reason]):
                seen.setdefault(f"{each.node} {each.object}", each)
        elif node is not None and (drop.reason == "XDP" or drop.function == "do_xdp_generic"):
            seen.setdefault(f"{drop.node} {drop.device}", _xdp(world, node, drop.device))
    yield from seen.values()


def _filters(world: World, node: NodeView, device: str, hook: str) -> Iterator[Cause]:
    """By tc (eBPF programs mostly). What goes out is dropped before the device is told to have it: any may be meant."""
    found = node.told["filters"]
    names = [name for name in found if name.endswith(f" {hook}") and (hook == "egress" or name.split()[0] == device)]
    for name in names or [f"{device} {hook}"]:
        listed = found.get(name, [])
        where = name.split()[0]
        shown = [f"{each['kind']} {each['name']}".strip() + f", preference {each['preference']}" for each in listed]
        # Programs that are attached by a link (tcx, Linux 6.6) are in no list of tc's.
        fix = command("bpftool net show dev {}", where)._replace(comment="and detach what drops")
        if len(listed) == 1:
            fix = command("tc filter del dev {} {} pref {}", where, hook, listed[0]["preference"])
        yield cause(
            "filter_drops", f"filter {name}", node.name, where, keys=frozenset({f"{node.name} filter {name}"}),
            pairs=_by(world, node, where),
            evidence=["expected: nothing drops packets of pods there",
                      f"found: {'; '.join(shown) or 'a program that tc does not list: see bpftool net'}"],
            fix=[fix],
        )  # fmt: skip


def _xdp(world: World, node: NodeView, device: str) -> Cause:
    """A program of XDP's, in its generic mode: what drivers run themselves drops before there is a packet to trace."""
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
