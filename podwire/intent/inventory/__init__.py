"""Read an inventory: variables per host in, a valid Cluster out, or every problem at once.

docs/INVENTORY.md describes the variables. One file here reads one part of them: ``settings`` (the
cluster), ``underlay``, ``nodes`` (one host), ``pods``, ``user_checks``, ``faults``; ``addressing`` and
``podwire.intent.leases`` give what is not declared; ``checks`` combines. ``field`` reads single values and
collects problems.
"""

from __future__ import annotations

from typing import Any, Collection, Dict, List, Mapping, Optional, Sequence, Tuple

from ...errors import IntentError
from ...model.objects import IPNetwork
from ..cluster import Cluster, Node, Port, Router, Underlay
from ..ids import cluster_id
from ..leases import Record, lease, record_of
from .addressing import place
from .checks import check
from .faults import Catalogue, read_faults
from .field import ALL, Field, Problems
from .nodes import Known, NodeIntent, read_node
from .pods import DEFAULT_COUNT, DISCOVER, read_pods
from .settings import Settings, read_settings, shared
from .user_checks import read_checks

__all__ = ["Record", "cluster_id", "read", "record_of"]


def read(
    hosts: Mapping[str, Mapping[str, Any]],
    *,
    source: str,
    record: Optional[Record] = None,
    origins: Optional[Mapping[Tuple[str, str], str]] = None,
    facts: Optional[Mapping[str, Mapping[str, Any]]] = None,
    faults: Optional[Catalogue] = None,
    lost: Collection[str] = (),
) -> Cluster:
    """Make a Cluster out of the hosts' variables.

    hosts:   variables (plain values) by inventory hostname, in the inventory's order.
    source:  path of the inventory.
    record:  what an earlier run gave; see ``record_of``.
    origins: where a host's variable is written, for messages: (host, variable) -> "file:line".
    facts:   what SSH nodes reported of themselves (stages/facts.py), by host; others keep what was found before.
    faults:  the known names and what each takes (podwire.faults is a layer above); None: any.
    lost:    hosts that this run tried in vain to reach.

    Raises IntentError with all problems.
    """
    if not hosts:
        raise IntentError([f"failed to read inventory {source}: it has no hosts; add one a node, e.g. node-1"])
    record = record or Record()
    problems = Problems(hosts, origins or {})
    fields = shared(hosts, problems)
    settings = read_settings(fields, problems, source)
    known = {name: Known((facts or {}).get(name), record.external.get(name), lost=name in lost) for name in hosts}
    intents = [read_node(name, variables, settings, problems, known[name]) for name, variables in hosts.items()]
    ports, routers = place(intents, settings.segments, settings.routers, record, problems)
    reserved = {**{router.name: "router" for router in routers}, **{intent.name: "node" for intent in intents}}
    for router in routers:
        if reserved[router.name] == "node":
            problems.add(ALL, f"underlay.routers.{router.name}", None, "the name of a node", "rename one of them")
    declared = settings.pods or Field(problems, ALL, "pods", DEFAULT_COUNT)
    pods = read_pods(declared, intents, reserved, record.pods)
    blocks = _leases(settings, intents, record, problems)
    discovered = declared.value == DISCOVER
    nodes = tuple(_node(intent, ports.get(intent.name, ()), blocks) for intent in intents)
    cluster = Cluster(
        id=cluster_id(source),
        cluster_cidrs=tuple(settings.cluster_cidrs),
        service_cidrs=tuple(settings.service_cidrs),
        node_prefix_lengths=tuple(settings.node_prefix_lengths),
        backend=settings.backend,
        cni=settings.cni,
        masquerade=settings.masquerade,
        nodes=nodes,
        pods=pods,
        underlay=_underlay(settings, routers, intents),
        checks=read_checks(settings.checks, pods, nodes, known=not discovered),
        discovered=discovered,
        faults=read_faults(fields.get("faults"), nodes, pods, faults),
    )
    check(cluster, intents, fields, problems)
    listed = list(problems)
    if listed:
        raise IntentError(listed)
    return cluster


def _underlay(settings: Settings, routers: Tuple[Router, ...], intents: Sequence[NodeIntent]) -> Underlay:
    if not any(intent.segments for intent in intents):
        return Underlay()
    return Underlay(tuple(settings.segments), routers)


def _leases(
    settings: Settings, intents: Sequence[NodeIntent], record: Record, problems: Problems
) -> List[Dict[str, IPNetwork]]:
    """Blocks by node, for each cluster CIDR."""
    names = [intent.name for intent in intents]
    families = []
    for i, (cidr, length) in enumerate(zip(settings.cluster_cidrs, settings.node_prefix_lengths)):
        explicit: Dict[str, IPNetwork] = {}
        ordered: List[Tuple[IPNetwork, str]] = []
        for intent in intents:
            if cidr.version in intent.pod_cidrs:
                ordered.append((intent.pod_cidrs[cidr.version][1], intent.name))
        by_name = {intent.name: intent for intent in intents}
        widest: Optional[Tuple[IPNetwork, str]] = None
        for block, name in sorted(ordered, key=lambda entry: (int(entry[0].network_address), entry[0].prefixlen)):
            if widest is not None and block.overlaps(widest[0]):
                cause = f"overlaps {widest[0]} of {widest[1]}"
                by_name[name].pod_cidrs[cidr.version][0].fail(cause, "give each node a pod CIDR of its own")
                continue
            widest = (block, name)
            explicit[name] = block
        given = lease(cidr, length, names, explicit, record)
        if len(given) < len(names) and problems.sound("node_pod_cidrs", "cluster_cidrs", "node_prefix_length"):
            room, wanted = 2 ** (length - cidr.prefixlen), len(names)
            cause = f"room for {room} pod CIDRs of /{length}, and {wanted} nodes want one"
            right = f"write a shorter prefix, or a longer node_prefix_length than {length}"
            problems.add(ALL, f"cluster_cidrs[{i}]", str(cidr), cause, right)
        families.append(given)
    return families


def _node(intent: NodeIntent, ports: Tuple[Port, ...], blocks: Sequence[Mapping[str, IPNetwork]]) -> Node:
    addresses = ports[0].addresses if ports else intent.addresses
    declared = intent.public_ips
    return Node(
        name=intent.name,
        kind=intent.kind,
        interface=intent.interface,
        addresses=addresses,
        public_ips=tuple(
            declared[address.version][1] if address.version in declared else address.ip for address in addresses
        ),
        pod_cidrs=tuple(block[intent.name] for block in blocks if intent.name in block),
        mtu=intent.mtu,
        ports=ports,
    )
