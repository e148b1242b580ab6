"""The network configuration list that a node's pods are attached by: a real one, for any CNI runtime."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from ipaddress import ip_network
from typing import Any, Dict, FrozenSet, Mapping, Optional, Sequence

from ..cni.spec.netlist import NetConfList, load_file, parse_list
from ..errors import CniError
from ..intent.cluster import Cluster

CONF_DIR = "/etc/cni/net.d"
#: Pods of a cluster above which they do not learn their gateway: a lab has them all on one machine, whose kernel
#: keeps 1,024 learnt neighbours in all, and evicts from 512 on.
MANY_PODS = 100
_DEFAULT = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}


def path_of(network: str) -> str:
    """Where a network's list is written."""
    return os.path.join(CONF_DIR, f"10-{network}.conflist")


def override(cluster: Cluster, given: Any, plugin_dirs: Optional[Sequence[str]]) -> Cluster:
    """A cluster with another list, given as a mapping or as a path on this node, and other plugins."""
    cni = cluster.cni
    if given:
        text = json.dumps(given) if isinstance(given, Mapping) else load_file(str(given)).source
        cni = replace(cni, conflist=text, name=parse_list(text).name)
    if plugin_dirs is not None:
        cni = replace(cni, plugin_dirs=tuple(plugin_dirs))
    return cluster if cni is cluster.cni else replace(cluster, cni=cni)


def declared(cluster: Cluster, node: str) -> NetConfList:
    """The list for one node: the cluster's own, or bridge or ptp over host-local with the node's pod CIDRs as ranges.

    ``ipMasq`` is off because the backend masquerades for the whole node, as flannel does.
    """
    cni = cluster.cni
    if cni.conflist:
        return parse_list(json.dumps(_filled(json.loads(cni.conflist), cluster, node), indent=2) + "\n")
    plugin: Dict[str, Any] = {"type": cni.type, "ipMasq": False, "mtu": cluster.mtu}
    if cni.type == "bridge":
        plugin.update(bridge=cni.bridge, isGateway=True, hairpinMode=cni.hairpin)
        if len(cluster.pods) > MANY_PODS:
            plugin["pinGateway"] = True
    plugin["ipam"] = {"type": "host-local", **_ranges(cluster, node)}
    data = {"cniVersion": "1.0.0", "name": cni.name, "plugins": [plugin]}
    return parse_list(json.dumps(data, indent=2) + "\n")


def _ranges(cluster: Cluster, node: str) -> Dict[str, Any]:
    return {
        "ranges": [[{"subnet": str(cidr)}] for cidr in cluster.node(node).pod_cidrs],
        "routes": [{"dst": str(_DEFAULT[version])} for version in cluster.versions],
    }


def _filled(data: Dict[str, Any], cluster: Cluster, node: str) -> Dict[str, Any]:
    """A list of the user's with what it leaves open: host-local's ranges and routes, and the MTU."""
    for plugin in data["plugins"]:
        if plugin["type"] in ("bridge", "ptp"):
            plugin.setdefault("mtu", cluster.mtu)
        ipam = plugin.get("ipam")
        if isinstance(ipam, dict) and ipam.get("type") == "host-local" and not {"subnet", "ranges"} & ipam.keys():
            plugin["ipam"] = {**_ranges(cluster, node), **ipam}
    return data


def written(network: str) -> Optional[NetConfList]:
    """The list on disk; None if there is none that can be used."""
    try:
        with open(path_of(network), encoding="utf-8") as file:
            return parse_list(file.read())
    except (OSError, UnicodeDecodeError, CniError):
        return None


def kept_by(old: NetConfList, new: NetConfList) -> bool:
    """Whether attachments of the old list can become those of the new one in place: the same plugins,
    bridge, ranges and routes. MTU, hairpin and the like can change under a pod that runs."""
    return bool(_identity(old) == _identity(new))


def bridges(network: NetConfList) -> FrozenSet[str]:
    """The bridges that a list's attachments share."""
    return frozenset(conf.text("bridge") or "cni0" for conf in network.plugins if conf.type == "bridge")


def _identity(network: NetConfList) -> Any:
    return [(conf.type, conf.text("bridge"), conf.data.get("ipam")) for conf in network.plugins]
