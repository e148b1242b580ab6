"""Firewalls and policies: rules that somebody made, or did not make."""

from __future__ import annotations

import json
from ipaddress import ip_interface
from typing import List

from ...model.objects import Address
from .. import requirements
from ..context import Ground
from ..fault import NODE, Edit, Fault, Patch, Put, Symptom
from ..processes import Ghost, PodServer
from ..resources import FileText
from .routing import around
from .rules import chain, table
from .symptoms import AGENT, FAR

POLICIES = "/etc/podwire/networkpolicies"


def _forward_drop(ground: Ground) -> List[Edit]:
    return [table("ip", "docker-like", chain("forward", "counter", policy="drop"))]


def _snat(ground: Ground) -> List[Edit]:
    rule = f"ip saddr {ground.block(ground.node)} oifname != {ground.cluster.cni.bridge} masquerade"
    return [table("ip", "masq-all", chain("postrouting", rule, kind="nat", priority=90))]


def _no_agent(ground: Ground) -> List[Edit]:
    return [table("inet", "hostfw-out", chain("output", f"oifname {ground.cluster.cni.bridge} counter drop"))]


def _pod_firewall(ground: Ground) -> List[Edit]:
    rule = chain("input", "iifname eth0 counter drop")
    return [table("inet", "app", rule, place=ground.place(ground.pod))]


def _policy(ground: Ground) -> str:
    """A NetworkPolicy (networking.k8s.io/v1) that denies a pod all ingress."""
    return json.dumps(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": f"deny-{ground.pod.name}", "namespace": "default"},
            "spec": {"podSelector": {"matchLabels": {"name": ground.pod.name}}, "policyTypes": ["Ingress"]},
        },
        indent=2,
    )


def _unenforced(ground: Ground) -> List[Edit]:
    path = f"{POLICIES}/deny-{ground.pod.name}.json"
    return [Put(NODE, FileText(path), {"text": _policy(ground) + "\n", "mode": 0o644})]


def _stale(ground: Ground) -> List[Edit]:
    rule = f'ip daddr {ground.ip(ground.pod)} counter drop comment "policy default/deny-{ground.pod.name}"'
    return [table("ip", "kube-policies", chain("forward", rule))]


def _overlap(ground: Ground) -> List[Edit]:
    part = around(ground.ip(ground.far_pod), 1, ground.block(ground.peer))
    address = Address(ground.node.interface, ip_interface(f"{part[-2]}/{part.prefixlen}"))
    return [Patch(NODE, new=(address,))]


def _clash(ground: Ground) -> List[Edit]:
    """The pod's server died, and another process was first to take the port."""
    pod = ground.host_pod
    return [
        Put(NODE, PodServer(pod.name, pod.node, pod.port), None),
        Put(NODE, Ghost("impostor", ground.token, pod.port), True),
    ]


_STOLEN = Symptom("fetch", "node", "host pod", frozenset({"wrong pod"}))
_ACROSS = (requirements.IPV4, requirements.PEER, requirements.POD, requirements.NFT)
_BOTH = ("peer", "pod")
FAULTS = (
    Fault(
        "forward_dropped", 57, "netfilter", "the node's FORWARD chain drops by policy, as Docker sets it",
        "nft add chain ip docker-like forward '{ type filter hook forward priority 0; policy drop; }'",
        _forward_drop, FAR, needs=_ACROSS, parameters=_BOTH,
    ),
    Fault(
        "pod_snat", 58, "netfilter", "pods reach other pods, but as somebody else: their address is masqueraded",
        "nft add rule ip masq-all postrouting ip saddr 10.244.0.0/24 oifname != cni0 masquerade", _snat,
        Symptom("fetch", "pod", "peer", frozenset({"nat"})), needs=(*_ACROSS, requirements.BRIDGE), parameters=_BOTH,
    ),
    Fault(
        "agent_blocked", 59, "netfilter", "the node cannot reach its own pods: probes of its agents fail",
        "nft add rule inet hostfw-out output oifname cni0 drop", _no_agent, AGENT,
        needs=(requirements.BRIDGE, requirements.POD, requirements.NFT), parameters=("pod",),
    ),
    Fault(
        "pod_firewall", 60, "netfilter", "a rule inside a pod drops all that comes",
        "ip netns exec pod-a nft add rule inet app input iifname eth0 drop", _pod_firewall, AGENT,
        needs=(requirements.POD, requirements.NFT), parameters=("pod",),
    ),
    Fault(
        "policy_not_enforced", 61, "netfilter", "a policy denies a pod's ingress, and nobody enforces it",
        "kubectl apply -f deny.yml    # with a plugin that knows no policies", _unenforced,
        Symptom("fetch", "node", "pod", frozenset({"ok"})), needs=(requirements.POD,), parameters=("pod",),
    ),
    Fault(
        "policy_stale", 62, "netfilter", "a deny outlived its policy",
        "nft add rule ip kube-policies forward ip daddr 10.244.0.2 drop", _stale, FAR, needs=_ACROSS, parameters=_BOTH,
    ),
    Fault(
        "cidr_overlap", 63, "netfilter", "the nodes' network overlaps the pods': a part of the peer's block is 'local'",
        "ip addr add 10.244.1.126/25 dev eth0", _overlap, FAR,
        needs=(requirements.IPV4, requirements.PEER, requirements.POD), parameters=_BOTH,
    ),
    Fault(
        "host_port_clash", 64, "netfilter", "another process has the port of a hostNetwork pod",
        "kill the pod's server; nc -lk 9100", _clash, _STOLEN,
        needs=(requirements.HOST_NETWORK_POD,), parameters=("pod",),
    ),
)  # fmt: skip
