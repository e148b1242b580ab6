"""Names: the variables that podwire reads, what a name may look like, and what a misspelt one meant."""

from __future__ import annotations

import re
from functools import cache
from typing import Iterable, Optional

#: Variables that describe the whole cluster: the same on every host.
CLUSTER_VARIABLES = (
    "cluster_cidrs",
    "service_cidrs",
    "node_prefix_length",
    "backend",
    "masquerade",
    "cni",
    "pods",
    "underlay",
    "checks",
    "faults",
)
#: What break.yml and mend.yml take from the command line; nobody's inventory has them.
COMMAND_VARIABLES = ("fault", "node", "peer", "pod", "host_wide", "blind")
#: Variables that describe one host.
NODE_VARIABLES = (
    "node_kind",
    "node_pods",
    "node_pod_cidrs",
    "node_segment",
    "node_address",
    "node_addresses",
    "node_public_ip",
    "node_public_ips",
    "node_interface",
    "node_interface_regex",
    "node_interface_cidr",
    "node_mtu",
)
_KNOWN = frozenset(CLUSTER_VARIABLES + NODE_VARIABLES)

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOSTNAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_SEGMENT = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,9}[a-z0-9])?")
_NETWORK = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*")


def is_hostname(name: str) -> bool:
    """RFC 1123 section 2.1, and short enough for sethostname(2) (64 bytes with the final zero)."""
    return len(name) <= 63 and _HOSTNAME.fullmatch(name) is not None


def is_segment(name: str) -> bool:
    """A segment's name ends up in device names (15 bytes), after a prefix of the lab's."""
    return _SEGMENT.fullmatch(name) is not None


def is_network(name: str) -> bool:
    """The name of a CNI network, CNI spec 1.1.0 "Network configuration format"; it is a file name too."""
    return len(name) <= 200 and _NETWORK.fullmatch(name) is not None


def distance(one: str, other: str) -> int:
    """Levenshtein distance."""
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        diagonal, row[0] = row[0], i
        for j, other_letter in enumerate(other, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (letter != other_letter))
    return row[-1]


def meant(name: str, known: Iterable[str]) -> Optional[str]:
    """The known name that a misspelt one most likely stands for."""
    best = min(known, key=lambda candidate: distance(name, candidate), default=None)
    return best if best is not None and distance(name, best) <= max(2, len(name) // 3) else None


@cache
def misspelt(variable: str) -> Optional[str]:
    """Why a host's variable cannot be the user's own, or None if it can be.

    Everything that starts with ``node_`` is podwire's; so is what is nearly one of its variables.
    Short names are near to too much: ``ports`` is two edits from ``pods`` and surely the user's.
    """
    if variable in _KNOWN or variable.startswith("ansible_"):
        return None
    near = meant(variable, sorted(_KNOWN))
    if not variable.startswith("node_") and (near is None or distance(variable, near) > min(2, len(near) // 4)):
        return None
    return f"did you mean {near}?" if near else f"the variables of a host are {', '.join(NODE_VARIABLES)}"
