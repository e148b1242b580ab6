"""The catalogue: every fault by its name, in the field's order. One file a layer."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Dict

from ...errors import FaultError
from ..fault import Fault
from . import bridge, cni, ipam, limits, netfilter, routing, sysctl, underlay, vxlan

_FILES = (cni, ipam, bridge, routing, vxlan, underlay, sysctl, netfilter, limits)
CATALOGUE: Dict[str, Fault] = {
    fault.name: fault
    for fault in sorted((each for file in _FILES for each in file.FAULTS), key=lambda each: each.number)
}


def named(name: str) -> Fault:
    """The fault of a name. FaultError with the nearest names."""
    if name in CATALOGUE:
        return CATALOGUE[name]
    raise FaultError(f"failed to find fault {name!r}: {suggestion(name)}")


def suggestion(name: str) -> str:
    """What a name that is none may have meant."""
    near = get_close_matches(name, CATALOGUE, n=3, cutoff=0.5)
    near += [each for each in CATALOGUE if name and name in each and each not in near][: 3 - len(near)]
    listing = "-e fault=list has them all"
    return f"did you mean {' or '.join(near)}? {listing}" if near else f"there is no such fault; {listing}"
