"""What causes are called for people; the ids are those of the catalogue of faults, and some that no fault makes."""

from __future__ import annotations

from typing import Dict, FrozenSet, Iterable, Tuple

from ..model.command import Command
from .cause import Cause, Pair

TITLES: Dict[str, str] = {
    "cni_conf_missing": "the node has no network configuration list",
    "cni_conf_malformed": "the network configuration list cannot be read",
    "cni_binary_missing": "a plugin that the list names is not installed",
    "cni_binary_not_executable": "a plugin is not executable",
    "cni_conf_shadowed": "another list sorts first: new pods join another network",
    "subnet_env_missing": "flannel's lease file is gone",
    "subnet_env_stale": "flannel's lease file has another pod CIDR",
    "cni_version_unsupported": "the list asks for a version that no plugin supports",
    "cni_version_missing": "the list has no version",
    "ipam_exhausted": "every address of the pod CIDR is allocated",
    "ipam_leak": "an address is allocated to a container that is gone",
    "ipam_empty_lease": "a lease file is empty",
    "ipam_lease_missing": "a pod's address is not allocated: another pod can get it",
    "duplicate_ip": "duplicate IP: two pods have one address",
    "foreign_range": "a pod's address is outside its node's pod CIDR",
    "bridge_address_stale": "the bridge has another address than the pods' gateway",
    "duplicate_pod_cidr": "two nodes have one pod CIDR",
    "node_silent": "the node is down, or podwire does not reach it",
    "port_without_master": "a pod's veth is not a port of the bridge",
    "port_down": "the node's end of a pod's veth pair is down",
    "pod_device_down": "a pod's own device is down",
    "veth_deleted": "a pod's veth pair is gone",
    "port_disabled": "the bridge does not forward on a pod's port",
    "bridge_down": "the bridge is down",
    "bridge_mtu_wrong": "the bridge's MTU is smaller than the pods'",
    "bridge_address_lost": "the bridge has no address: the pods' gateway is gone",
    "ports_isolated": "ports of pods are isolated from each other",
    "fdb_pinned_to_wrong_port": "the bridge has a pod's MAC address pinned to another pod's port",
    "port_without_learning": "learning and flooding are off on a pod's port",
    "ipv6_disabled": "IPv6 is disabled on a pod's device",
    "pod_routes_lost": "a pod has no default route",
    "gateway_mac_wrong": "a pod has a wrong MAC address for its gateway",
    "pod_neighbour_wrong": "a pod has a wrong MAC address for another pod of its node",
    "pod_route_wrong": "a pod has a route of its own that does not lead to others",
    "node_neighbour_wrong": "the node has a wrong MAC address for one of its pods",
    "echo_ignored": "a pod or a node does not answer pings",
    "arp_ignored": "the node does not answer ARP on the bridge",
    "duplicate_mac": "two pods have one MAC address",
    "route_missing": "the node has no route to a peer's pod CIDR",
    "pod_route_missing": "the node has no route to one of its pods",
    "route_blackhole": "the route to a peer's pod CIDR drops packets",
    "route_other_way": "the route to a peer's pod CIDR differs from the declared one",
    "policy_rule": "a policy rule diverts pods' packets from the main table",
    "route_overlapped": "a more specific route captures part of a node's pod CIDR",
    "next_hop_dead": "the next hop of the route to a peer's pod CIDR does not exist",
    "next_hop_not_adjacent": "the route's next hop is not on the node's segment",
    "vxlan_fdb_missing": "the VXLAN device does not know which node has the peer's VTEP",
    "vxlan_neighbour_missing": "the peer's VTEP has no neighbour entry",
    "vxlan_fdb_wrong_vtep": "the VXLAN device sends to another node than the peer",
    "vtep_mac_stale": "the neighbour entry of the peer's VTEP has a wrong MAC address",
    "vtep_mac_wrong": "the VXLAN device has another MAC address than peers send to",
    "vni_mismatch": "the VXLAN device has another network identifier than its peers",
    "vxlan_port_mismatch": "the VXLAN device has another UDP port than its peers",
    "vtep_down": "the VXLAN device is down",
    "vtep_missing": "there is no VXLAN device",
    "vtep_flapped": "the VXLAN device was down for a moment: routes and neighbours did not come back",
    "vtep_remade": "the VXLAN device was recreated: its routes, neighbours and FDB entries are gone",
    "vxlan_local_wrong": "the VXLAN device sends from an address that the node does not have",
    "vxlan_mtu_too_big": "the overlay's MTU leaves no room for VXLAN: the underlay fragments",
    "vxlan_mtu_too_big_df": "the overlay's MTU leaves no room for VXLAN, and fragments are forbidden",
    "vxlan_mtu_too_small": "the overlay's MTU is smaller than the pods'",
    "outer_checksum_bad": "outer UDP checksums are wrong",
    "peer_missed": "the node has no route, neighbour or FDB entry for a peer",
    "vxlan_port_blocked": "a firewall drops what peers send by VXLAN",
    "underlay_mtu_low": "the underlay's MTU is smaller than declared",
    "pmtu_icmp_filtered": "the path MTU is smaller than declared, and ICMP that reports it is filtered",
    "pod_mtu_wrong": "a pod's device has another MTU than the pods",
    "veth_mtu_mismatch": "the two ends of a pod's veth pair have different MTUs",
    "duplicate_node_ip": "a node has the address of another one",
    "underlay_neighbour_wrong": "the node has a wrong MAC address for a peer",
    "node_behind_nat": "the node's outer packets are translated, and peers send to its private address",
    "link_slow": "the node's link has a rate limit",
    "link_delayed": "a queueing discipline delays packets on the node's link",
    "link_lossy": "a queueing discipline drops packets on the node's link",
    "ip_forward_off": "IP forwarding is off on the node",
    "device_forwarding_off": "forwarding is off for packets from the node's pods",
    "rp_filter_strict": "strict reverse path filtering drops packets that arrive by another route",
    "bridge_netfilter_drop": "frames between pods of one node pass a firewall that drops them",
    "forward_dropped": "a FORWARD chain drops by policy",
    "pod_snat": "pods' addresses are translated between pods",
    "agent_blocked": "the node cannot reach its own pods",
    "pod_firewall": "a rule inside a pod drops packets",
    "policy_not_enforced": "a policy denies a pod's traffic, but is not enforced",
    "policy_stale": "a rule drops a pod's packets, but no policy requires it",
    "filter_drops": "a tc filter or an eBPF program drops packets of pods",
    "packets_dropped": "a rule drops packets of pods",
    "cidr_overlap": "the node's network overlaps the pods'",
    "host_port_clash": "another process listens on the port of a hostNetwork pod",
    "server_down": "the server of a hostNetwork pod is not running",
    "conntrack_full": "the machine's connection tracking table is full: new connections are dropped",
    "neighbour_table_full": "the machine's neighbour table is full: new neighbours are not added",
    "orphan_namespace": "an unknown network namespace has a pod address",
}


def cause(
    id: str,
    object: str,
    node: str,
    device: str = "",
    place: str = "node",
    keys: FrozenSet[str] = frozenset(),
    pairs: FrozenSet[Pair] = frozenset(),
    evidence: Iterable[str] = (),
    fix: Iterable[Command] = (),
    verb: str = "",
    quiet: bool = False,
) -> Cause:
    """A candidate with its title."""
    return Cause(id, TITLES[id], object, node, device, place, keys, pairs, tuple(evidence), _once(fix), verb, quiet)


def _once(fix: Iterable[Command]) -> Tuple[Command, ...]:
    """Each command once, where it comes first."""
    return tuple(dict.fromkeys(fix))


def quiet(
    id: str, object: str, node: str, key: str, evidence: Iterable[str], fix: Iterable[Command], verb: str = ""
) -> Cause:
    """One that rests on its deviation ``key`` alone: no pair need fail yet."""
    return cause(id, object, node, keys=frozenset({f"{node} {key}"}), evidence=evidence, fix=fix, verb=verb, quiet=True)
