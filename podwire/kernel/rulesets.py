"""nftables' tables as nft has them: for what podwire reads of others, and breaks on purpose."""

from __future__ import annotations

import json
from typing import Any, List, Set

from ..errors import KernelError
from .commands import run
from .namespaces import Namespace
from .nftables.masquerade import GETTABLE, NFTA_TABLE_NAME


def nft_tables(namespace: Namespace) -> Set[str]:
    """Names of the tables of all families; none where the kernel has no nf_tables."""
    try:
        with namespace.open_nftables(0) as socket:
            names = socket.read(GETTABLE)
    except KernelError:
        return set()
    return {row.get(NFTA_TABLE_NAME, b"").rstrip(b"\0").decode(errors="replace") for row in names}


def nft_ruleset(namespace: Namespace) -> List[Any]:
    """All of nftables' objects as ``nft -j`` has them."""
    rules: List[Any] = json.loads(run(namespace, ("nft", "-j", "list", "ruleset")))["nftables"]
    return rules


def nft_table(namespace: Namespace, family: str, name: str) -> str | None:
    """A table as text; None if it is not there."""
    wanted = {"family": family, "name": name}
    listed = json.loads(run(namespace, ("nft", "-j", "list", "tables")))["nftables"]
    if not any(wanted.items() <= row.get("table", {}).items() for row in listed):
        return None
    return run(namespace, ("nft", "list", "table", family, name))


def replace_nft_table(namespace: Namespace, family: str, name: str, text: str) -> None:
    """Make a table what ``text`` says, in one transaction; "" removes it."""
    fresh = f"table {family} {name}\ndelete table {family} {name}\n"  # made (a no-op if it is there) and removed
    run(namespace, ("nft", "-f", "-"), fresh + text)
