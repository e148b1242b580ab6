"""``checks``: what the inventory's author wants tried beside the guarantees."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from ..cluster import Check, Node, Pod
from .field import Field

PROTOCOLS = ("tcp", "udp", "icmp")
EXPECTATIONS = ("reachable", "denied", "refused")
DEFAULT_WITHIN = 5
_KEYS = ("name", "from", "to", "port", "protocol", "expect", "mtu", "within")
_EXAMPLE = "[{from: pod-a, to: pod-b, port: 8080, expect: reachable}]"


def read_checks(
    variable: Optional[Field], pods: Sequence[Pod], nodes: Sequence[Node], known: bool
) -> Tuple[Check, ...]:
    """Every check that makes sense. Without ``known`` the pods are found later, and so are their names' slips."""
    if variable is None:
        return ()
    ends: Dict[str, object] = {**{node.name: node for node in nodes}, **{pod.name: pod for pod in pods}}
    checks: List[Check] = []
    for item in variable.items(_EXAMPLE):
        if not isinstance(item.value, Mapping):
            item.fail("not a check", f"write mappings, e.g. {_EXAMPLE}")
            continue
        check = _read(item, ends, known)
        if check is not None:
            checks.append(check)
    return tuple(checks)


def _read(item: Field, ends: Mapping[str, object], known: bool) -> Optional[Check]:
    fields = item.mapping(_KEYS)
    for key in ("from", "to"):
        if key not in fields:
            item.fail(f"has no {key}", f"write e.g. {_EXAMPLE}")
    if "from" not in fields or "to" not in fields:
        return None
    source, target = fields["from"].text("pod-a"), fields["to"].text("pod-b")
    if source is None or target is None:
        return None
    _end(fields["from"], source, ends, known, address=False)
    _end(fields["to"], target, ends, known, address=True)
    protocol = fields["protocol"].choice(PROTOCOLS, "tcp") if "protocol" in fields else "tcp"
    expect = fields["expect"].choice(EXPECTATIONS, "reachable") if "expect" in fields else "reachable"
    port = _port(item, fields, protocol, ends.get(target))
    mtu = (fields["mtu"].integer(68, 65535, 1450) or 0) if "mtu" in fields else 0
    if mtu and expect != "reachable":
        fields["mtu"].fail(f"nothing can be measured where {expect} is expected", "leave it out")
    if protocol == "icmp" and expect == "refused":
        fields["expect"].fail("nobody refuses an echo", "write reachable or denied")
    within = fields["within"].integer(0, 600, DEFAULT_WITHIN) if "within" in fields else None
    name = fields["name"].text("web to database") if "name" in fields else None
    default = f"{source} to {target}{f':{port}' if port else ''} by {protocol}"
    return Check(
        name or default, source, target, protocol, port, expect, mtu, DEFAULT_WITHIN if within is None else within
    )


def _end(variable: Field, text: str, ends: Mapping[str, object], known: bool, address: bool) -> None:
    if text in ends or not known:
        return
    if address:
        try:
            ip_address(text)
        except ValueError:
            variable.fail("neither a pod, a node nor an address", "write a declared name, or e.g. 192.0.2.1")
        return
    variable.fail(
        "neither a pod nor a node", f"declared are {', '.join(list(ends)[:4])}{', ...' if len(ends) > 4 else ''}"
    )


def _port(item: Field, fields: Mapping[str, Field], protocol: str, target: object) -> int:
    if protocol == "icmp":
        if "port" in fields:
            fields["port"].fail("an echo has no port", "leave it out, or write protocol: tcp")
        return 0
    if "port" in fields:
        return fields["port"].integer(1, 65535, 8080) or 0
    if isinstance(target, Pod):
        return target.port
    item.fail("has no port", "add the port that is tried, e.g. port: 443")
    return 0
