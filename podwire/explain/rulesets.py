"""Firewalls' rules as nft's JSON has them, of a node and of namespaces, and what they counted."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Dict, List, Mapping, Sequence

from ..errors import KernelError, PodwireError, UnsupportedError
from ..kernel import Namespace
from ..kernel.rulesets import nft_ruleset, nft_tables
from . import iptables
from .nftables import OURS


def read(here: Namespace, paths: Mapping[str, str], cannot: List[str]) -> Dict[str, Any]:
    """Name -> ``[{"chain": …}, {"rule": …}]``, of the node ("") and of the namespaces at ``paths`` that have any.
    ``cannot`` gets what is there and was not read."""
    found = {"": _ruleset(here, cannot)}
    for name, path in paths.items():
        with suppress(KernelError), Namespace.open(path, name) as inside:
            found[name] = _ruleset(inside, cannot)
    return {name: ruleset for name, ruleset in found.items() if ruleset}


def _ruleset(namespace: Namespace, cannot: List[str]) -> List[Any]:
    """nft's JSON, and the same of iptables-legacy. Most pods have no table, and most nodes only podwire's
    own: then nobody need ask."""
    found: List[Any] = []
    for read in (_by_nft, lambda inside: inside.call(iptables.rulesets, "legacy")):
        try:
            found += read(namespace)
        except PodwireError as error:
            cannot += [error.message] if error.message not in cannot else []
    return found


def _by_nft(namespace: Namespace) -> List[Any]:
    if nft_tables(namespace) <= set(OURS):
        return []
    try:
        return nft_ruleset(namespace)
    except UnsupportedError:
        try:
            return namespace.call(iptables.rulesets, "nft")
        except PodwireError as error:
            cause = "neither nft nor iptables-nft is installed on the node"
            raise UnsupportedError(f"failed to read nftables' rules: {cause}") from error


def counted(rulesets: Mapping[str, Sequence[Any]]) -> Dict[str, int]:
    """``place/family table chain handle`` -> packets."""
    found = {}
    for place, ruleset in rulesets.items():
        for rule in (each["rule"] for each in ruleset if "rule" in each):
            for part in rule["expr"]:
                if isinstance(part.get("counter"), dict):
                    name = f"{place}/{rule['family']} {rule['table']} {rule['chain']} {rule['handle']}"
                    found[name] = int(part["counter"]["packets"])
    return found
