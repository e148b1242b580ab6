"""Collects a node's evidence for a diagnosis in one process: a snapshot, probes, and what neither of them shows.

::

    {"observations": {...},                 podwire/prove/prober.py; its snapshot is in it
     "plan":      [{"action", "object", "previous"}],          intent against the kernel (operations.py)
     "foreign":   ["route blackhole 10.244.1.0/24 proto 3"],   routes of others on wanted prefixes
     "nft":       {"": [...], "pod-a": [...]},                 rulesets as nft -j has them, of the node and pods,
                                                               iptables' among them (iptables.py)
     "cannot":    ["failed to read ..."],                      what is there and was not read
     "hits":      [["", "ip hostfw input", 4, 6]],             place, chain, rule, packets that it counted meanwhile
     "qdiscs":    {"eth0": "tbf"},                             root disciplines that somebody set
     "filters":   [{"device", "hook", "preference", ...}],     of tc (kernel/lookup.py)
     "plugins":   {"bridge": ["/opt/cni/bin/bridge", "0755"]}, of configured plugins; no mode where one is missing
     "podwire":   ["env", "PYTHONPATH=...", ...],              the words by which podwire's command line is called on
                                                               the node, if it is there
     "policies":  {"/etc/podwire/...json": {...}},             NetworkPolicies
     "listeners": {"8080": [123, "python3"]},                  processes that listen on hostNetwork pods' ports
     "oracle":    {"10.244.1.2": "EHOSTUNREACH"},              kernel lookups of the route from pods to the peers' pods
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
from typing import Dict, Iterator, List, Sequence, Set, Tuple

from ..agent.unit import LIBRARY
from ..intent.cluster import Cluster
from ..intent.projection import desired, scope
from ..kernel import Namespace, lookup, show
from ..kernel.listeners import holders
from ..kernel.show import read_sysctl
from ..observe.records import Snapshot
from ..observe.snapshot import find
from ..plan import plan
from ..prove import expect, prober
from ..sandbox import conflist
from . import rulesets
from .operations import OperationRow, to_row
from .records import Evidence

POLICIES = "/etc/podwire/networkpolicies"
_PLUGIN_DIRS = ("/opt/cni/bin", "/usr/lib/cni")
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


def collect(
    cluster: Cluster,
    node: str,
    addresses: expect.Addresses,
    options: prober.Options = prober.Options(),  # noqa: B008
) -> Evidence:
    """All of it, from the node that this process runs in. ProofError, KernelError."""
    options = options._replace(quick=True)
    with Namespace.current(node) as here:
        cannot: List[str] = []
        early = rulesets.read(here, {sandbox.netns: sandbox.netns for sandbox in find()}, cannot)
        refused = lookup.neighbour_table(here).refused
        observations = prober.probe(cluster, node, addresses, options)
        snapshot = observations["snapshot"]
        paths = {name: sandbox["netns"] for name, sandbox in snapshot["sandboxes"].items()}
        late = rulesets.read(here, paths, cannot)
        before = rulesets.counted({name: early.get(paths.get(name, ""), []) for name in late})
        counted = rulesets.counted(late).items()
        plan, foreign = ([], []) if cluster.discovered else _plan(cluster, node, here)
        ports = {pod.port for pod in cluster.pods_of(node) if pod.host_network}
        evidence: Evidence = {
            "observations": observations,
            "plan": plan,
            "foreign": foreign,
            "nft": late,
            "hits": [(*rule, packets - before.get(rule, 0)) for rule, packets in counted],
            "cannot": cannot,
            "qdiscs": lookup.disciplines(here),
            "filters": lookup.filters(here, {link["ifindex"]: link["name"] for link in snapshot["namespace"]["links"]}),
            "limits": {"connections": _connections(), "neighbours": _neighbours(here, refused)},
            "oracle": _lookups(cluster, node, here, addresses, snapshot),
            "plugins": {},
            "podwire": _podwire(),
            "policies": _policies(),
            "listeners": _listeners(ports) if ports else {},
        }
    plugins = [plugin for conflist in snapshot["conflists"] for plugin in conflist["plugins"]]
    if not cluster.discovered:
        declared = conflist.declared(cluster, node).source
        evidence["list"] = [conflist.path_of(cluster.cni.name), declared]
        plugins += json.loads(declared)["plugins"]
    evidence["plugins"] = _plugins(cluster, plugins)
    return evidence


def _plugins(cluster: Cluster, plugins: Sequence[object]) -> Dict[str, Tuple[str, str]]:
    """Type -> (path, mode in octal), the mode empty where there is no such plugin."""
    existing = [directory for directory in _PLUGIN_DIRS if os.path.isdir(directory)]
    existing = existing if cluster.discovered else existing[:1]  # nobody says where others' runtimes look
    directories = cluster.cni.plugin_dirs or existing or _PLUGIN_DIRS[:1]
    return {kind: _mode(kind, directories) for kind in dict.fromkeys(_types(plugins))}


def _podwire() -> List[str]:
    """From where this runs, or from what site.yml installed where this is a module's copy, which goes with it."""
    root = _ROOT
    if os.path.dirname(root) == tempfile.gettempdir() and os.path.basename(root).startswith("podwire-"):
        root = LIBRARY if os.path.isdir(LIBRARY) else ""
    main = "from podwire.cli import main; main()"
    return ["env", f"PYTHONPATH={root}", sys.executable, "-c", main] if root else []


def _plan(cluster: Cluster, node: str, here: Namespace) -> Tuple[List[OperationRow], List[str]]:
    """Intent against the kernel, and routes of others that are in the way."""
    state = desired(cluster, node)
    shown = show(here, scope(cluster, node, state))
    return list(map(to_row, plan(state, shown.state))), sorted(map(str, shown.foreign.routes))


def _lookups(
    cluster: Cluster, node: str, here: Namespace, addresses: expect.Addresses, snapshot: Snapshot
) -> Dict[str, str]:
    """How the kernel would send a packet of the node's first pod on to each pod of a peer."""
    from_node = (ip.partition("/")[0] for pod in cluster.pods_of(node) for ip in addresses.get(pod.name, ()))
    sources: Dict[bool, str] = {}
    for ip in from_node:
        sources.setdefault(":" in ip, ip)
    links = {link["name"]: link["ifindex"] for link in snapshot["namespace"]["links"]}
    if cluster.cni.bridge not in links:
        return {}
    by_index = {link["ifindex"]: link for link in snapshot["namespace"]["links"]}
    texts: Dict[str, str] = {}
    known: Dict[lookup.Hop, str] = {}
    for pod in cluster.pods:
        for text in addresses.get(pod.name, ()) if pod.node != node else ():
            ip = text.partition("/")[0]
            source = sources.get(":" in ip)
            if source is not None:
                hop = lookup.route(here, ip, source, links[cluster.cni.bridge])
                if hop.goes_on and hop not in known:
                    known[hop] = lookup.onward(here, hop, by_index)
                texts[ip] = known.get(hop, hop.word)
    return texts


def _types(plugins: Sequence[object]) -> Iterator[str]:
    """Types of plugins and of their IPAM plugins."""
    for plugin in plugins:
        if isinstance(plugin, dict) and plugin.get("type"):
            yield str(plugin["type"])
            ipam = plugin.get("ipam")
            if isinstance(ipam, dict) and ipam.get("type"):
                yield str(ipam["type"])


def _mode(kind: str, directories: Sequence[str]) -> Tuple[str, str]:
    for directory in directories:
        with suppress(OSError):
            return f"{directory}/{kind}", f"{os.stat(f'{directory}/{kind}').st_mode & 0o777:04o}"
    return f"{directories[0]}/{kind}", ""


def _neighbours(here: Namespace, before: int) -> List[int]:
    now = lookup.neighbour_table(here)
    return [now.refused - before, now.most]


def _connections() -> List[int]:
    """How many connections are tracked in this namespace, and how many may be in any."""
    with suppress(OSError, ValueError):
        return [int(read_sysctl(f"net/netfilter/nf_conntrack_{word}")) for word in ("count", "max")]
    return [0, 1]


def _policies() -> Dict[str, object]:
    policies = {}
    with suppress(OSError):
        for name in sorted(os.listdir(POLICIES)):
            with suppress(OSError, ValueError), open(f"{POLICIES}/{name}", encoding="utf-8") as file:
                policies[f"{POLICIES}/{name}"] = json.load(file)
    return policies


def _listeners(ports: Set[int]) -> Dict[str, Tuple[int, str]]:
    """Port -> process id and command line of who listens on it, of this network namespace."""
    return {str(port): (holder.pid, holder.command) for port, holder in holders("tcp", ports).items()}
