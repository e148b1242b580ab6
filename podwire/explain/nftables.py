"""nftables' rules as hypotheses want them: of every chain that packets come to, with what they match."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Set, Tuple

from ..model.command import Command, command
from .iptables import FAMILIES
from .records import ChainRow, Expression, NftRuleRow, RuleId, Ruleset

#: Tables of podwire's own (backend/common.py, cni/plugins/owned.py).
OURS = ("podwire", "podwire-cni", "podwire-looks")
ENDS = ("drop", "reject")
_VERDICTS = (*ENDS, "masquerade", "snat", "dnat", "mangle")
_Chain = Tuple[str, str, str]
#: What a rule matches: ``udp dport`` -> 8472. Values are nft's own: a text, a number, a set, …
Matches = Dict[str, Any]


class Rule(NamedTuple):
    """A rule with its chain, whose ``hook`` is that of the base chain that packets come from, by jumps if need be.

    matches: of the rule and of the jumps that lead to it.
    hits:    packets that it counted or was traced to have dropped while probes ran; None where there is no counter.
    spec:    its words, where it was read by iptables.
    """

    family: str
    table: str
    chain: ChainRow
    handle: int
    comment: str
    matches: Matches
    verdict: str
    hits: Optional[int]
    spec: Tuple[str, ...] = ()
    place: str = ""

    @property
    def where(self) -> str:
        """Family, table and chain."""
        return f"{self.family} {self.table} {self.chain['name']}"

    @property
    def id(self) -> RuleId:
        """What counters and traces call it."""
        return RuleId(self.place, self.where, self.handle)

    @property
    def object(self) -> str:
        """The table, as podwire prints it."""
        return table(self.family, self.table)

    @property
    def fix(self) -> Command:
        """The command that removes it."""
        if self.spec:
            return command("{} -t {} -D", self.family, self.table, more=self.spec)
        chain = self.family, self.table, self.chain["name"]
        return command("nft delete rule {} {} {} handle {}", *chain, self.handle)

    def evidence(self) -> List[str]:
        """Expected against found."""
        words = " ".join(f"{key} {value}" for key, value in self.matches.items())
        return [
            "expected: no such rule",
            f"found: handle {self.handle} of {self.where}: {words} {self.verdict}".strip(),
            *([f"packets that it counted while probes ran: {self.hits}"] if self.hits else []),
        ]


def table(family: str, name: str) -> str:
    """A table as podwire prints it."""
    return f"{family} table {name}" if family in FAMILIES.values() else f"nftables table {family} {name}"


def rule_id(place: str, rule: NftRuleRow) -> RuleId:
    """What counters and traces call a rule. ``place``: a pod, "" for the node."""
    return RuleId(place, " ".join(_chain_of(rule)), rule["handle"])


def rules(hits: Mapping[RuleId, int], place: str, ruleset: Ruleset) -> Iterator[Rule]:
    """Rules of others that packets can come to, once for each hook. ``place``: a pod, "" for the node."""
    chains = {_key(item["chain"]): item["chain"] for item in ruleset if "chain" in item}
    listed = [item["rule"] for item in ruleset if "rule" in item]
    callers: Dict[_Chain, List[NftRuleRow]] = {}
    for rule in listed:
        for word, target in _ends(rule, ruleset):
            if word in ("jump", "goto"):
                callers.setdefault((rule["family"], rule["table"], target), []).append(rule)
    for rule in listed:
        if rule["table"] in OURS:
            continue
        verdict = next((w for part in rule["expr"] for w in _VERDICTS if w == _target(part) or w in part), "")
        for hook, matches in _hooks(_chain_of(rule), chains, callers, set()).items():
            chain: ChainRow = {**chains[_chain_of(rule)], "hook": hook}
            yield Rule(
                rule["family"], rule["table"], chain, rule["handle"], rule.get("comment", ""),
                {**matches, **_matches(rule)}, verdict, hits.get(rule_id(place, rule)), tuple(rule.get("spec", ())),
                place,
            )  # fmt: skip


def _target(part: Expression) -> str:
    """What nft has no words for in iptables-nft's rules, and ends them with: ``reject``, ``masquerade``."""
    extension = part.get("xt") or {}
    return str(extension.get("name", "")).lower() if extension.get("type") == "target" else ""


def accepts(ruleset: Ruleset, chain: ChainRow) -> bool:
    """Whether a rule accepts anything, of a chain or of those that it jumps to."""
    listed = [item["rule"] for item in ruleset if "rule" in item]
    left, visited = [_key(chain)], set()
    while left:
        current = left.pop()
        visited.add(current)
        for word, target in (end for rule in listed if _chain_of(rule) == current for end in _ends(rule, ruleset)):
            if word == "accept":
                return True
            following = (*current[:2], target)
            left += [following] if word in ("jump", "goto") and following not in visited else []
    return False


def _ends(rule: NftRuleRow, ruleset: Ruleset) -> Iterator[Tuple[str, str]]:
    """Where packets may go from a rule: a verdict, and the chain it leads to; those of a map as well."""
    for part in rule["expr"]:
        yield from _end(part)
        data = part["vmap"].get("data") if isinstance(part.get("vmap"), dict) else None
        if isinstance(data, str):
            named = (item["map"] for item in ruleset if "map" in item)
            maps = [row for row in named if f"@{row['name']}" == data and row["table"] == rule["table"]]
            data = {"set": [element for row in maps for element in row.get("elem", [])]}
        for element in data.get("set", []) if isinstance(data, dict) else []:
            if isinstance(element, list) and isinstance(element[-1], dict):
                yield from _end(element[-1])


def _end(part: Expression) -> Iterator[Tuple[str, str]]:
    for word, argument in part.items():
        if word in ("accept", "jump", "goto"):
            yield word, argument["target"] if argument else ""


def _key(chain: ChainRow) -> _Chain:
    return chain["family"], chain["table"], chain["name"]


def _chain_of(rule: NftRuleRow) -> _Chain:
    return rule["family"], rule["table"], rule["chain"]


def _hooks(
    chain: _Chain, chains: Mapping[_Chain, ChainRow], callers: Mapping[_Chain, List[NftRuleRow]], visited: Set[_Chain]
) -> Dict[str, Matches]:
    """Hook -> what packets from there match before they come to a chain, by the first path of jumps."""
    if "hook" in chains[chain]:
        return {chains[chain]["hook"]: {}}
    by_hook: Dict[str, Matches] = {}
    for rule in callers.get(chain, ()) if chain not in visited else ():
        visited.add(chain)
        for hook, matches in _hooks(_chain_of(rule), chains, callers, visited).items():
            by_hook.setdefault(hook, {**matches, **_matches(rule)})
    return by_hook


def _matches(rule: NftRuleRow) -> Matches:
    matches: Matches = {}
    for match in (part["match"] for part in rule["expr"] if "match" in part):
        op = "" if match["op"] in ("==", "in") else f" {match['op']}"
        matches[_left(match["left"]) + op] = _right(match["right"])
    return matches


def _left(left: Expression) -> str:
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
