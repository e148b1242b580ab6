"""What a node's root namespace should hold: forwarding, masquerade, the node's files, and its backend's objects."""

from __future__ import annotations

import json
from ipaddress import ip_network

from ..backend import device_names
from ..model.objects import BACKEND_ALIAS, ROUTE_PROTOCOL, File, NatRule, Sysctl
from ..model.state import Scope, State, scope_of
from .cluster import Cluster, Node

#: nftables table of the node's masquerade rules.
NAT_TABLE = "podwire"
SUBNET_ENV = "/run/flannel/subnet.env"
NODE_FILE = "/etc/podwire/node.json"
_MULTICAST = {4: ip_network("224.0.0.0/4"), 6: ip_network("ff00::/8")}


def desired(cluster: Cluster, name: str) -> State:
    """Everything that a node needs towards its peers. KeyError for a node that is not declared."""
    node = cluster.node(name)
    state = _base(cluster, node)
    for version in cluster.versions:
        endpoint = node.endpoint(version)
        if endpoint is None:
            raise ValueError(f"node {name} has no IPv{version} address or pod CIDR; inventory.read lets none through")
        peers = [peer.endpoint(version) for peer in cluster.nodes if peer.name != name]
        reachable = [peer for peer in peers if peer is not None]
        state |= cluster.backend_driver.desired(endpoint, reachable, cluster.device_mtu(version))
    return state


def scope(cluster: Cluster, name: str, desired: State) -> Scope:
    """What podwire owns in a node's root namespace, as far as backends go.

    The names of all backends' devices belong to it whatever the backend, and so do devices with the
    alias: what an earlier type, VNI or family left is removed.
    """
    cluster.node(name)
    devices = device_names(cluster.backend)
    return scope_of(desired, alias=BACKEND_ALIAS, protocol=ROUTE_PROTOCOL, nat=NAT_TABLE, links=devices)


def _base(cluster: Cluster, node: Node) -> State:
    """Forwarding, masquerade and files."""
    sysctls = {"net/ipv4/ip_forward": "1"} if 4 in cluster.versions else {}
    if 6 in cluster.versions:
        sysctls["net/ipv6/conf/all/forwarding"] = "1"
    rules = []
    if cluster.masquerade:
        for cidr, pod_cidr in zip(cluster.cluster_cidrs, node.pod_cidrs):
            rules.append(NatRule(pod_cidr, (cidr, _MULTICAST[cidr.version])))
    return State(
        sysctls=frozenset(Sysctl(key, value) for key, value in sysctls.items()),
        nat_rules=frozenset(rules),
        files=frozenset((File(SUBNET_ENV, _subnet_env(cluster, node)), File(NODE_FILE, _node_file(cluster, node)))),
    )


def _subnet_env(cluster: Cluster, node: Node) -> str:
    """The file that flannel's CNI plugin reads; keys and order of WriteSubnetFile in flannel's pkg/subnet."""
    lines = []
    for cidr, pod_cidr in sorted(zip(cluster.cluster_cidrs, node.pod_cidrs), key=lambda pair: pair[0].version):
        family = "IPV6_" if cidr.version == 6 else ""
        lines.append(f"FLANNEL_{family}NETWORK={cidr}")
        lines.append(f"FLANNEL_{family}SUBNET={pod_cidr.network_address + 1}/{pod_cidr.prefixlen}")
    lines.append(f"FLANNEL_MTU={cluster.mtu}")
    lines.append(f"FLANNEL_IPMASQ={'true' if cluster.masquerade else 'false'}")
    return "".join(f"{line}\n" for line in lines)


def _node_file(cluster: Cluster, node: Node) -> str:
    """The node's lease for people and scripts on the node, as JSON."""
    lease = {
        "cluster": cluster.id,
        "node": node.name,
        "pod_cidrs": list(map(str, node.pod_cidrs)),
        "public_ips": list(map(str, node.public_ips)),
        "interface": node.interface,
        "backend": cluster.backend.type,
        "mtu": cluster.mtu,
    }
    return json.dumps(lease, indent=2) + "\n"
