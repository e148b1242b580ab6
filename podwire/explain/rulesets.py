"""Firewalls' rules as nft's JSON has them, of a node and of namespaces, and what they counted."""

from __future__ import annotations

import json
import subprocess
from contextlib import suppress
from typing import Any, Dict, List, Mapping, Sequence, Set

from ..errors import KernelError, PodwireError, UnsupportedError
from ..kernel import Namespace
from ..kernel.nftables.masquerade import GETTABLE, NFTA_TABLE_NAME
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
    with namespace.entered():
        for read in (_by_nft, lambda _: iptables.rulesets("legacy")):
            try:
                found += read(namespace)
            except PodwireError as error:
                cannot += [error.message] if error.message not in cannot else []
    return found


def tables(namespace: Namespace) -> Set[str]:
    """Names of nf_tables' tables of all families; none where the kernel has no nf_tables."""
    try:
        with namespace.open_nftables(0) as socket:
            found = socket.read(GETTABLE)
    except KernelError:
        return set()
    return {each.get(NFTA_TABLE_NAME, b"").rstrip(b"\0").decode(errors="replace") for each in found}


def _by_nft(namespace: Namespace) -> List[Any]:
    if tables(namespace) <= set(OURS):
        return []
    try:
        done = subprocess.run(("nft", "-j", "list", "ruleset"), capture_output=True, text=True, check=False)
    except FileNotFoundError:
        try:
            return iptables.rulesets("nft")
        except PodwireError as error:
            cause = "neither nft nor iptables-nft is installed on the node"
            raise UnsupportedError(f"failed to read nftables' rules: {cause}") from error
    if done.returncode:
        raise KernelError(f"failed to read nftables' rules: {done.stderr.strip()}")
    rules: List[Any] = json.loads(done.stdout)["nftables"]
    return rules


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
