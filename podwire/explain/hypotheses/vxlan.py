"""The VXLAN device: its settings, and what went with it when it was down."""

from __future__ import annotations

from typing import Any, Iterator, List, Mapping, Optional

from ...model.command import Command, command, within
from ..cause import Cause
from ..evidence import NodeView, World
from ..titles import cause

_SITE = "./run site"
Row = Mapping[str, Any]


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes."""
    for node in world.nodes.values():
        yield from _device(world, node)


_FIELDS = (
    ("vni", "vni_mismatch"), ("port", "vxlan_port_mismatch"), ("local", "vxlan_local_wrong"),
)  # fmt: skip


def _device(world: World, node: NodeView) -> Iterator[Cause]:
    rows = node.planned("Link")
    for name in dict.fromkeys(row["device"] for row in rows if row["action"] != "remove"):
        mine = [row for row in rows if row["device"] == name]
        yield from _remade(world, node, name, mine)
    flapped = _on_devices(node, "Route", "Neighbour")
    for name, lost in flapped.items():
        if any(row["device"] == name for row in rows) or name not in node.view.links:
            continue
        kinds = {row["kind"] for row in lost}
        peers = {world.block_of(row["key"]) for row in lost}
        if kinds == {"Route", "Neighbour"} and len(lost) == 2 * len(peers) and len(peers) == len(world.nodes) - 1:
            link = node.view.links[name]
            fdb = [row for row in node.planned("FdbEntry", device=name) if row["action"] == "add"]
            if len(fdb) == len(peers) > 1:
                lost += fdb
                yield cause(
                    "vtep_remade", f"link {name}", node.name, name, keys=frozenset(map(node.key, lost)),
                    pairs=world.far(node.name),
                    evidence=[f"expected: {len(lost)} routes, neighbours and FDB entries on {name}",
                              "found: none of them"],
                    fix=node.steps(lost), verb=_SITE,
                )  # fmt: skip
                continue
            yield cause(
                "vtep_flapped", f"link {name}", node.name, name, keys=frozenset(map(node.key, lost)),
                pairs=world.far(node.name),
                evidence=[f"expected: {len(lost)} routes and neighbours on {name}", "found: none of them",
                          f"{name} is {'up' if link['up'] else 'down'}, and its FDB entries are there: when a device "
                          "goes down, the kernel takes its routes and neighbours along, and FDB entries not"],
                fix=node.steps(lost), verb=_SITE,
            )  # fmt: skip


def _on_devices(node: NodeView, *kinds: str) -> dict[str, List[Row]]:
    found: dict[str, List[Row]] = {}
    for row in node.planned(*kinds):
        if row["action"] == "add" and "vxlan" in node.view.links.get(row["device"], {}):
            found.setdefault(row["device"], []).append(row)
    return found


def _remade(world: World, node: NodeView, name: str, mine: List[Row]) -> Iterator[Cause]:
    """A device with other settings: what stands on it goes with it, and is no cause of its own."""
    wanted = next(row for row in mine if row["action"] != "remove")
    link = node.view.links.get(name)
    all_rows = [row for row in node.told["plan"] if row["device"] == name or f"/{name}/" in row["object"]]
    keys = frozenset(map(node.key, all_rows))
    found = next((row["object"] for row in mine if row["action"] == "remove"), wanted["was"])
    evidence = [f"expected: {wanted['object']}", f"found: {found or 'no such device'}"]
    pairs = world.far(node.name)
    fix = node.steps(all_rows)
    mac = _after(wanted["object"].split(), "mac")
    if link is not None and link["up"] and mac and link["mac"] != mac:
        # The kernel forgets a device's neighbours with its address (neigh_changeaddr).
        with_it = [row for row in all_rows if row["kind"] in ("Link", "Neighbour")]
        yield cause(
            "vtep_mac_wrong", f"link {name}", node.name, name, keys=frozenset(map(node.key, with_it)), pairs=pairs,
            evidence=[f"expected: {mac}, to which peers send", f"found: {link['mac']}"], fix=node.steps(with_it),
            verb=_SITE,
        )  # fmt: skip

    def made(id: str, quiet: bool = False, fix: List[Command] = fix, more: frozenset[str] = frozenset()) -> Cause:
        return cause(
            id, f"link {name}", node.name, name, keys=keys | more, pairs=pairs, evidence=evidence, fix=fix, verb=_SITE,
            quiet=quiet,
        )  # fmt: skip

    if link is None:
        yield made("vtep_missing")
        return
    if "vxlan" not in link:
        return
    want = wanted["object"].split()
    has = link["vxlan"]
    for field, id in _FIELDS:
        if str(has[field]) != _after(want, field):
            evidence += [f"other nodes have {field} {other}" for other in sorted(_others(world, node, name, field))]
            yield made(id)
            return
    if not link["up"]:
        yield made("vtep_down")
        return
    room = int(_after(want, "mtu") or link["mtu"])
    if link["mtu"] > room:
        # Pods whose MTU was raised with it would send what does not fit.
        pods = [each for each in node.pods.values() if (each.device or {}).get("mtu", 0) > world.cluster.mtu]
        steps = list(fix)
        bridge = node.view.links.get(world.cluster.cni.bridge)
        for pod in pods:
            device = pod.device
            assert device is not None
            mtu = command("ip link set dev {} mtu {}", device["name"], world.cluster.mtu)
            steps.append(within(pod.netns, mtu))
        for each in [pod.port for pod in pods] + [bridge]:
            if each is not None and each["mtu"] > world.cluster.mtu:
                steps.append(command("ip link set dev {} mtu {}", each["name"], world.cluster.mtu))
        fragments = node.told["observations"]["fragments"]
        evidence.append(
            f"an outer packet of {link['mtu']} bytes inside does not fit the underlay's {world.cluster.underlay_mtu}"
        )
        evidence.append("outer packets may not be fragmented" if has["df"] else f"outer fragments made: {fragments}")
        more = frozenset(f"{node.name} pod {pod.name} mtu" for pod in pods) | {f"{node.name} bridge mtu"}
        pairs |= world.near(node.name)  # pods whose MTU is larger find that of others smaller
        yield made("vxlan_mtu_too_big_df" if has["df"] else "vxlan_mtu_too_big", True, steps, more)
    elif link["mtu"] < room:
        yield made("vxlan_mtu_too_small")


def _others(world: World, node: NodeView, name: str, field: str) -> set[str]:
    others = [each.view.links.get(name, {}) for each in world.nodes.values() if each.name != node.name]
    return set() if field == "local" else {str(link["vxlan"][field]) for link in others if "vxlan" in link}


def _after(words: List[str], word: str) -> Optional[str]:
    return words[words.index(word) + 1] if word in words else None
