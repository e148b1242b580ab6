"""What this kernel and machine can do, found out by trying in a throw-away node."""

from __future__ import annotations

from typing import Callable, Dict, Tuple

from ..errors import LabError
from .tools import find, ip, run


def _links(*lines: str) -> Callable[[], None]:
    return lambda: void(ip(*lines))


def void(_: object) -> None:
    """For its effect."""


def _iptables() -> None:
    run("iptables", "-t", "nat", "-A", "POSTROUTING", "-m", "comment", "--comment", "probe", "-j", "MASQUERADE")


_NFT = """add table ip probe
add chain ip probe post { type nat hook postrouting priority 100; }
add rule ip probe post masquerade
"""
_PROBES: Dict[str, Tuple[str, Callable[[], None]]] = {
    "veth": ("veth links", _links("link add probe0 type veth peer name probe1")),
    "bridge": ("bridges", _links("link add probe2 type bridge")),
    "vlan-filtering": ("VLAN filtering of bridges", _links("link add probe3 type bridge vlan_filtering 1")),
    "vlan": (
        "VLAN links (8021q)",
        _links("link add probe4 type bridge", "link add link probe4 name p4.5 type vlan id 5"),
    ),
    "tbf": (
        "the tbf queueing discipline",
        lambda: void(
            (
                ip("link add probe5 type bridge"),
                run(
                    "tc", "qdisc", "add", "dev", "probe5", "root", "tbf", "rate", "1mbit", "burst", "9k", "limit", "9k"
                ),
            )
        ),
    ),
    "ifb": ("ifb links", _links("link add probe6 type ifb")),
    "iptables": ("iptables with masquerade and comments", _iptables),
    "nftables": ("nftables with masquerade", lambda: void(run("nft", "-f", "-", stdin=_NFT))),
}


def lacking() -> Dict[str, str]:
    """Feature to the reason why it cannot be used here; nothing for features that work."""
    found = {}
    for name, (words, attempt) in _PROBES.items():
        try:
            attempt()
        except LabError as error:
            cause = "not installed" if "not installed" in error.message else "not in this kernel"
            found[name] = f"{words}: {cause}"
    if not find("sh"):
        found["sh"] = "a shell: not installed"
    return found
