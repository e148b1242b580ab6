"""The VXLAN device: its settings, and what went with it when it was down."""

from __future__ import annotations

from typing import Dict, FrozenSet, Iterator, List, NamedTuple, Sequence, Set, Union

from ...model.command import Command, command, within
from ...model.objects import FdbEntry, Link, Neighbour, Object, Route, Vxlan
from ...observe.records import LinkRow, VxlanRow
from ...plan import ADD, REMOVE
from ..cause import Cause
from ..evidence import World
from ..operations import Change, all_changes, device_of, fix, identity
from ..titles import cause
from ..views import NodeView

_SITE = "./run site"


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes."""
    for node in world.nodes.values():
        links = node.changes(Link)
        for name in dict.fromkeys(change.object.name for change in links if change.action != REMOVE):
            yield from _changed(world, node, name, [change for change in links if change.object.name == name])
        names = {change.object.name for change in links}
        for name, lost in _lost(node).items():
            if name in node.view.links and name not in names:
                yield from _emptied(world, node, node.view.links[name], lost)


def _lost(node: NodeView) -> Dict[str, List[Union[Change[Route], Change[Neighbour]]]]:
    """VXLAN device -> routes and neighbours that it lacks."""
    lost: Dict[str, List[Union[Change[Route], Change[Neighbour]]]] = {}
    rows: List[Union[Change[Route], Change[Neighbour]]] = [*node.changes(Route), *node.changes(Neighbour)]
    for change in rows:
        device = device_of(change.object)
        if change.action == ADD and "vxlan" in node.view.links.get(device, {}):
            lost.setdefault(device, []).append(change)
    return lost


def _emptied(
    world: World, node: NodeView, link: LinkRow, lost: List[Union[Change[Route], Change[Neighbour]]]
) -> Iterator[Cause]:
    """A device without any route and neighbour."""
    name = link["name"]
    objects = [change.object for change in lost]
    peers = {world.block_of(it.destination.network_address if isinstance(it, Route) else it.address) for it in objects}
    kinds = set(map(type, objects))
    if kinds != {Route, Neighbour} or len(lost) != 2 * len(peers) or len(peers) != len(world.nodes) - 1:
        return
    fdb = [change for change in node.changes(FdbEntry, device=name) if change.action == ADD]
    gone: List[Change[Object]] = [*lost]
    if len(fdb) == len(peers) > 1:
        gone += fdb
        id, what, more = "vtep_remade", "routes, neighbours and FDB entries", []
    else:
        id, what = "vtep_flapped", "routes and neighbours"
        more = [f"{name} is {'up' if link['up'] else 'down'}, and its FDB entries are there: when a device goes down, "
                "the kernel takes its routes and neighbours along, and FDB entries not"]  # fmt: skip
    yield cause(
        id, f"link {name}", node.name, name, keys=frozenset(map(node.key, gone)), pairs=world.far(node.name),
        evidence=[f"expected: {len(gone)} {what} on {name}", "found: none of them", *more], fix=fix(gone), verb=_SITE,
    )  # fmt: skip


class _Device(NamedTuple):
    """A device with other settings: what is on it goes with it, and is no cause of its own."""

    node: NodeView
    name: str
    wanted: Link
    changes: List[Change[Object]]
    evidence: List[str]

    def cause(
        self,
        world: World,
        id: str,
        quiet: bool = False,
        more: FrozenSet[str] = frozenset(),
        steps: Sequence[Command] = (),
    ) -> Cause:
        """``more``: further deviations that it accounts for; ``steps``: further commands of its fix."""
        pairs = world.far(self.node.name) | (world.near(self.node.name) if more else frozenset())
        return cause(
            id, f"link {self.name}", self.node.name, self.name, keys=frozenset(map(self.node.key, self.changes)) | more,
            pairs=pairs, evidence=self.evidence, fix=[*fix(self.changes), *steps], verb=_SITE, quiet=quiet,
        )  # fmt: skip


def _changed(world: World, node: NodeView, name: str, links: List[Change[Link]]) -> Iterator[Cause]:
    wanted = next(change for change in links if change.action != REMOVE)
    removed = (change.object for change in links if change.action == REMOVE)
    current = next(removed, wanted.previous)
    evidence = [f"expected: {wanted.object}", f"found: {current or 'no such device'}"]
    on_device = [it for it in all_changes(node.plan)
                 if device_of(it.object) == name or f"/{name}/" in identity(it.object)]  # fmt: skip
    device = _Device(node, name, wanted.object, on_device, evidence)
    link = node.view.links.get(name)
    if link is None:
        yield device.cause(world, "vtep_missing")
        return
    if link["up"] and wanted.object.mac and link["mac"] != str(wanted.object.mac):
        yield _mac_wrong(world, device, link)
    if "vxlan" in link:
        yield from _settings(world, device, link)


def _mac_wrong(world: World, device: _Device, link: LinkRow) -> Cause:
    """The kernel forgets a device's neighbours with its address (neigh_changeaddr)."""
    with_it = [change for change in device.changes if isinstance(change.object, (Link, Neighbour))]
    return cause(
        "vtep_mac_wrong", f"link {device.name}", device.node.name, device.name,
        keys=frozenset(map(device.node.key, with_it)), pairs=world.far(device.node.name),
        evidence=[f"expected: {device.wanted.mac}, to which peers send", f"found: {link['mac']}"], fix=fix(with_it),
        verb=_SITE,
    )  # fmt: skip


def _settings(world: World, device: _Device, link: LinkRow) -> Iterator[Cause]:
    current, settings = link["vxlan"], device.wanted.settings
    wanted = settings if isinstance(settings, Vxlan) else None
    others = [other.view.links[device.name]["vxlan"] for other in world.nodes.values()
              if other is not device.node and "vxlan" in other.view.links.get(device.name, {})]  # fmt: skip
    if wanted is not None and current["vni"] != wanted.vni:
        yield _differs(world, device, "vni_mismatch", "vni", {row["vni"] for row in others})
    elif wanted is not None and current["port"] != wanted.port:
        yield _differs(world, device, "vxlan_port_mismatch", "port", {row["port"] for row in others})
    elif wanted is not None and current["local"] != str(wanted.local):
        yield device.cause(world, "vxlan_local_wrong")
    elif not link["up"]:
        yield device.cause(world, "vtep_down")
    elif device.wanted.mtu is not None and link["mtu"] > device.wanted.mtu:
        yield _too_big(world, device, link, current)
    elif device.wanted.mtu is not None and link["mtu"] < device.wanted.mtu:
        yield device.cause(world, "vxlan_mtu_too_small")


def _differs(world: World, device: _Device, id: str, setting: str, others: Set[int]) -> Cause:
    texts = [f"other nodes have {setting} {value}" for value in sorted(others)]
    return device._replace(evidence=[*device.evidence, *texts]).cause(world, id)


def _too_big(world: World, device: _Device, link: LinkRow, current: VxlanRow) -> Cause:
    """Pods whose MTU was raised with it would send what does not fit."""
    node, mtu = device.node, world.cluster.mtu
    pods = [pod for pod in node.pods.values() if pod.device is not None and pod.device["mtu"] > mtu]
    steps = [within(pod.netns, command("ip link set dev {} mtu {}", pod.device["name"], mtu))
             for pod in pods if pod.device is not None]  # fmt: skip
    for port in [*(pod.port for pod in pods), node.view.links.get(world.cluster.cni.bridge)]:
        if port is not None and port["mtu"] > mtu:
            steps.append(command("ip link set dev {} mtu {}", port["name"], mtu))
    made = f"outer fragments made: {node.observations['fragments']}"
    evidence = [
        *device.evidence,
        f"an outer packet of {link['mtu']} bytes inside does not fit the underlay's {world.cluster.underlay_mtu}",
        "outer packets may not be fragmented" if current["df"] else made,
    ]
    # Pods whose MTU is larger find that of others smaller.
    more = frozenset(f"{node.name} pod {pod.name} mtu" for pod in pods) | {f"{node.name} bridge mtu"}
    id = "vxlan_mtu_too_big_df" if current["df"] else "vxlan_mtu_too_big"
    return device._replace(evidence=evidence).cause(world, id, True, more, steps)
