"""Intent for nodes where nobody declared it: a plan from what most nodes have, and pods' addresses from what runtimes
recorded. Pure."""

from __future__ import annotations

from typing import Dict, Iterator, List, Mapping, Sequence

from ..intent.cluster import Cluster, Node
from ..intent.projection import SUBNET_ENV
from ..model.objects import File
from ..observe.records import SandboxRow, Snapshot
from ..observe.view import View
from ..plan import ADD, CHANGE, Operation
from ..prove.discovery import Discovered, DiscoveredPod
from .mesh_inference import Mesh, forwarding
from .operations import OperationRow, to_row
from .records import Evidence


def plans(cluster: Cluster, evidence: Mapping[str, Evidence]) -> Dict[str, List[OperationRow]]:
    """What every node would need to be as most nodes are."""
    snapshots = {name: node["observations"]["snapshot"] for name, node in evidence.items()}
    mesh = Mesh(cluster, {name: View(snapshot["namespace"]) for name, snapshot in snapshots.items()})
    rows: Dict[str, List[OperationRow]] = {}
    for name, snapshot in snapshots.items():
        others = [other["subnet_env"] for node, other in snapshots.items() if node != name]
        lease = _lease(cluster.node(name), snapshot["subnet_env"], others)
        operations = (*forwarding(snapshot["namespace"]["sysctls"]), *mesh.wanted(name), *lease)
        rows[name] = list(map(to_row, operations))
    return rows


def recorded(discovered: Mapping[str, Discovered]) -> Dict[str, Discovered]:
    """What ``discovery.find`` gave, with the addresses that runtimes recorded for pods (libcni's cache, host-local's
    leases) in place of those that they have now."""
    corrected: Dict[str, Discovered] = {}
    for node, state in discovered.items():
        snapshot = state["snapshot"]
        by_netns, by_owner = _recorded_addresses(snapshot)
        pods = dict(state["pods"])
        names = {pod["netns"]: name for name, pod in pods.items()}
        for name, sandbox in {**snapshot["unattached"], **snapshot["sandboxes"]}.items():
            addresses = by_netns.get(sandbox["netns"]) or by_owner.get(sandbox["container"] or "-")
            if addresses:
                key = names.get(sandbox["netns"], f"{node}/{name}")
                known: DiscoveredPod = pods.get(key, {"netns": "", "addresses": [], "port": 0})
                pods[key] = {"netns": sandbox["netns"], "addresses": addresses, "port": known["port"]}
            elif sandbox["known_by"] == "process" and (by_netns or by_owner):
                pods.pop(names.get(sandbox["netns"], ""), None)  # no runtime of this node knows it: no pod
        corrected[node] = {**state, "pods": pods}
    return corrected


def _recorded_addresses(snapshot: Snapshot) -> tuple[Dict[str, List[str]], Dict[str, List[str]]]:
    """The addresses of a namespace by its path, and of a container by its id."""
    by_netns = {
        attachment["netns"]: attachment["ips"]
        for attachment in snapshot["attachments"]
        if attachment["netns"] and attachment["ips"]
    }
    by_owner: Dict[str, List[str]] = {}
    for leases in snapshot["reservations"].values():
        for ip, claim in leases.items():
            by_owner.setdefault(claim[0], []).append(ip)
    return by_netns or _by_lease(snapshot), by_owner


def _by_lease(snapshot: Snapshot) -> Dict[str, List[str]]:
    """Path of a namespace -> its addresses, by leases alone, which name containers that nothing leads from.

    Of two that hold an address it is given to the one that has no other. A single address that nobody holds is of the
    single namespace that should have one: a port of the bridge that has none of those that are leased, or one that
    has a name and a process, and no device at all.
    """
    leased = {ip for leases in snapshot["reservations"].values() for ip in leases}
    held = {
        sandbox["netns"]: [it["address"] for it in sandbox["namespace"]["addresses"] if it["address"] in leased]
        for sandbox in snapshot["sandboxes"].values() if sandbox["known_by"] == "mount"
    }  # fmt: skip
    given = {netns: ips for netns, ips in held.items() if len(ips) == 1}
    unique = {ips[0] for ips in given.values()}
    for netns, ips in held.items():
        if len(ips) > 1:
            given[netns] = [ip for ip in ips if ip not in unique]
    lost = sorted(leased - {ip for ips in held.values() for ip in ips})
    strays = _strays(snapshot, held)
    if len(lost) == len(strays) == 1:
        given[strays[0]] = lost
    return given


def _strays(snapshot: Snapshot, held: Mapping[str, Sequence[str]]) -> List[str]:
    """Paths of namespaces that should have a leased address and have none."""
    masters = {link["link_netnsid"]: link["master"] for link in snapshot["namespace"]["links"]
               if "link_netnsid" in link and "master" in link}  # fmt: skip

    def master(sandbox: SandboxRow) -> str:
        return masters.get(sandbox["nsid"], "") if sandbox["nsid"] is not None else ""

    sandboxes = list(snapshot["sandboxes"].values())
    bridges = {master(sandbox) for sandbox in sandboxes if held.get(sandbox["netns"])} - {""}
    strays = [sandbox["netns"] for sandbox in sandboxes
              if sandbox["netns"] in held and not held[sandbox["netns"]] and master(sandbox) in bridges]  # fmt: skip
    return strays + [sandbox["netns"] for sandbox in snapshot["unattached"].values()]


def _lease(node: Node, current: Mapping[str, str], others: Sequence[Mapping[str, str]]) -> Iterator[Operation]:
    """flannel's file, where other nodes have one: theirs with this node's pod CIDR."""
    models = [other for other in others if other.get("FLANNEL_SUBNET")]
    block = next((pod_cidr for pod_cidr in node.pod_cidrs if pod_cidr.version == 4), None)
    if not models or block is None:
        return
    subnet = f"{block[1]}/{block.prefixlen}"
    if current.get("FLANNEL_SUBNET") != subnet:
        content = "".join(f"{key}={value}\n" for key, value in {**models[0], "FLANNEL_SUBNET": subnet}.items())
        yield Operation(
            CHANGE if current else ADD, File(SUBNET_ENV, content), File(SUBNET_ENV, "") if current else None
        )
