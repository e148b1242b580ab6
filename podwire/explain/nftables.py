"""nftables' rules as hypotheses want them: of every chain that packets come to, with what they match."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Set, Tuple

from ..model.command import Command, command
from .evidence import NodeView
from .iptables import FAMILIES

#: Tables of podwire's own (backend/common.py, cni/plugins/owned.py).
OURS = ("podwire", "podwire-cni", "podwire-looks")
ENDS = ("drop", "reject")
_Chain = Tuple[str, str, str]


class Rule(NamedTuple):
    """A rule with its chain, whose ``hook`` is that of the base chain that packets come from, by jumps if need be.

    matches: ``left`` -> value, such as ``udp dport`` -> 8472, of the rule and of the jumps that lead to it.
    hits:    packets that it counted or was told to have dropped while probes ran; None where nobody counts.
    spec:    its words, where it was read by iptables.
    """

    family: str
    table: str
    chain: Mapping[str, Any]
    handle: int
    comment: str
    matches: Dict[str, Any]
    verdict: str
    hits: Optional[int]
    spec: Tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """Family, table and chain, as nft wants them."""
        return f"{self.family} {self.table} {self.chain['name']}"

    @property
    def object(self) -> str:
        """The table, as podwire prints it."""
        return table(self.family, self.table)

    @property
    def fix(self) -> Command:
        """The command that takes it away."""
        if self.spec:
            return command("{} -t {} -D", self.family, self.table, more=self.spec)
        chain = self.family, self.table, self.chain["name"]
        return command("nft delete rule {} {} {} handle {}", *chain, self.handle)

    def told(self) -> List[str]:
        """Evidence: expected against found."""
        words = " ".join(f"{key} {value}" for key, value in self.matches.items())
        return [
            "expected: no such rule",
            f"found: handle {self.handle} of {self.where}: {words} {self.verdict}".strip(),
            *([f"packets that it counted while probes ran: {self.hits}"] if self.hits else []),
        ]


def table(family: str, name: str) -> str:
    """A table as podwire prints it."""
    return f"{family} table {name}" if family in FAMILIES.values() else f"nftables table {family} {name}"


def rules(node: NodeView, place: str, ruleset: List[Any]) -> Iterator[Rule]:
    """Rules of others that packets can come to, once for each hook. ``place``: a pod, "" for the node."""
    chains = {_chain(each["chain"], "name"): each["chain"] for each in ruleset if "chain" in each}
    listed = [each["rule"] for each in ruleset if "rule" in each]
    callers: Dict[_Chain, List[Any]] = {}
    for rule in listed:
        for word, target in _ends(rule, ruleset):
            if word in ("jump", "goto"):
                callers.setdefault((rule["family"], rule["table"], target), []).append(rule)
    for rule in listed:
        if rule["table"] in OURS:
            continue
        verdict = next((w for part in rule["expr"] for w in _VERDICTS if w == _target(part) or w in part), "")
        name = f"{place}/{rule['family']} {rule['table']} {rule['chain']} {rule['handle']}"
        for hook, matches in _ways(_chain(rule, "chain"), chains, callers, set()).items():
            chain = {**chains[_chain(rule, "chain")], "hook": hook}
            yield Rule(
                rule["family"], rule["table"], chain, rule["handle"], rule.get("comment", ""),
                {**matches, **_matches(rule)}, verdict, node.told["hits"].get(name), tuple(rule.get("spec", ())),
            )  # fmt: skip


_VERDICTS = (*ENDS, "masquerade", "snat", "dnat", "mangle")


def _target(part: Mapping[str, Any]) -> str:
    """What nft has no words for in iptables-nft's rules, and ends them with: ``reject``, ``masquerade``."""
    told = part.get("xt") or {}
    return str(told.get("name", "")).lower() if told.get("type") == "target" else ""


def accepts(ruleset: List[Any], chain: Mapping[str, Any]) -> bool:
    """Whether a rule accepts anything, of a chain or of those that it jumps to."""
    listed = [each["rule"] for each in ruleset if "rule" in each]
    left, seen = [_chain(chain, "name")], set()
    while left:
        here = left.pop()
        seen.add(here)
        for word, target in (end for rule in listed if _chain(rule, "chain") == here for end in _ends(rule, ruleset)):
            if word == "accept":
                return True
            there = (*here[:2], target)
            left += [there] if word in ("jump", "goto") and there not in seen else []
    return False


def _ends(rule: Mapping[str, Any], ruleset: List[Any]) -> Iterator[Tuple[str, str]]:
    """Where packets may go from a rule: a verdict, and the chain it leads to; those of a map as well."""
    for part in rule["expr"]:
        yield from _end(part)
        data = part["vmap"].get("data") if isinstance(part.get("vmap"), dict) else None
        if isinstance(data, str):
            named = (each["map"] for each in ruleset if "map" in each)
            own = [each for each in named if f"@{each['name']}" == data and each["table"] == rule["table"]]
            data = {"set": [row for each in own for row in each.get("elem", [])]}
        for row in data.get("set", []) if isinstance(data, dict) else []:
            if isinstance(row, list) and isinstance(row[-1], dict):
                yield from _end(row[-1])


def _end(part: Mapping[str, Any]) -> Iterator[Tuple[str, str]]:
    for word, told in part.items():
        if word in ("accept", "jump", "goto"):
            yield word, told["target"] if told else ""


def _chain(each: Mapping[str, Any], key: str) -> _Chain:
    return each["family"], each["table"], each[key]


def _ways(
    chain: _Chain, chains: Mapping[_Chain, Any], callers: Mapping[_Chain, List[Any]], seen: Set[_Chain]
) -> Dict[str, Dict[str, Any]]:
    """Hook -> what packets from there match before they come to a chain, by the first way."""
    if "hook" in chains[chain]:
        return {chains[chain]["hook"]: {}}
    found: Dict[str, Dict[str, Any]] = {}
    for rule in callers.get(chain, ()) if chain not in seen else ():
        seen.add(chain)
        for hook, matches in _ways(_chain(rule, "chain"), chains, callers, seen).items():
            found.setdefault(hook, {**matches, **_matches(rule)})
    return found


def _matches(rule: Mapping[str, Any]) -> Dict[str, Any]:
    found = {}
    for match in (part["match"] for part in rule["expr"] if "match" in part):
        op = "" if match["op"] in ("==", "in") else f" {match['op']}"
        found[_left(match["left"]) + op] = _right(match["right"])
    return found


def _left(left: Any) -> str:
    if "payload" in left:
        return f"{left['payload'].get('protocol', '')} {left['payload'].get('field', '')}"
    if "meta" in left:
        return str(left["meta"]["key"])
    if "ct" in left:
        return f"ct {left['ct']['key']}"
    return str(next(iter(left), ""))


def _right(right: Any) -> Any:
    if isinstance(right, dict) and "prefix" in right:
        return f"{right['prefix']['addr']}/{right['prefix']['len']}"
    return right
