"""What is held and used: leases of addresses, namespaces and ports, and who is gone or there twice."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Iterator, List, Mapping, Tuple

from ...model.command import Command, command
from ..cause import Cause
from ..evidence import World
from ..titles import cause, quiet
from ..views import NodeView

_DATA_DIR = "/var/lib/cni/networks"
#: Address, and [container id, interface] for which it is allocated.
_Lease = Tuple[str, List[str]]


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes."""
    for node in world.nodes.values():
        yield from _leases(world, node)
        yield from _missing(node)
        yield from _orphans(world, node)
        yield from _servers(world, node)


def _leases(world: World, node: NodeView) -> Iterator[Cause]:
    """Leases of nobody."""
    used = {address["address"] for sandbox in node.snapshot["sandboxes"].values()
            for address in sandbox["namespace"]["addresses"]}  # fmt: skip
    used.update(ip for pod in world.pods_of(node.name) for ip in world.ips.get(pod, ()))  # or should be
    known = {(attachment["container"], attachment["ifname"]) for attachment in node.snapshot["attachments"]}
    containers = {sandbox["container"] for sandbox in node.snapshot["sandboxes"].values()}
    for network, leases in node.snapshot["reservations"].items():
        surplus = [(ip, claim) for ip, claim in leases.items() if ip not in used and tuple(claim) not in known]
        if surplus and _is_full(world, node, leases):
            yield _exhausted(node, network, surplus, len(leases))
            continue
        for ip, claim in surplus:
            path = _path(node, network, ip)
            owner = f"container {claim[0][:12]}" if claim[0] else "nobody: the file is empty"
            gone = ", which is gone" if claim[0] and claim[0] not in containers else ""
            evidence = [
                "expected: every lease belongs to a running pod",
                f"found: {ip} is allocated to {owner}{gone}",
            ]
            id, key = "ipam_leak" if claim[0] else "ipam_empty_lease", f"reservation {network} {ip}"
            yield quiet(id, f"file {path}", node.name, key, evidence, [command("rm {}", path)])


def _missing(node: NodeView) -> Iterator[Cause]:
    """Running pods without the lease that their network gave them: the next ADD may give the address again."""
    spaces = {pod.netns: pod for pod in node.pods.values()}
    for attachment in node.snapshot["attachments"]:
        pod, leases = spaces.get(attachment["netns"]), node.snapshot["reservations"].get(attachment["network"])
        addresses = {row["address"] for row in pod.namespace["addresses"]} if pod else set()
        for ip in attachment["ips"] if pod and leases is not None else ():
            if ip not in addresses or (leases and ip in leases):
                continue
            path = _path(node, attachment["network"], ip)
            claim = ("printf", "%s\\r\\n%s", attachment["container"], attachment["ifname"])
            fix = [Command(claim, output=path), command("chmod 600 {}", path)]
            evidence = [
                f"expected: {ip} is allocated to container {attachment['container'][:12]}",
                "found: no such file",
            ]
            key = f"reservation {attachment['network']} {ip}"
            yield quiet("ipam_lease_missing", f"file {path}", node.name, key, evidence, fix)


def _path(node: NodeView, network: str, ip: str) -> str:
    return f"{_directory(node, network)}/{ip.replace(':', '_')}"


def _directory(node: NodeView, network: str) -> str:
    """Where a network's leases are."""
    ipams = (
        plugin.get("ipam") for conflist in node.snapshot["conflists"] if conflist["name"] == network
        for plugin in conflist["plugins"] if isinstance(plugin, dict)
    )  # fmt: skip
    configured = (str(ipam["dataDir"]) for ipam in ipams if isinstance(ipam, dict) and ipam.get("dataDir"))
    return f"{next(configured, _DATA_DIR)}/{network}"


def _is_full(world: World, node: NodeView, leases: Mapping[str, List[str]]) -> bool:
    counts = [(block, sum(ip_address(ip) in block for ip in leases)) for block in world.blocks(node.name)]
    return any(count and count >= block.num_addresses - 3 for block, count in counts)


def _exhausted(node: NodeView, network: str, surplus: List[_Lease], count: int) -> Cause:
    ips = [ip for ip, _ in sorted(surplus, key=lambda lease: ip_address(lease[0]))]
    return cause(
        "ipam_exhausted", f"file {_directory(node, network)}/", node.name,
        keys=frozenset(f"{node.name} reservation {network} {ip}" for ip in ips),
        evidence=["expected: free addresses for new pods",
                  f"found: {count} leases, the whole pod CIDR, {len(ips)} of them for no attached interface"],
        fix=[command("rm", more=[_path(node, network, ip) for ip in ips])], quiet=True,
    )  # fmt: skip


def _orphans(world: World, node: NodeView) -> Iterator[Cause]:
    """Namespaces that only a process holds, with an address of the pods."""
    for name, sandbox in node.snapshot["sandboxes"].items():
        if name in world.home or sandbox["known_by"] != "process":
            continue
        ips = [
            address["address"] for address in sandbox["namespace"]["addresses"]
            if (home := world.block_of(ip_address(address["address"]))) is not None and home.name == node.name
        ]  # fmt: skip
        pids = sandbox["pids"]
        if ips and pids:
            yield quiet(
                "orphan_namespace", f"process {name}", node.name, f"namespace {sandbox['inode']}",
                ["expected: every address of the pod CIDR is a pod's",
                 f"found: {', '.join(ips)} in a namespace without a name",
                 f"process {' '.join(map(str, pids))} keeps it (net:[{sandbox['inode']}])",
                 *(f"{ip} answers ARP" for ip in ips if ip in node.observations["strangers"])],
                [command("kill", more=pids)],
            )  # fmt: skip


def _servers(world: World, node: NodeView) -> Iterator[Cause]:
    """hostNetwork pods share the node's ports with all its processes."""
    ports = {pod.name: pod.port for pod in world.cluster.pods if pod.host_network}
    for name in node.observations["absent"]:
        if name not in ports:
            continue
        listener = node.evidence["listeners"].get(str(ports[name]))
        found = f"process {listener[0]}: {listener[1]}" if listener else "no process does"
        yield cause(
            "host_port_clash" if listener else "server_down", f"server of pod {name} on port {ports[name]}", node.name,
            keys=frozenset({f"{node.name} server {name}"}), pairs=world.of(name),
            evidence=[f"expected: the server of pod {name} listens on port {ports[name]}", f"found: {found}"],
            fix=[command("kill {}", listener[0])] if listener else [], verb="./run site", quiet=True,
        )  # fmt: skip
