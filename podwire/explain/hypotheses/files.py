"""What an ADD needs: lists, plugins, leases, reservations; and what outlives its pod. No pair need suffer yet."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from ipaddress import ip_address
from typing import Any, Iterator, List, Mapping, Tuple

from ..cause import Cause
from ..commands import joined, written
from ..evidence import NodeView, World
from ..titles import cause

_CONF_DIR = "/etc/cni/net.d"
_DATA_DIR = "/var/lib/cni/networks"
#: Podwire's own plugins on nodes of others, where no runtime looks.
_STAND_IN = "/opt/podwire/cni"
#: Where Debian's package has the reference plugins.
_DEBIAN = "/usr/lib/cni/"
#: Versions of the specification that there have been.
_VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")


def hypotheses(world: World) -> Iterator[Cause]:
    """Candidates of all nodes."""
    for node in world.nodes.values():
        if world.pods_of(node.name):
            yield from _lists(world, node)
        yield from _plugins(world, node)
        yield from _lease(world, node)
        yield from _reservations(world, node)
        yield from _unreserved(node)
        yield from _orphans(world, node)
        yield from _servers(world, node)


def _quiet(id: str, object: str, node: NodeView, key: str, evidence: List[str], fix: str, verb: str = "") -> Cause:
    keys = frozenset({f"{node.name} {key}"})
    return cause(id, object, node.name, keys=keys, evidence=evidence, fix=fix, verb=verb, quiet=True)


def _lists(world: World, node: NodeView) -> Iterator[Cause]:
    lists = node.snapshot["conflists"]
    expected = node.told.get("list") or _as_others(world, node)
    if not expected:
        return
    path, content = expected
    mine = next((each for each in lists if f"{_CONF_DIR}/{each['file']}" == path), None)
    again = written(path, content)
    if mine is None:
        found = [f"found: {', '.join(each['file'] for each in lists) or 'nothing'} in {_CONF_DIR}"]
        yield _quiet(
            "cni_conf_missing", f"file {path}", node, "list", [f"expected: {path}", *found], again, "./run site"
        )
        return
    if "error" in mine:
        evidence = ["expected: a network configuration list", f"found: {mine['error']}"]
        yield _quiet("cni_conf_malformed", f"file {path}", node, "list", evidence, again, "./run site")
    elif mine["version"] is None:
        evidence = ["expected: a cniVersion", "found: none, which counts as 0.1.0"]
        yield _quiet("cni_version_missing", f"file {path}", node, "list", evidence, again, "./run site")
    elif mine["version"] not in _VERSIONS:
        evidence = [f"expected: one of {', '.join(_VERSIONS[2:])}", f"found: {mine['version']}"]
        yield _quiet("cni_version_unsupported", f"file {path}", node, "list", evidence, again, "./run site")
    for each in lists:
        if each["file"] < mine["file"]:
            first = f"{_CONF_DIR}/{each['file']}"
            evidence = [
                f"expected: {mine['file']} is the first list",
                f"found: {each['file']}, of network {each['name']!r}",
            ]
            yield _quiet(
                "cni_conf_shadowed", f"file {first}", node, f"list {first}", evidence, f"rm {shlex.quote(first)}"
            )


def _as_others(world: World, node: NodeView) -> List[str]:
    """Where nobody declared a list: the one that most nodes read first, with this node's blocks for theirs."""
    first = {
        each.name: each.snapshot["conflists"][0]
        for each in world.nodes.values()
        if each.snapshot["conflists"] and each.snapshot["conflists"][0]["plugins"]
    }
    if not first.keys() - {node.name}:
        return []
    file = Counter(each["file"] for each in first.values()).most_common(1)[0][0]
    other = next((name for name, each in first.items() if each["file"] == file and name != node.name), node.name)
    model = first[other]
    head = {"cniVersion": model["version"], "name": model["name"]}
    data = {**head, **({"plugins": model["plugins"]} if file.endswith(".conflist") else model["plugins"][0])}
    text = json.dumps({key: value for key, value in data.items() if value is not None}, indent=2) + "\n"
    for theirs, own in zip(world.blocks(other), world.blocks(node.name)):
        text = text.replace(str(theirs), str(own))
    return [f"{_CONF_DIR}/{file}", text]


def _plugins(world: World, node: NodeView) -> Iterator[Cause]:
    for kind, (path, mode) in node.told["plugins"].items():
        if not mode:
            path, fix, more = _missing(world, node, kind, path)
            evidence = [f"expected: {path}, which the list names", "found: no such file", *more]
            yield _quiet(
                "cni_binary_missing", f"plugin {path}", node, f"plugin {path}", evidence, fix, "podwire cni-install"
            )
        elif not int(mode, 8) & 0o111:
            evidence = ["expected: mode 0755", f"found: {mode}"]
            yield _quiet(
                "cni_binary_not_executable", f"plugin {path}", node, f"plugin {path}", evidence, f"chmod 755 {path}"
            )


def _missing(world: World, node: NodeView, kind: str, path: str) -> Tuple[str, str, List[str]]:
    """Where a plugin should be, what puts it there, and who has it.

    Plugins of others are not replaced: what is missing becomes a link to podwire's of the same name, which reads the
    same list; where there is no podwire, it comes from the package or from another node.
    """
    podwire = node.told["podwire"]
    if not world.cluster.discovered:
        return path, f"{podwire} cni-install --force {path.rpartition('/')[0]}" if podwire else "", []
    rows = [(each, *each.told["plugins"].get(kind, ("", ""))) for each in world.nodes.values()]
    having = [(peer, at) for peer, at, mode in rows if mode]
    places = [at for _, at in having] or [at for at, mode in node.told["plugins"].values() if mode] or [path]
    path = f"{Counter(at.rpartition('/')[0] for at in places).most_common(1)[0][0]}/{kind}"
    if podwire:
        fix = f"{podwire} cni-install {_STAND_IN} && ln -s {_STAND_IN}/{kind} {path}"
    elif path.startswith(_DEBIAN):
        fix = "apt-get install --reinstall -y containernetworking-plugins"
    else:
        fix = next((f"scp {peer.node.public_ips[0]}:{at} {path}" for peer, at in having if peer.node.public_ips), "")
    return path, fix, [f"{peer.name} has {at}" for peer, at in having][:1]


def _lease(world: World, node: NodeView) -> Iterator[Cause]:
    for row in node.planned("File"):
        path = row["object"].split()[1]
        if not path.endswith("subnet.env"):
            continue
        keys = frozenset({node.key(row)})
        subnet = node.snapshot["subnet_env"].get("FLANNEL_SUBNET", "")
        id = "subnet_env_stale" if subnet else "subnet_env_missing"
        block = world.blocks(node.name)[0]
        whose = world.block_of(subnet) if subnet else None
        told = [f"{subnet} is of the block of {whose.name}"] if whose and whose.name != node.name else []
        yield cause(
            id, f"file {path}", node.name, keys=keys,
            evidence=[f"expected: FLANNEL_SUBNET={block[1]}/{block.prefixlen}",
                      f"found: {f'FLANNEL_SUBNET={subnet}' if subnet else 'no such file'}", *told],
            fix=node.steps([row]), verb="./run site", quiet=True,
        )  # fmt: skip


# --- addresses -----------------------------------------------------------------------------------


def _reservations(world: World, node: NodeView) -> Iterator[Cause]:
    alive = {
        each["address"]: name
        for name, sandbox in node.snapshot["sandboxes"].items() for each in sandbox["namespace"]["addresses"]
    }  # fmt: skip
    alive.update((ip, pod) for pod in world.pods_of(node.name) for ip in world.ips.get(pod, ()))  # or should be
    known = {(each["container"], each["ifname"]) for each in node.snapshot["attachments"]}
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
                "expected: every reservation is of a pod that lives",
                f"found: {ip} is reserved for {who}{gone}",
            ]
            id = "ipam_leak" if claim[0] else "ipam_empty_lease"
            yield _quiet(id, f"file {path}", node, f"reservation {network} {ip}", evidence, f"rm {path}")


def _unreserved(node: NodeView) -> Iterator[Cause]:
    """Pods that live without the reservation that their network gave them: the next ADD may give it again."""
    spaces = {pod.netns: pod for pod in node.pods.values()}
    for each in node.snapshot["attachments"]:
        pod, held = spaces.get(each["netns"]), node.snapshot["reservations"].get(each["network"])
        has = {it["address"] for it in pod.namespace["addresses"]} if pod else set()
        for ip in each["ips"] if pod and held is not None else ():
            if ip not in has or ip in held:
                continue
            path = f"{_directory(node, each['network'])}/{ip.replace(':', '_')}"
            again = f"printf '%s\\r\\n%s' {each['container']} {each['ifname']} > {path} && chmod 600 {path}"
            evidence = [f"expected: {ip} is reserved for container {each['container'][:12]}", "found: no such file"]
            key = f"reservation {each['network']} {ip}"
            yield _quiet("ipam_lease_missing", f"file {path}", node, key, evidence, again)


def _directory(node: NodeView, network: str) -> str:
    """Where a network's reservations are."""
    ipams = (
        plugin.get("ipam") for each in node.snapshot["conflists"] if each["name"] == network
        for plugin in each["plugins"] if isinstance(plugin, dict)
    )  # fmt: skip
    own = next((ipam["dataDir"] for ipam in ipams if isinstance(ipam, dict) and ipam.get("dataDir")), _DATA_DIR)
    return f"{own}/{network}"


def _is_full(world: World, node: NodeView, held: Mapping[str, Any]) -> bool:
    blocks = [b for b in world.blocks(node.name) if any(ip_address(ip) in b for ip in held)]
    return any(sum(ip_address(ip) in b for ip in held) >= b.num_addresses - 3 for b in blocks)


def _exhausted(node: NodeView, network: str, surplus: List[Tuple[str, Any]], count: int) -> Cause:
    directory = _directory(node, network)
    surplus = sorted(surplus, key=lambda each: ip_address(each[0]))
    names = " ".join(ip.replace(":", "_") for ip, _ in surplus)
    return cause(
        "ipam_exhausted", f"file {directory}/", node.name,
        keys=frozenset(f"{node.name} reservation {network} {ip}" for ip, _ in surplus),
        evidence=["expected: free addresses for new pods",
                  f"found: {count} reservations, the whole block, {len(surplus)} of them for no attached interface"],
        fix=f"cd {directory} && rm {names}", quiet=True,
    )  # fmt: skip


def _orphans(world: World, node: NodeView) -> Iterator[Cause]:
    """Namespaces that only a process holds, with an address of the pods."""
    declared = set(world.home)
    for name, sandbox in node.snapshot["sandboxes"].items():
        if name in declared or sandbox["known_by"] != "process":
            continue
        ips = [
            each["address"] for each in sandbox["namespace"]["addresses"]
            if (home := world.block_of(each["address"])) is not None and home.name == node.name
        ]  # fmt: skip
        if ips and sandbox["pids"]:
            pids = " ".join(map(str, sandbox["pids"]))
            answering = node.told["observations"]["strangers"]
            yield _quiet(
                "orphan_namespace", f"process {name}", node, f"namespace {sandbox['inode']}",
                ["expected: every address of the block is a pod's",
                 f"found: {', '.join(ips)} in a namespace without a name",
                 f"process {pids} keeps it (net:[{sandbox['inode']}])",
                 *(f"{ip} answers ARP" for ip in ips if ip in answering)],
                joined([f"kill {pids}"]),
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
            evidence=evidence if listener else [*evidence, "found: nobody does"],
            fix=f"kill {listener[0]}" if listener else "", verb="./run site", quiet=True,
        )  # fmt: skip
