"""docs/FAULTS.md, written from the catalogue (``./run test --regenerate tests/unit/test_faults.py``)."""

from __future__ import annotations

from typing import List

from .catalogue import CATALOGUE
from .fault import LAYERS, Fault
from .probes import NAMES
from .symptom import PODS_MTU

_HEAD = """# Faults

    ./run break -e fault=list                                            # the faults that are possible here
    ./run break -e fault=vxlan_fdb_missing -e node=node-1 -e peer=node-2
    ./run break -e fault=vxlan_fdb_missing -e node=node-1 --check --diff # what would change
    ./run mend                                                           # repair all; or -e node=…, -e fault=…

A fault is injected on one **node**. Some faults take a `peer`, the other node (default: the next in the inventory), or
a `pod` on the node (default: the first). Before anything changes, a journal with the original state is written to the
node's disk (`/var/lib/podwire/faults`), so `./run mend` works after a crash at any moment, also of the controller. An
injection is verified twice: the kernel must show it, and traffic must show the symptom in the last column; else it is
reverted, and the run fails. Faults that affect all networks of the machine need `-e host_wide=true`. If other failures
hide a fault's symptom, it needs `-e blind=true`.

Columns: name and options; number in the catalogue that this one is based on (68 and above are podwire's own);
fault; manual command in the default lab; symptom.
[Scenarios](scenarios/README.md) are tutorials for seven of them.

This file is generated from `podwire/faults/catalogue`.
"""
#: Titles of layers.
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
    "free": "an unused address",
}


def markdown() -> str:
    """The whole file."""
    lines: List[str] = [_HEAD]
    for layer in LAYERS:
        lines += [
            f"## {TITLES[layer]}",
            "",
            "| name | # | fault | manual command | symptom |",
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
    """The symptom of a fault, as text."""
    symptom = fault.symptom
    if symptom is None:
        return fault.quiet
    words = " or ".join(sorted(symptom.after))
    if symptom.probe in ("add", "flannel"):
        return f"{NAMES[symptom.probe]}: {words}"
    size = "" if not symptom.size else " of the pods' MTU" if symptom.size == PODS_MTU else f" of {symptom.size} bytes"
    way = f"from {_ENDS[symptom.source]} to {_ENDS[symptom.target]}"
    return f"{NAMES[symptom.probe]}{size} {way}: {words}"
