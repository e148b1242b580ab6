"""IP allocations against running pods, and address ranges against each other, as the nodes have them. Pure."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from typing import Any, Dict, Iterator, List, Mapping, Sequence, Set, Tuple

from ..intent.cluster import Cluster
from ..model.objects import IPNetwork
from ..observe.records import Snapshot
from . import expect
from .guarantee import Failure, Guarantee, guarantee
from .observations import Observations

_IPAM = ("host-local", "podwire")


def leases(
    cluster: Cluster, addresses: expect.Addresses, reports: Mapping[str, Observations], nodes: Sequence[str]
) -> Guarantee:
    """Every lease has a running owner, and every pod of a network with leases has its lease."""
    ran = not_run = 0
    failures: List[Failure] = []
    has_leases = False
    for node in nodes:
        pods = [pod.name for pod in cluster.pods_of(node) if not pod.host_network]
        if node not in reports or "snapshot" not in reports[node]:
            not_run += len(pods)
            continue
        snapshot = reports[node]["snapshot"]
        # Pods of other runtimes need not belong to the configured network.
        if not (any(snapshot["reservations"].values()) if cluster.discovered else reserves(snapshot)):
            continue
        has_leases = True
        allocated = {
            _plain(ip): claim for network in snapshot["reservations"].values() for ip, claim in network.items()
        }
        in_use, containers = _running(snapshot)
        for ip, claim in allocated.items():
            ran += 1
            container = claim[0]
            if not container:
                failures.append(Failure(node, ip, "", "empty lease", "has an empty lease file"))
            elif ip not in in_use:
                sandbox = containers.get(container, "")
                holder = (
                    f"{sandbox}, which does not have it" if sandbox else f"container {container[:12]}, which is gone"
                )
                failures.append(Failure(node, ip, "", "leaked", f"is allocated to {holder}"))
            elif container in containers and in_use[ip] != containers[container]:
                reason = f"is allocated to {containers[container]}, but {in_use[ip]} has it"
                failures.append(Failure(node, ip, "", "another owner", reason))
        for pod in pods:
            for text in addresses.get(pod, ()):
                ran += 1
                ip = _plain(text.partition("/")[0])
                if ip not in allocated:
                    failures.append(
                        Failure(node, pod, ip, "no lease", "its address is not allocated, so another pod can get it")
                    )
    notes = () if has_leases or not_run else ("no network on these nodes uses host-local's lease files",)
    title = "IP allocations match running pods"
    return guarantee("leases", title, "checks", ran, failures, not_run, notes)


def reserves(snapshot: Snapshot) -> bool:
    """Whether a node's networks have leases in host-local's format."""
    if snapshot["reservations"]:
        return True
    return any(ipam.get("type") in _IPAM for _, ipam in _ipams(snapshot))


def _ipams(snapshot: Snapshot) -> Iterator[Tuple[str, Mapping[str, Any]]]:
    for conflist in snapshot["conflists"]:
        for plugin in conflist["plugins"]:
            ipam = plugin.get("ipam") if isinstance(plugin, dict) else None
            if isinstance(ipam, dict):
                yield conflist["file"], ipam


def _running(snapshot: Snapshot) -> Tuple[Dict[str, str], Dict[str, str]]:
    """Address -> sandbox that has it on a device, and container id -> sandbox."""
    in_use: Dict[str, str] = {}
    containers: Dict[str, str] = {}
    for name, sandbox in snapshot["sandboxes"].items():
        for address in sandbox["namespace"]["addresses"]:
            in_use[address["address"]] = name
        if sandbox["container"]:
            containers[sandbox["container"]] = name
    return in_use, containers


def _plain(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        return text


def ranges(cluster: Cluster, reports: Mapping[str, Observations], nodes: Sequence[str]) -> Guarantee:
    """Pod, service and node ranges are disjoint, and so are the nodes' pod CIDRs, as the nodes have them."""
    ran = 0
    failures: List[Failure] = []
    snapshots = {name: observed["snapshot"] for name, observed in reports.items() if "snapshot" in observed}
    blocks = {name: dict(blocks_of(snapshot)) for name, snapshot in snapshots.items()}
    declared = [("the pod range", cidr) for cidr in cluster.cluster_cidrs]
    declared += [("the Service range", cidr) for cidr in cluster.service_cidrs]
    for node in nodes:
        if node not in snapshots:
            continue
        for network, device in _networks(snapshots[node], cluster):
            ran += 1
            for what, cidr in declared:
                if _overlap(network, cidr):
                    reason = f"the network of {device} overlaps {what} {cidr}"
                    failures.append(Failure(node, str(network), "", "overlap", reason))
                    break
        for network, file in blocks[node].items():
            ran += 1
            clash = next(
                (
                    (other, cidr_of_other)
                    for other, cidrs in blocks.items()
                    if other != node
                    for cidr_of_other in cidrs
                    if _overlap(network, cidr_of_other)
                ),
                None,
            )
            pod_cidr = cluster.node(node).pod_cidr(network.version)
            if clash is not None:
                reason = f"the pod CIDR in {file} overlaps {clash[1]} of {clash[0]}"
                failures.append(Failure(node, str(network), "", "two owners", reason))
            elif pod_cidr is not None and not network.subnet_of(pod_cidr):  # type: ignore[arg-type]
                failures.append(
                    Failure(node, str(network), "", "foreign range", f"{file} is outside its pod CIDR {pod_cidr}")
                )
    missing = sum(node not in snapshots for node in nodes)
    return guarantee("ranges", "pod, service and node ranges are disjoint", "ranges", ran, failures, missing)


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    return one.version == other.version and one.overlaps(other)


def pod_devices(snapshot: Snapshot) -> Set[str]:
    """Devices of the pod network itself: VTEPs, veths into sandboxes, bridges with one of them as a port."""
    links = snapshot["namespace"]["links"]
    devices = {link["name"] for link in links if "vxlan" in link}
    numbers = {sandbox["nsid"] for sandbox in snapshot["sandboxes"].values()}
    ports = [link for link in links if link.get("link_netnsid") in numbers and link["kind"] == "veth"]
    devices.update(link["name"] for link in ports if "master" in link or link["name"][:4] == "veth")
    devices.update(link["master"] for link in ports if "master" in link)
    for conflist in snapshot["conflists"]:
        devices.update(str(p["bridge"]) for p in conflist["plugins"] if isinstance(p, dict) and p.get("bridge"))
    return devices


def _networks(snapshot: Snapshot, cluster: Cluster) -> Iterator[Tuple[IPNetwork, str]]:
    """A node's own networks, and their devices."""
    pod_network_devices = pod_devices(snapshot) | {cluster.cni.bridge}
    routed = {route["device"] for route in snapshot["namespace"]["routes"] if route.get("scope") == "host"}
    for address in snapshot["namespace"]["addresses"]:
        ip = ip_address(address["address"])
        if (
            ip.is_loopback
            or ip.is_link_local
            or address["device"] in pod_network_devices
            or address["device"] in routed
        ):
            continue
        yield ip_network((address["address"], address["prefix"]), strict=False), address["device"]


def blocks_of(snapshot: Snapshot) -> Iterator[Tuple[IPNetwork, str]]:
    """The pod CIDRs of a node, and the files that they are from."""
    for file, ipam in _ipams(snapshot):
        sets = ipam.get("ranges") or [[ipam]]
        for range_set in sets if isinstance(sets, list) else ():
            for ip_range in range_set if isinstance(range_set, list) else ():
                if isinstance(ip_range, dict) and ip_range.get("subnet"):
                    try:
                        yield ip_network(ip_range["subnet"], strict=False), file
                    except ValueError:
                        continue
    for key in ("FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"):
        text = snapshot["subnet_env"].get(key)
        if text:
            try:
                yield ip_interface(text).network, "subnet.env"
            except ValueError:
                continue
