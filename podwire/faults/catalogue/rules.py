"""nftables tables of one chain or two, as whoever makes a fault would write them."""

from __future__ import annotations

from ..edit import SetResource
from ..kernel_resources import NftTable
from ..places import NODE


def table(family: str, name: str, *chains: str, place: str = NODE) -> SetResource:
    """A table that comes."""
    return SetResource(place, NftTable(family, name), "\n".join([f"table {family} {name} {{", *chains, "}", ""]))


def chain(hook: str, rule: str, *, policy: str = "accept", kind: str = "filter", priority: int = 0) -> str:
    """A base chain with one rule, called as its hook."""
    return f"chain {hook} {{\ntype {kind} hook {hook} priority {priority}; policy {policy};\n{rule}\n}}"
