"""Firewalls and policies: rules that somebody made, or did not make."""

from __future__ import annotations

import json
from ipaddress import ip_interface
from typing import List

from ...model.objects import Address
from .. import requirements
from ..context import Context
from ..edit import Edit, Patch, SetResource
from ..fault import Fault
from ..files import FileText
from ..places import NODE
from ..processes import PodServer, StrayProcess
from ..symptom import Symptom
from .routing import around
from .rules import chain, table
from .symptoms import AGENT, FAR

POLICIES = "/etc/podwire/networkpolicies"


def _forward_drop(context: Context) -> List[Edit]:
    return [table("ip", "docker-like", chain("forward", "counter", policy="drop"))]


def _snat(context: Context) -> List[Edit]:
    rule = f"ip saddr {context.block(context.node)} oifname != {context.cluster.cni.bridge} masquerade"
    return [table("ip", "masq-all", chain("postrouting", rule, kind="nat", priority=90))]


def _no_agent(context: Context) -> List[Edit]:
    return [table("inet", "hostfw-out", chain("output", f"oifname {context.cluster.cni.bridge} counter drop"))]


def _pod_firewall(context: Context) -> List[Edit]:
    rule = chain("input", "iifname eth0 counter drop")
    return [table("inet", "app", rule, place=context.place(context.pod))]


def _policy(context: Context) -> str:
    """A NetworkPolicy (networking.k8s.io/v1) that denies a pod all ingress."""
    return json.dumps(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": f"deny-{context.pod.name}", "namespace": "default"},
            "spec": {"podSelector": {"matchLabels": {"name": context.pod.name}}, "policyTypes": ["Ingress"]},
        },
        indent=2,
    )


def _unenforced(context: Context) -> List[Edit]:
    path = f"{POLICIES}/deny-{context.pod.name}.json"
    return [SetResource(NODE, FileText(path), {"text": _policy(context) + "\n", "mode": 0o644})]


def _stale(context: Context) -> List[Edit]:
    rule = f'ip daddr {context.ip(context.pod)} counter drop comment "policy default/deny-{context.pod.name}"'
    return [table("ip", "kube-policies", chain("forward", rule))]


def _overlap(context: Context) -> List[Edit]:
    part = around(context.ip(context.far_pod), 1, context.block(context.peer))
    address = Address(context.node.interface, ip_interface(f"{part[-2]}/{part.prefixlen}"))
    return [Patch(NODE, new=(address,))]


def _clash(context: Context) -> List[Edit]:
    """The pod's server died, and another process was first to take the port."""
    pod = context.host_pod
    return [
        SetResource(NODE, PodServer(pod.name, pod.node, pod.port), None),
        SetResource(NODE, StrayProcess("impostor", context.token, pod.port), True),
    ]


_STOLEN = Symptom("fetch", "node", "host pod", frozenset({"wrong pod"}))
_ACROSS = (requirements.IPV4, requirements.PEER, requirements.POD, requirements.NFT)
_BOTH = ("peer", "pod")
FAULTS = (
    Fault(
        "forward_dropped", 57, "netfilter", "the node's FORWARD chain drops by policy, as Docker sets it",
        "nft add chain ip docker-like forward '{ type filter hook forward priority 0; policy drop; }'",
        _forward_drop, FAR, requires=_ACROSS, parameters=_BOTH,
    ),
    Fault(
        "pod_snat", 58, "netfilter", "pods reach other pods, but as somebody else: their address is masqueraded",
        "nft add rule ip masq-all postrouting ip saddr 10.244.0.0/24 oifname != cni0 masquerade", _snat,
        Symptom("fetch", "pod", "peer", frozenset({"nat"})), requires=(*_ACROSS, requirements.BRIDGE), parameters=_BOTH,
    ),
    Fault(
        "agent_blocked", 59, "netfilter", "the node cannot reach its own pods: probes of its agents fail",
        "nft add rule inet hostfw-out output oifname cni0 drop", _no_agent, AGENT,
        requires=(requirements.BRIDGE, requirements.POD, requirements.NFT), parameters=("pod",),
    ),
    Fault(
        "pod_firewall", 60, "netfilter", "a rule inside a pod drops all that comes",
        "ip netns exec pod-a nft add rule inet app input iifname eth0 drop", _pod_firewall, AGENT,
        requires=(requirements.POD, requirements.NFT), parameters=("pod",),
    ),
    Fault(
        "policy_not_enforced", 61, "netfilter", "a policy denies a pod's ingress, but is not enforced",
        "kubectl apply -f deny.yml    # with a plugin that knows no policies", _unenforced,
        Symptom("fetch", "node", "pod", frozenset({"ok"})), requires=(requirements.POD,), parameters=("pod",),
    ),
    Fault(
        "policy_stale", 62, "netfilter", "a deny outlived its policy",
        "nft add rule ip kube-policies forward ip daddr 10.244.0.2 drop", _stale, FAR,
        requires=_ACROSS, parameters=_BOTH,
    ),
    Fault(
        "cidr_overlap", 63, "netfilter", "the node's network overlaps part of the peer's pod CIDR",
        "ip addr add 10.244.1.126/25 dev eth0", _overlap, FAR,
        requires=(requirements.IPV4, requirements.PEER, requirements.POD), parameters=_BOTH,
    ),
    Fault(
        "host_port_clash", 64, "netfilter", "another process has the port of a hostNetwork pod",
        "kill the pod's server; nc -lk 9100", _clash, _STOLEN,
        requires=(requirements.HOST_NETWORK_POD,), parameters=("pod",),
    ),
)  # fmt: skip
