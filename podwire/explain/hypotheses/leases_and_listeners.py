"""What is held and used: reservations of addresses, namespaces and ports, and who is gone or there twice."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Iterator, List, Mapping, Tuple

from ...model.command import Command, command
from ..cause import Cause
from ..evidence import NodeView, World
from ..titles import cause, quiet

_DATA_DIR = "/var/lib/cni/networks"


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes."""
    for node in world.nodes.values():
        yield from _reservations(world, node)
        yield from _unreserved(node)
        yield from _orphans(world, node)
        yield from _servers(world, node)


def _reservations(world: World, node: NodeView) -> Iterator[Cause]:
    alive = {
        address["address"]: name
        for name, sandbox in node.snapshot["sandboxes"].items() for address in sandbox["namespace"]["addresses"]
    }  # fmt: skip
    alive.update((ip, pod) for pod in world.pods_of(node.name) for ip in world.ips.get(pod, ()))  # or should be
    known = {(attachment["container"], attachment["ifname"]) for attachment in node.snapshot["attachments"]}
    containers = {each["container"] for each in node.snapshot["sandboxes"].values()}
    for network, held in node.snapshot["reservations"].items():
        surplus = [(ip, claim) for ip, claim in held.items() if ip not in alive and tuple(claim) not in known]
        if surplus and _is_full(world, node, held):
            yield _exhausted(node, network, surplus, len(held))
            continue
        for ip, claim in surplus:
            path = f"{_directory(node, network)}/{ip.replace(':', '_')}"
            who = f"container {claim[0][:12]}" if claim[0] else "nobody: the file is empty"
            gone = ", which is gone" if claim[0] and claim[0] not in containers else ""
            evidence = [
                "expected: every lease belongs to a running pod",
                f"found: {ip} is allocated to {who}{gone}",
            ]
            id = "ipam_leak" if claim[0] else "ipam_empty_lease"
            yield quiet(
                id, f"file {path}", node.name, f"reservation {network} {ip}", evidence, [command("rm {}", path)]
            )


def _unreserved(node: NodeView) -> Iterator[Cause]:
    """Pods that live without the reservation that their network gave them: the next ADD may give it again."""
    spaces = {pod.netns: pod for pod in node.pods.values()}
    for attachment in node.snapshot["attachments"]:
        pod, held = spaces.get(attachment["netns"]), node.snapshot["reservations"].get(attachment["network"])
        has = {it["address"] for it in pod.namespace["addresses"]} if pod else set()
        for ip in attachment["ips"] if pod and held is not None else ():
            if ip not in has or ip in held:
                continue
            path = f"{_directory(node, attachment['network'])}/{ip.replace(':', '_')}"
            claim = ("printf", "%s\\r\\n%s", attachment["container"], attachment["ifname"])
            again = [Command(claim, output=path), command("chmod 600 {}", path)]
            evidence = [
                f"expected: {ip} is allocated to container {attachment['container'][:12]}",
                "found: no such file",
            ]
            key = f"reservation {attachment['network']} {ip}"
            yield quiet("ipam_lease_missing", f"file {path}", node.name, key, evidence, again)


def _directory(node: NodeView, network: str) -> str:
    """Where a network's reservations are."""
    ipams = (
        plugin.get("ipam") for conflist in node.snapshot["conflists"] if conflist["name"] == network
        for plugin in conflist["plugins"] if isinstance(plugin, dict)
    )  # fmt: skip
    own = next((ipam["dataDir"] for ipam in ipams if isinstance(ipam, dict) and ipam.get("dataDir")), _DATA_DIR)
    return f"{own}/{network}"


def _is_full(world: World, node: NodeView, held: Mapping[str, Any]) -> bool:
    blocks = [b for b in world.blocks(node.name) if any(ip_address(ip) in b for ip in held)]
    return any(sum(ip_address(ip) in b for ip in held) >= b.num_addresses - 3 for b in blocks)


def _exhausted(node: NodeView, network: str, surplus: List[Tuple[str, Any]], count: int) -> Cause:
    directory = _directory(node, network)
    surplus = sorted(surplus, key=lambda each: ip_address(each[0]))
    files = [f"{directory}/{ip.replace(':', '_')}" for ip, _ in surplus]
    return cause(
        "ipam_exhausted", f"file {directory}/", node.name,
        keys=frozenset(f"{node.name} reservation {network} {ip}" for ip, _ in surplus),
        evidence=["expected: free addresses for new pods",
                  f"found: {count} leases, the whole pod CIDR, {len(surplus)} of them for no attached interface"],
        fix=[command("rm", more=files)], quiet=True,
    )  # fmt: skip


def _orphans(world: World, node: NodeView) -> Iterator[Cause]:
    """Namespaces that only a process holds, with an address of the pods."""
    declared = set(world.home)
    for name, sandbox in node.snapshot["sandboxes"].items():
        if name in declared or sandbox["known_by"] != "process":
            continue
        ips = [
            address["address"] for address in sandbox["namespace"]["addresses"]
            if (home := world.block_of(address["address"])) is not None and home.name == node.name
        ]  # fmt: skip
        if ips and sandbox["pids"]:
            pids = sandbox["pids"]
            answering = node.told["observations"]["strangers"]
            yield quiet(
                "orphan_namespace", f"process {name}", node.name, f"namespace {sandbox['inode']}",
                ["expected: every address of the block is a pod's",
                 f"found: {', '.join(ips)} in a namespace without a name",
                 f"process {' '.join(map(str, pids))} keeps it (net:[{sandbox['inode']}])",
                 *(f"{ip} answers ARP" for ip in ips if ip in answering)],
                [command("kill", more=pids)],
            )  # fmt: skip


def _servers(world: World, node: NodeView) -> Iterator[Cause]:
    """hostNetwork pods share the node's ports with everybody."""
    for name in node.told["observations"]["absent"]:
        if name not in world.host_pods:
            continue
        port = next(pod.port for pod in world.cluster.pods if pod.name == name)
        listener = node.told["listeners"].get(str(port))
        evidence = [f"expected: the server of pod {name} listens on port {port}"]
        if listener:
            evidence.append(f"found: process {listener[0]}: {listener[1]}")
        yield cause(
            "host_port_clash" if listener else "server_down", f"server of pod {name} on port {port}", node.name,
            keys=frozenset({f"{node.name} server {name}"}), pairs=world.of(name),
            evidence=evidence if listener else [*evidence, "found: no process does"],
            fix=[command("kill {}", listener[0])] if listener else [], verb="./run site", quiet=True,
        )  # fmt: skip
