"""What one process on a node finds out for a diagnosis: a snapshot, probes, and what neither of them says.

::

    {"observations": {...},                 podwire/prove/prober.py; its snapshot is in it
     "plan":      [{"action", "kind", "object", "was", "device", "key", "commands"}],   intent against the kernel
     "foreign":   ["route blackhole 10.244.1.0/24 proto 3"],   routes of others on wanted prefixes
     "nft":       {"": [...], "pod-a": [...]},                 rulesets as nft -j tells them, of the node and pods,
                                                               iptables' among them (iptables.py)
     "cannot":    ["failed to read ..."],                      what is there and was not read
     "hits":      {"/ip hostfw input 4": 6},                   packets that a rule counted while probes ran
     "qdiscs":    {"eth0": "tbf"},                             root disciplines that somebody set
     "filters":   {"eth0 ingress": [{"preference", ...}]},     of tc, see oracle.py
     "plugins":   {"bridge": "0755"},                          of configured plugins; "" where one is missing
     "podwire":   ["env", "PYTHONPATH=...", ...],              the words by which podwire's command line is called on
                                                               the node, if it is there
     "policies":  {"/etc/podwire/...json": {...}},             NetworkPolicies
     "listeners": {"8080": [123, "python3"]},                  who listens, of hostNetwork pods' ports
     "oracle":    {"10.244.1.2": "EHOSTUNREACH"},              the kernel's word on the way from pods to the peers' pods
     "limits":    {"connections": [12, 262144],                tracked ones, and how many may be
                   "neighbours": [0, 1024]},                   refused while probes ran, and how many may be
     "list":      [path, content]}                             the network configuration list that there should be

Reads only; probes are all that it sends.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import suppress
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from ..agent.unit import LIBRARY
from ..intent.cluster import Cluster
from ..intent.projection import desired, scope
from ..kernel import Namespace, lookup, show
from ..kernel.listeners import holders
from ..kernel.show import read_sysctl
from ..observe.snapshot import find
from ..plan import plan
from ..prove import expect, prober
from ..sandbox import conflist
from . import rulesets
from .inferred import row

POLICIES = "/etc/podwire/networkpolicies"
_PLUGIN_DIRS = ("/opt/cni/bin", "/usr/lib/cni")
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


def collect(
    cluster: Cluster,
    node: str,
    addresses: expect.Addresses,
    options: prober.Options = prober.Options(),  # noqa: B008
) -> Dict[str, Any]:
    """All of it, from the node that this process runs in. ProofError, KernelError."""
    options = options._replace(quick=True)
    with Namespace.current(node) as here:
        cannot: List[str] = []
        early = rulesets.read(here, {each.netns: each.netns for each in find()}, cannot)
        refused = lookup.neighbour_table(here).refused
        observations = prober.probe(cluster, node, addresses, options)
        snapshot = observations["snapshot"]
        paths = {name: each["netns"] for name, each in snapshot["sandboxes"].items()}
        ruled = rulesets.read(here, paths, cannot)
        before = rulesets.counted({name: early.get(paths.get(name, ""), []) for name in ruled})
        told: Dict[str, Any] = {"plan": [], "foreign": []} if cluster.discovered else _plan(cluster, node, here)
        told.update(
            observations=observations,
            nft=ruled,
            hits={rule: count - before.get(rule, 0) for rule, count in rulesets.counted(ruled).items()},
            qdiscs=lookup.disciplines(here),
            cannot=cannot,
            filters=lookup.filters(here, {link["ifindex"]: link["name"] for link in snapshot["namespace"]["links"]}),
            limits={"connections": _connections(), "neighbours": _neighbours(here, refused)},
            oracle=_routes(cluster, node, here, addresses, snapshot),
        )
    lists = list(snapshot["conflists"])
    if not cluster.discovered:
        declared = conflist.declared(cluster, node).source
        told["list"] = [conflist.path_of(cluster.cni.name), declared]
        lists.append(json.loads(declared))
    kinds = [kind for each in lists for kind in _types(each)]
    standing = [directory for directory in _PLUGIN_DIRS if os.path.isdir(directory)]
    standing = standing if cluster.discovered else standing[:1]  # nobody says where others' runtimes look
    directories = cluster.cni.plugin_dirs or standing or _PLUGIN_DIRS[:1]
    told["plugins"] = {kind: _mode(kind, directories) for kind in dict.fromkeys(kinds)}
    told["podwire"] = _podwire()
    told["policies"] = _policies()
    ports = {pod.port for pod in cluster.pods_of(node) if pod.host_network}
    told["listeners"] = _listeners(ports) if ports else {}
    return told


def _podwire() -> List[str]:
    """From where this runs, or from what site.yml installed where this is a module's copy, which goes with it."""
    root = _ROOT
    if os.path.dirname(root) == tempfile.gettempdir() and os.path.basename(root).startswith("podwire-"):
        root = LIBRARY if os.path.isdir(LIBRARY) else ""
    main = "from podwire.cli import main; main()"
    return ["env", f"PYTHONPATH={root}", sys.executable, "-c", main] if root else []


def _plan(cluster: Cluster, node: str, here: Namespace) -> Dict[str, Any]:
    """Intent against the kernel: the first evidence."""
    state = desired(cluster, node)
    shown = show(here, scope(cluster, node, state))
    rows = [row(operation) for operation in plan(state, shown.state)]
    return {"plan": rows, "foreign": sorted(map(str, shown.foreign.routes))}


def _routes(
    cluster: Cluster, node: str, here: Namespace, addresses: expect.Addresses, snapshot: Mapping[str, Any]
) -> Dict[str, str]:
    """How the kernel would send a packet of the node's first pod on to each pod of a peer."""
    own = (ip.partition("/")[0] for pod in cluster.pods_of(node) for ip in addresses.get(pod.name, ()))
    sources: Dict[bool, str] = {}
    for ip in own:
        sources.setdefault(":" in ip, ip)
    links = {link["name"]: link["ifindex"] for link in snapshot["namespace"]["links"]}
    if cluster.cni.bridge not in links:
        return {}
    by_index = {link["ifindex"]: link for link in snapshot["namespace"]["links"]}
    found: Dict[str, str] = {}
    known: Dict[lookup.Hop, str] = {}
    for pod in cluster.pods:
        for text in addresses.get(pod.name, ()) if pod.node != node else ():
            ip = text.partition("/")[0]
            source = sources.get(":" in ip)
            if source is not None:
                hop = lookup.route(here, ip, source, links[cluster.cni.bridge])
                if hop.goes_on and hop not in known:
                    known[hop] = lookup.onward(here, hop, by_index)
                found[ip] = known.get(hop, hop.word)
    return found


def _types(each: Mapping[str, Any]) -> List[str]:
    kinds = []
    for plugin in each["plugins"]:
        if isinstance(plugin, dict) and plugin.get("type"):
            kinds.append(str(plugin["type"]))
            ipam = plugin.get("ipam")
            kinds += [str(ipam["type"])] if isinstance(ipam, dict) and ipam.get("type") else []
    return kinds


def _mode(kind: str, directories: Sequence[str]) -> List[str]:
    """[path, mode in octal], the mode empty where there is no such plugin."""
    for directory in directories:
        with suppress(OSError):
            return [f"{directory}/{kind}", f"{os.stat(f'{directory}/{kind}').st_mode & 0o777:04o}"]
    return [f"{directories[0]}/{kind}", ""]


def _neighbours(here: Namespace, before: int) -> List[int]:
    now = lookup.neighbour_table(here)
    return [now.refused - before, now.most]


def _connections() -> List[int]:
    """How many connections are tracked in this namespace, and how many may be in any."""
    with suppress(OSError, ValueError):
        return [int(read_sysctl(f"net/netfilter/nf_conntrack_{word}")) for word in ("count", "max")]
    return [0, 1]


def _policies() -> Dict[str, Any]:
    found = {}
    with suppress(OSError):
        for name in sorted(os.listdir(POLICIES)):
            with suppress(OSError, ValueError), open(f"{POLICIES}/{name}", encoding="utf-8") as file:
                found[f"{POLICIES}/{name}"] = json.load(file)
    return found


def _listeners(ports: set[int]) -> Dict[str, Tuple[int, str]]:
    """Port -> process id and command line of who listens on it, of this network namespace."""
    return {str(port): (holder.pid, holder.command) for port, holder in holders("tcp", ports).items()}
