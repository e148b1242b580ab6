"""docs/FAULTS.md, written from the catalogue (``./run test --regenerate tests/unit/test_faults.py``)."""

from __future__ import annotations

from typing import List

from .catalogue import CATALOGUE
from .fault import LAYERS, Fault
from .probes import NAMES
from .symptom import PODS_MTU

_HEAD = """# Faults

    ./run break -e fault=list                                            # which of these there can be here
    ./run break -e fault=vxlan_fdb_missing -e node=node-1 -e peer=node-2
    ./run break -e fault=vxlan_fdb_missing -e node=node-1 --check --diff # what would be done
    ./run mend                                                           # all of it; or -e node=…, -e fault=…

A fault stands on one **node**; `peer` is the other node of those that have one (default: the next in the inventory),
`pod` a pod on the node (default: the first). What is to be undone is on the node's disk (`/var/lib/podwire/faults`)
before anything is touched, so `./run mend` works after a crash at any moment, also of the controller. A fault is held
to its word twice: the kernel has to show it, and traffic has to suffer as the last column says; else it is undone, and
the run fails. Faults that reach every network of the machine need `-e host_wide=true`; on top of other troubles, which
hide its own symptom, a fault needs `-e blind=true`.

Columns: the name, and what it takes; the number in the catalogue of faults that this one grew from (68 and above are
podwire's own); what is wrong; how a person would do it in the default lab; how it shows.
[Scenarios](scenarios/README.md) are seven of them to follow step by step.

This file is generated from `podwire/faults/catalogue`.
"""
#: Layers as people call them.
TITLES = {
    "cni": "CNI: configuration and plugins",
    "ipam": "Addresses",
    "bridge": "Pods' devices and the bridge",
    "routing": "Routes and rules",
    "vxlan": "VXLAN",
    "underlay": "Underlay",
    "sysctl": "Sysctls",
    "netfilter": "Firewalls and policies",
    "limits": "Limits and leftovers",
}
_ENDS = {
    "pod": "the pod",
    "sibling": "another pod of the node",
    "node": "the node",
    "peer": "a pod on the peer",
    "vtep": "the peer's VTEP",
    "host pod": "the hostNetwork pod",
    "free": "an address that nobody holds",
}


def markdown() -> str:
    """The whole file."""
    lines: List[str] = [_HEAD]
    for layer in LAYERS:
        lines += [
            f"## {TITLES[layer]}",
            "",
            "| fault | # | what is wrong | by hand | shows |",
            "|---|---|---|---|---|",
        ]
        lines += [_row(fault) for fault in CATALOGUE.values() if fault.layer == layer] + [""]
    return "\n".join(lines)


def _row(fault: Fault) -> str:
    takes = "".join(f" `{parameter}`" for parameter in sorted(fault.parameters)) + (
        " `host_wide`" if fault.host_wide else ""
    )
    command = fault.command.replace("|", "\\|")
    return f"| `{fault.name}`{takes} | {fault.number} | {fault.title} | `{command}` | {shows(fault)} |"


def shows(fault: Fault) -> str:
    """How a fault shows, in words."""
    symptom = fault.symptom
    if symptom is None:
        return fault.quiet
    words = " or ".join(sorted(symptom.after))
    if symptom.probe in ("add", "flannel"):
        return f"{NAMES[symptom.probe]}: {words}"
    size = "" if not symptom.size else " of the pods' MTU" if symptom.size == PODS_MTU else f" of {symptom.size} bytes"
    way = f"from {_ENDS[symptom.source]} to {_ENDS[symptom.target]}"
    return f"{NAMES[symptom.probe]}{size} {way}: {words}"
