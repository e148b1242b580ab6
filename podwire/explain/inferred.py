"""A plan for nodes whose intent nobody declared: what nodes have of each other, against what most of them have. Pure.

Rows are those of ``collect``'s plan; the network between nodes is worked out in ``style``.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping

from ..intent.cluster import Cluster, Node
from ..intent.projection import SUBNET_ENV
from ..model.objects import File
from ..plan import ADD, CHANGE, Operation
from ..prove.consistency import View
from .commands import commands
from .mesh_inference import Style, forwarding

Told = Mapping[str, Any]


def row(operation: Operation) -> Dict[str, Any]:
    """An operation as evidence carries it."""
    each, old = operation.object, operation.previous
    key = getattr(each, "destination", None) or getattr(each, "address", None) or ""
    return {
        "action": operation.action,
        "kind": type(each).__name__,
        "object": str(each),
        "was": "" if old is None else str(old),
        "device": getattr(each, "device", None) or getattr(each, "name", "") or "",
        "key": str(key),
        "commands": [[list(step.words), step.output] for step in commands(operation)],
    }


def plans(cluster: Cluster, told: Mapping[str, Told]) -> Dict[str, List[Dict[str, Any]]]:
    """The rows of every node."""
    views = {name: View(each["observations"]["snapshot"]["namespace"]) for name, each in told.items()}
    style = Style(cluster, views)
    found: Dict[str, List[Dict[str, Any]]] = {}
    for name in views:
        sysctls = told[name]["observations"]["snapshot"]["namespace"]["sysctls"]
        envs = {node: each["observations"]["snapshot"]["subnet_env"] for node, each in told.items()}
        lease = _lease(cluster.node(name), envs[name], [env for node, env in envs.items() if node != name])
        found[name] = [row(each) for each in (*forwarding(sysctls), *style.wanted(name), *lease)]
    return found


def recorded(found: Mapping[str, Told]) -> Dict[str, Dict[str, Any]]:
    """What ``foreign.find`` found, with the addresses that runtimes recorded for pods (libcni's cache, host-local's
    reservations) in place of those that they have now."""
    corrected: Dict[str, Dict[str, Any]] = {}
    for node, told in found.items():
        snapshot = told["snapshot"]
        by_netns = {
            attachment["netns"]: attachment["ips"]
            for attachment in snapshot["attachments"]
            if attachment["netns"] and attachment["ips"]
        }
        by_owner: Dict[str, List[str]] = {}
        for held in snapshot["reservations"].values():
            for ip, claim in held.items():
                by_owner.setdefault(claim[0], []).append(ip)
        if not by_netns:
            by_netns = _by_reservation(snapshot)
        pods = dict(told["pods"])
        names = {each["netns"]: name for name, each in pods.items()}
        for name, sandbox in {**snapshot["unattached"], **snapshot["sandboxes"]}.items():
            given = by_netns.get(sandbox["netns"]) or by_owner.get(sandbox["container"] or "-")
            if given:
                pod = names.get(sandbox["netns"], f"{node}/{name}")
                pods[pod] = {"port": 0, **pods.get(pod, {}), "netns": sandbox["netns"], "addresses": given}
            elif sandbox["known_by"] == "process" and (by_netns or by_owner):
                pods.pop(names.get(sandbox["netns"], ""), None)  # no runtime of this node knows it: no pod
        corrected[node] = {**told, "pods": pods}
    return corrected


def _by_reservation(snapshot: Told) -> Dict[str, List[str]]:
    """Path of a namespace -> its addresses, by reservations alone, which name containers that nothing leads from.

    Of two that hold an address it is given to whoever has no other. A single address that nobody holds is of the single
    namespace that should have one: a port of the bridge that has none of those that are reserved, or one that has a
    name and a process, and no device at all.
    """
    reserved = {ip for held in snapshot["reservations"].values() for ip in held}
    masters = {link["link_netnsid"]: link["master"] for link in snapshot["namespace"]["links"]
               if "link_netnsid" in link and "master" in link}  # fmt: skip
    has = {
        sandbox["netns"]: [it["address"] for it in sandbox["namespace"]["addresses"] if it["address"] in reserved]
        for sandbox in snapshot["sandboxes"].values() if sandbox["known_by"] == "mount"
    }  # fmt: skip
    bridges = {masters.get(sandbox["nsid"]) for sandbox in snapshot["sandboxes"].values() if has.get(sandbox["netns"])}
    given = {netns: ips for netns, ips in has.items() if len(ips) == 1}
    taken = {ips[0] for ips in given.values()}
    for netns, ips in has.items():
        if len(ips) > 1:
            given[netns] = [ip for ip in ips if ip not in taken]
    lost = sorted(reserved - {ip for ips in has.values() for ip in ips})
    strays = [sandbox["netns"] for sandbox in snapshot["sandboxes"].values()
              if has.get(sandbox["netns"]) == [] and masters.get(sandbox["nsid"]) in bridges - {None}]  # fmt: skip
    strays += [each["netns"] for each in snapshot["unattached"].values()]
    if len(lost) == len(strays) == 1:
        given[strays[0]] = lost
    return given


def _lease(node: Node, own: Mapping[str, str], others: List[Mapping[str, str]]) -> Iterator[Operation]:
    """flannel's file, where other nodes have one: theirs with this node's block."""
    models = [each for each in others if each.get("FLANNEL_SUBNET")]
    block = next((pod_cidr for pod_cidr in node.pod_cidrs if pod_cidr.version == 4), None)
    if not models or block is None:
        return
    subnet = f"{block[1]}/{block.prefixlen}"
    if own.get("FLANNEL_SUBNET") != subnet:
        content = "".join(f"{key}={value}\n" for key, value in {**models[0], "FLANNEL_SUBNET": subnet}.items())
        yield Operation(CHANGE if own else ADD, File(SUBNET_ENV, content), File(SUBNET_ENV, "") if own else None)
