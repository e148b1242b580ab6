"""The way to other nodes: routes, neighbours, FDB entries, the VXLAN device, and what forwards."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any, Iterator, List, Mapping, Optional, Tuple

from ...model import IPNetwork
from ..cause import Cause, Pair
from ..commands import joined, sysctl
from ..evidence import NodeView, World
from ..titles import cause

_SITE = "./run site"
Row = Mapping[str, Any]


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes."""
    for node in world.nodes.values():
        yield from _to_peers(world, node)
        yield from _device(world, node)
        yield from _forwarding(world, node)
        yield from _extra_routes(world, node)
        yield from _rules(world, node)


# --- the three tables ----------------------------------------------------------------------------


def _to_peers(world: World, node: NodeView) -> Iterator[Cause]:
    lost = [row for row in node.planned("Route", "Neighbour", "FdbEntry") if row["action"] != "remove"]
    devices = {row["device"] for row in node.planned("Link")}
    for peer in world.peers(node.name):
        pairs = world.between(node.name, peer.name)
        for block in peer.pod_cidrs:
            mine = [row for row in lost if _is_of(row, peer.public_ips, block, node)]
            by = {kind: [row for row in mine if row["kind"] == kind] for kind in ("Route", "Neighbour", "FdbEntry")}
            if by["Route"]:
                yield from _route(world, node, peer.name, block, by["Route"][0], pairs, mine)
            if by["Route"] and by["Neighbour"] and by["FdbEntry"] and not devices & {r["device"] for r in mine}:
                evidence = [f"missing: {row['object']}" for row in mine if not row["was"]]
                if len(evidence) == len(mine):
                    yield _made(world, "peer_missed", node, by["Route"][0], mine, pairs, evidence)
            for kind, absent, stale in (
                ("Neighbour", "vxlan_neighbour_missing", "vtep_mac_stale"),
                ("FdbEntry", "vxlan_fdb_missing", "vxlan_fdb_wrong_vtep"),
            ):
                for row in by[kind]:
                    surplus = [r for r in node.planned(kind, device=row["device"]) if r["action"] == "remove"]
                    yield from _entry(world, node, peer.name, row, surplus, (absent, stale), pairs, mine)


def _entry(
    world: World,
    node: NodeView,
    peer: str,
    row: Row,
    surplus: List[Row],
    ids: Tuple[str, str],
    pairs: frozenset[Pair],
    mine: List[Row],
) -> Iterator[Cause]:
    evidence = [f"expected: {row['object']}", f"found: {row['was'] or 'nothing'}"]
    if not row["was"]:
        yield _made(world, ids[0], node, row, [row], pairs, evidence)
        return
    if row["kind"] == "FdbEntry":
        to = row["was"].partition(" dst ")[2].split()[0]
        evidence.append(f"{to} is {world.owner(to) or 'no node'}'s, {peer} has {row['object'].split()[3]}")
        yield _made(world, ids[1], node, row, [row], pairs, evidence)
        return
    # A neighbour with another MAC: the FDB has the old one too, so its own entry seems to be missing.
    mac = row["was"].split()[3]
    fdb = [each for each in mine if each["kind"] == "FdbEntry"] + [r for r in surplus if mac in r["object"]]
    fdb += [r for r in node.planned("FdbEntry", device=row["device"]) if r["action"] == "remove" and mac in r["object"]]
    evidence.append(f"no device of {peer} has {mac}")
    yield _made(world, ids[1], node, row, [row, *fdb], pairs, evidence)


def _is_of(row: Row, public: Any, block: IPNetwork, node: NodeView) -> bool:
    if row["kind"] == "Route":
        return bool(row["key"] == str(block))
    if row["kind"] == "Neighbour":
        return ip_address(row["key"]) in block
    return row["key"] in map(str, public)


def _made(
    world: World, id: str, node: NodeView, row: Row, rows: List[Row], pairs: frozenset[Pair], evidence: List[str]
) -> Cause:
    object = " ".join(row["object"].split()[:2])
    if row["kind"] in ("Neighbour", "FdbEntry"):
        object += f" dev {row['device']}"
    return cause(
        id, object, node.name, row["device"], keys=frozenset(map(node.key, rows)), pairs=pairs, evidence=evidence,
        fix=node.steps(rows), verb=_SITE,
    )  # fmt: skip


def _route(
    world: World, node: NodeView, peer: str, block: IPNetwork, row: Row, pairs: frozenset[Pair], mine: List[Row]
) -> Iterator[Cause]:
    """What stands in the place of the route that there should be."""
    found = [each for network, each in node.view.routes if network == block]
    evidence = [f"expected: {row['object']}", f"found: {_told(found[0]) if found else 'no route'}"]
    evidence += [
        f"the kernel's word on a packet from a pod to {ip}: {word}"
        for ip, word in node.told["oracle"].items()
        if ip_address(ip).version == block.version and ip_address(ip) in block
    ][:1]
    if not found:
        yield _made(world, "route_missing", node, row, [row], pairs, evidence)
        return
    hop = found[0]
    if hop["kind"] != "unicast":
        yield _made(world, "route_blackhole", node, row, [row], pairs, evidence)
        return
    if found[0].get("scope") == "link":
        return  # an address of the node's own makes it: duplicate_pod_cidr
    gateway = hop.get("gateway", "")
    owner = world.owner(gateway)
    strict = [key for key in ("all", *node.view.links) if node.sysctl(f"net/ipv4/conf/{key}/rp_filter") == "1"]
    if owner == peer and "all" in strict:
        keys = [row, *node.planned("Sysctl")]
        evidence.append(f"rp_filter is strict (1) on {', '.join(strict)}, and answers come back by another device")
        fix = joined(
            [sysctl("net/ipv4/conf/all/rp_filter", "0"), node.steps(node.planned("Sysctl")), node.steps([row])]
        )
        yield cause(
            "rp_filter_strict", "sysctl net/ipv4/conf/all/rp_filter", node.name, keys=frozenset(map(node.key, keys)),
            pairs=pairs, evidence=evidence, fix=fix, verb=_SITE,
        )  # fmt: skip
        return
    if owner == peer:
        yield _made(world, "route_other_way", node, row, [row], pairs, evidence)
        return
    on_link = any(
        ip_address(gateway) in ip_network((each["address"], each["prefix"]), strict=False)
        for each in node.namespace["addresses"]
        if each["device"] == hop.get("device") and gateway
    )
    evidence.append(f"{gateway} is an address of {owner or 'no node'}")
    id = "next_hop_dead" if on_link else "next_hop_not_adjacent"
    if not on_link:
        evidence.append(f"{gateway} is in no network of {hop.get('device')}")
    yield _made(world, id, node, row, [row], pairs, evidence)


def _told(route: Row) -> str:
    words = [] if route["kind"] == "unicast" else [route["kind"]]
    words += [route["destination"]]
    words += [f"{word} {route[key]}" for word, key in (("via", "gateway"), ("dev", "device")) if key in route]
    return " ".join([*words, f"proto {route['protocol']}"])


def _extra_routes(world: World, node: NodeView) -> Iterator[Cause]:
    """More specific routes into a peer's block."""
    for network, route in node.view.routes:
        peer = world.block_of(route["destination"])
        if peer is None or peer.name == node.name or route["protocol"] == 2:
            continue
        if any(network != block and network.version == block.version and network.subnet_of(block)  # type: ignore[arg-type]
               for block in peer.pod_cidrs):  # fmt: skip
            pods = [pod for pod in world.pods_of(peer.name) if any(ip_address(ip) in network for ip in world.ips[pod])]
            pairs = frozenset(p for p in world.between(node.name, peer.name) if p[0] in pods or p[1] in pods)
            words = [route["kind"]] if route["kind"] != "unicast" else []
            words += [route["destination"], *(f"dev {route[k]}" for k in ("device",) if k in route)]
            yield cause(
                "route_overlapped", f"route {route['destination']}", node.name, route.get("device", ""),
                keys=frozenset({f"{node.name} extra route {route['destination']}"}), pairs=pairs,
                evidence=[f"expected: one route to {peer.pod_cidrs[0]}, the block of {peer.name}",
                          f"found: {_told(route)}, which is more specific"],
                fix=f"ip route del {' '.join(words)}",
            )  # fmt: skip


# --- the VXLAN device ----------------------------------------------------------------------------

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

    def made(id: str, quiet: bool = False, fix: str = fix, more: frozenset[str] = frozenset()) -> Cause:
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
        steps = [fix]
        bridge = node.view.links.get(world.cluster.cni.bridge)
        for pod in pods:
            device = pod.device
            assert device is not None
            steps.append(f"nsenter --net={pod.netns} ip link set dev {device['name']} mtu {world.cluster.mtu}")
        for each in [pod.port for pod in pods] + [bridge]:
            if each is not None and each["mtu"] > world.cluster.mtu:
                steps.append(f"ip link set dev {each['name']} mtu {world.cluster.mtu}")
        fragments = node.told["observations"]["fragments"]
        evidence.append(
            f"an outer packet of {link['mtu']} bytes inside does not fit the underlay's {world.cluster.underlay_mtu}"
        )
        evidence.append("outer packets may not be fragmented" if has["df"] else f"outer fragments made: {fragments}")
        more = frozenset(f"{node.name} pod {pod.name} mtu" for pod in pods) | {f"{node.name} bridge mtu"}
        pairs |= world.near(node.name)  # pods whose MTU is larger find that of others smaller
        yield made("vxlan_mtu_too_big_df" if has["df"] else "vxlan_mtu_too_big", True, joined(steps), more)
    elif link["mtu"] < room:
        yield made("vxlan_mtu_too_small")


def _others(world: World, node: NodeView, name: str, field: str) -> set[str]:
    others = [each.view.links.get(name, {}) for each in world.nodes.values() if each.name != node.name]
    return set() if field == "local" else {str(link["vxlan"][field]) for link in others if "vxlan" in link}


def _after(words: List[str], word: str) -> Optional[str]:
    return words[words.index(word) + 1] if word in words else None


# --- forwarding ----------------------------------------------------------------------------------


def _forwarding(world: World, node: NodeView) -> Iterator[Cause]:
    bridge = world.cluster.cni.bridge
    word = next(iter(node.told["oracle"].values()), "")
    said = [f"the kernel's word on a packet from a pod: {word}"] if word else []
    off = node.sysctl("net/ipv4/ip_forward") == "0"
    if off and 4 in world.cluster.versions:
        yield cause(
            "ip_forward_off", "sysctl net/ipv4/ip_forward", node.name,
            keys=frozenset([*map(node.key, node.planned("Sysctl")), f"{node.name} forwarding {bridge}"]),
            pairs=world.far(node.name), evidence=["expected: net.ipv4.ip_forward = 1", "found: 0", *said],
            fix=sysctl("net/ipv4/ip_forward", "1"), verb=_SITE,
        )  # fmt: skip
    for device in (bridge, *(link["name"] for link in node.view.vteps())):
        key = f"net/ipv4/conf/{device}/forwarding"
        if node.sysctl(key) == "0" and not off:
            yield cause(
                "device_forwarding_off", f"sysctl {key}", node.name, device,
                keys=frozenset({f"{node.name} forwarding {device}"}), pairs=world.far(node.name),
                evidence=[f"expected: {key} = 1", "found: 0", *said], fix=sysctl(key, "1"),
            )  # fmt: skip
    for device in ("all", bridge):
        key = f"net/ipv4/conf/{device}/arp_ignore"
        if node.sysctl(key) not in ("", "0"):
            yield cause(
                "arp_ignored", f"sysctl {key}", node.name, device,
                keys=frozenset({f"{node.name} arp_ignore {device}"}),
                pairs=world.far(node.name) | world.local(node.name),
                evidence=[f"expected: {key} = 0", f"found: {node.sysctl(key)}"], fix=sysctl(key, "0"),
            )  # fmt: skip


def _rules(world: World, node: NodeView) -> Iterator[Cause]:
    """Policy rules that take pods' packets off the main table."""
    for rule in node.namespace["rules"]:
        if rule["priority"] in (0, 32766, 32767) or rule["action"] == "lookup":
            continue
        pods = [pod for pod in world.pods_of(node.name) if _meets(rule, world.ips.get(pod, []))]
        words = []
        for key in ("from", "to"):
            if key in rule:
                host = 32 if rule["family"] == 4 else 128
                words.append(
                    f"{key} {rule[key].removesuffix(f'/{host}') if hasattr(str, 'removesuffix') else rule[key]}"
                )
        told = " ".join([*words, rule["action"]])
        yield cause(
            "policy_rule", f"rule {rule['priority']}: {told}", node.name,
            keys=frozenset({f"{node.name} rule {rule['priority']}"}),
            pairs=frozenset(p for pod in pods for p in world.of(pod)),
            evidence=["expected: the rules 0, 32766 and 32767", f"found: {rule['priority']}: {told}"],
            fix=f"ip {'-6 ' if rule['family'] == 6 else ''}rule del pref {rule['priority']}",
        )  # fmt: skip


def _meets(rule: Row, ips: List[str]) -> bool:
    for key in ("from", "to"):
        if key in rule:
            network = ip_network(rule[key], strict=False)
            if any(ip_address(ip).version == network.version and ip_address(ip) in network for ip in ips):
                return True
    return "from" not in rule and "to" not in rule
