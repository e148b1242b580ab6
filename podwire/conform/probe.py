"""What this kernel and machine can do, found out by trying on a throw-away node."""

from __future__ import annotations

from typing import Dict, Tuple

from ..errors import LabError
from .tools import run

#: Feature: what people call it, and the commands that need it.
_PROBES: Dict[str, Tuple[str, Tuple[str, ...]]] = {
    "vlan-filtering": ("VLAN filtering of bridges", ("ip link add probe0 type bridge vlan_filtering 1",)),
    "tbf": (
        "the tbf queueing discipline",
        ("ip link add probe1 type bridge", "tc qdisc add dev probe1 root tbf rate 1mbit burst 9k limit 9k"),
    ),
    "ifb": ("ifb links", ("ip link add probe2 type ifb",)),
    "iptables": (
        "iptables with masquerade and comments",
        ("iptables -t nat -A POSTROUTING -m comment --comment probe -j MASQUERADE",),
    ),
    "nftables": (
        "nftables with masquerade",
        (
            "nft add table ip probe",
            "nft add chain ip probe post { type nat hook postrouting priority 100 ; }",
            "nft add rule ip probe post masquerade",
        ),
    ),
}


def lacking() -> Dict[str, str]:
    """Feature to the reason why it cannot be used here; nothing for features that work."""
    found = {}
    for name, (words, commands) in _PROBES.items():
        try:
            for command in commands:
                run(*command.split())
        except LabError as error:
            cause = "not installed" if "not installed" in error.message else "not in this kernel"
            found[name] = f"{words}: {cause}"
    return found
