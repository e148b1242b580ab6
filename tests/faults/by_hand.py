"""Faults of foreign labs that the catalogue does not inject there, as a person would make them."""

from __future__ import annotations

from typing import Dict, NamedTuple, Tuple

from podwire.faults.symptom import Expected

from .foreign import ForeignLab, mesh
from .labs import shell

NODE = "node-1"
_MESH, _FLANNEL = ("mesh",), ("flannel", "uncached")
_BOTH = (*_FLANNEL, *_MESH)


class ByHand(NamedTuple):
    """``command`` on the node, in which names in braces stand for the lab's; ``object``: what has to be named."""

    styles: Tuple[str, ...]
    cause: str
    object: str
    command: str


#: What stands without an entry that floods to the peer: nothing learnt, and nothing to be learnt from what it sends.
_FORGET = (
    "ip link set vx0 type vxlan nolearning && bridge fdb del 00:00:00:00:00:00 dev vx0 dst 172.30.0.12 && "
    "ip neigh flush dev vx0; bridge fdb show dev vx0 | grep -v permanent | "
    "while read mac rest; do bridge fdb del $mac dev vx0; done"
)
FAULTS: Dict[str, ByHand] = {
    "vtep_missing": ByHand(_BOTH, "vtep_missing", "link {device}", "ip link del {device}"),
    "vtep_down": ByHand(_MESH, "vtep_down", "link vx0", "ip link set vx0 down"),
    "vni_mismatch": ByHand(_MESH, "vni_mismatch", "link vx0", "{vni}"),
    "vxlan_port_mismatch": ByHand(_MESH, "vxlan_port_mismatch", "link vx0", "{port}"),
    "vxlan_local_wrong": ByHand(_MESH, "vxlan_local_wrong", "link vx0", "{local}"),
    "flood_wrong": ByHand(
        _MESH, "vxlan_fdb_wrong_vtep", "fdb 00:00:00:00:00:00 dev vx0",
        f"bridge fdb append 00:00:00:00:00:00 dev vx0 dst 172.30.0.99 && {_FORGET}",
    ),
    "flood_missing": ByHand(_MESH, "vxlan_fdb_missing", "fdb 00:00:00:00:00:00 dev vx0", _FORGET),
    "vxlan_port_blocked": ByHand(
        _MESH, "vxlan_port_blocked", "nftables table inet hostfw",
        "nft 'table inet hostfw {{ chain input {{ "
        "type filter hook input priority 0; udp dport 8472 counter drop; }}; }}'",
    ),
    "vtep_mac_wrong": ByHand(
        _FLANNEL, "vtep_mac_wrong", "link flannel.1", "ip link set flannel.1 address 02:00:00:00:77:77"
    ),
    "vtep_remade": ByHand(
        _FLANNEL, "vtep_remade", "link flannel.1",
        "ip link set flannel.1 down && ip link set flannel.1 up && bridge fdb show dev flannel.1 | "
        "while read mac rest; do bridge fdb del $mac dev flannel.1 $(echo $rest | cut -d' ' -f1,2) self; done",
    ),
    "pod_neighbour_wrong": ByHand(
        _BOTH, "pod_neighbour_wrong", "neighbour {b} dev eth0",
        "{in_a} ip neigh replace {b} lladdr 02:00:00:00:00:11 dev eth0 nud permanent",
    ),
    "pod_route_wrong": ByHand(
        _BOTH, "pod_route_wrong", "route 10.244.1.0/24", "{in_a} ip route add unreachable 10.244.1.0/24"
    ),
    "other_table": ByHand(
        _BOTH, "policy_rule", "rule 100: from {a} lookup 100",
        "ip rule add from {a} lookup 100 pref 100; ip route add unreachable default table 100",
    ),
    "packets_dropped": ByHand(
        _BOTH, "packets_dropped", "nftables table ip house",
        "nft 'table ip house {{ chain users {{ ip daddr {far} counter drop; }}; "
        "chain forwards {{ type filter hook forward priority 0; jump users; }}; }}'",
    ),
    "lease_gone": ByHand(
        ("flannel",), "ipam_lease_missing", "file /var/lib/cni/networks/cbr0/{a}", "rm /var/lib/cni/networks/cbr0/{a}"
    ),
}  # fmt: skip


def inject(lab: ForeignLab, name: str) -> Expected:
    """Do it; what a diagnosis has to name."""
    fault = FAULTS[name]
    a, b = (pod.name for pod in lab.cluster.pods_of(NODE)[:2])
    far = lab.cluster.pods_of("node-2")[0].name
    words = {key: lab.addresses[pod][0].partition("/")[0] for key, pod in (("a", a), ("b", b), ("far", far))}
    words.update(in_a=f"ip netns exec {a}", device="vx0" if lab.style.backend == "mesh" else "flannel.1")
    for key, changed in (("vni", {"vni": 42}), ("port", {"port": 4789}), ("local", {"local": "172.30.255.254"})):
        words[key] = " && ".join(["ip link del vx0", *mesh(lab.cluster, NODE, **changed)])  # type: ignore[arg-type]
    said = lab.call(NODE, shell, fault.command.format(**words))
    assert not said, said
    return Expected(fault.cause, NODE, "node", fault.object.format(**words), "")
