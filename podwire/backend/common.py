"""What every backend does alike: forwarding, masquerade, the node's files, and routes to peers."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import List, Sequence, Tuple

from ..intent.cluster import Cluster, Node
from ..model.objects import File, IPAddress, IPNetwork, NatRule, NextHop, Route, Sysctl
from ..model.state import State

#: nftables table of the node's masquerade rules.
NAT_TABLE = "podwire"
SUBNET_ENV = "/run/flannel/subnet.env"
NODE_FILE = "/etc/podwire/node.json"
#: Peers on one device above which IPv4 routes share next-hop objects. Inserting n routes with n gateways costs
#: n * n, because the kernel's fib_info hash leaves the gateway out: 5,000 take about a second, so 512 about
#: 10 ms. Up to here plain routes are as fast, and easier to read. IPv6 has no such hash and stays linear.
MANY_GATEWAYS = 512
#: One destination of a route: a peer's block, and the gateway to it.
Way = Tuple[IPNetwork, IPAddress]
_MULTICAST = {4: ip_network("224.0.0.0/4"), 6: ip_network("ff00::/8")}


def peers(cluster: Cluster, node: Node) -> List[Node]:
    """All other nodes."""
    return [peer for peer in cluster.nodes if peer.name != node.name]


def routes(ways: Sequence[Way], device: str, *, onlink: bool = False) -> State:
    """Routes to the peers' blocks through one device, by way of next-hop objects where they are many.

    A next hop's id is its IPv4 gateway as a number: unique without any bookkeeping.
    """
    if len(ways) <= MANY_GATEWAYS or ways[0][0].version == 6:
        return State(routes=frozenset([Route(block, gateway, device, onlink) for block, gateway in ways]))
    return State(
        next_hops=frozenset([NextHop(int(gateway), gateway, device, onlink) for _, gateway in ways]),
        routes=frozenset([Route(block, next_hop=int(gateway)) for block, gateway in ways]),
    )


def base(cluster: Cluster, node: Node) -> State:
    """Forwarding, masquerade and files."""
    sysctls = {"net/ipv4/ip_forward": "1"} if 4 in cluster.versions else {}
    if 6 in cluster.versions:
        sysctls["net/ipv6/conf/all/forwarding"] = "1"
    rules = []
    if cluster.masquerade:
        for cidr, block in zip(cluster.cluster_cidrs, node.pod_cidrs):
            rules.append(NatRule(block, (cidr, _MULTICAST[cidr.version])))
    return State(
        sysctls=frozenset(Sysctl(key, value) for key, value in sysctls.items()),
        nat_rules=frozenset(rules),
        files=frozenset((File(SUBNET_ENV, subnet_env(cluster, node)), File(NODE_FILE, node_file(cluster, node)))),
    )


def subnet_env(cluster: Cluster, node: Node) -> str:
    """The file that flannel's CNI plugin reads; keys and order of WriteSubnetFile in flannel's pkg/subnet."""
    lines = []
    for cidr, block in sorted(zip(cluster.cluster_cidrs, node.pod_cidrs), key=lambda each: each[0].version):
        family = "IPV6_" if cidr.version == 6 else ""
        lines.append(f"FLANNEL_{family}NETWORK={cidr}")
        lines.append(f"FLANNEL_{family}SUBNET={block.network_address + 1}/{block.prefixlen}")
    lines.append(f"FLANNEL_MTU={cluster.mtu}")
    lines.append(f"FLANNEL_IPMASQ={'true' if cluster.masquerade else 'false'}")
    return "".join(f"{line}\n" for line in lines)


def node_file(cluster: Cluster, node: Node) -> str:
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
