"""Firewalls' rules as nft's JSON has them, of a node and of namespaces, and what they counted."""

from __future__ import annotations

from contextlib import suppress
from typing import Dict, List, Mapping

from ..errors import KernelError, PodwireError, UnsupportedError
from ..kernel import Namespace
from ..kernel.rulesets import nft_ruleset, nft_tables
from . import iptables
from .nftables import OURS, rule_id
from .records import RuleId, Ruleset


def read(here: Namespace, paths: Mapping[str, str], cannot: List[str]) -> Dict[str, Ruleset]:
    """Name -> ``[{"chain": …}, {"rule": …}]``, of the node ("") and of the namespaces at ``paths`` that have any.
    ``cannot`` gets what is there and was not read."""
    rulesets = {"": _ruleset(here, cannot)}
    for name, path in paths.items():
        with suppress(KernelError), Namespace.open(path, name) as inside:
            rulesets[name] = _ruleset(inside, cannot)
    return {name: ruleset for name, ruleset in rulesets.items() if ruleset}


def _ruleset(namespace: Namespace, cannot: List[str]) -> Ruleset:
    """nft's JSON, and the same of iptables-legacy. Most pods have no table, and most nodes only podwire's
    own: then nft is not run."""
    ruleset: Ruleset = []
    for read in (_by_nft, lambda inside: inside.call(iptables.rulesets, "legacy")):
        try:
            ruleset += read(namespace)
        except PodwireError as error:
            cannot += [error.message] if error.message not in cannot else []
    return ruleset


def _by_nft(namespace: Namespace) -> Ruleset:
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


def counted(rulesets: Mapping[str, Ruleset]) -> Dict[RuleId, int]:
    """Packets of each rule that has a counter."""
    packets = {}
    for place, ruleset in rulesets.items():
        for rule in (item["rule"] for item in ruleset if "rule" in item):
            for part in rule["expr"]:
                if isinstance(part.get("counter"), dict):
                    packets[rule_id(place, rule)] = int(part["counter"]["packets"])
    return packets
