"""iptables' rules in the form of ``nft -j``, so that hypotheses need not care who wrote a rule.

A family is the command that knows the rule, as ``iptables-legacy``; a handle is a rule's number in its chain, as
``iptables -L --line-numbers`` has it. iptables-nft's rules are nftables' own, and read this way only without nft.
"""

from __future__ import annotations

import shlex
from typing import Dict, Iterable, List, Tuple, Union

from ..kernel.iptables.tables import Table, has_legacy
from .records import ChainRow, Expression, NftRuleRow, Ruleset

FAMILIES = {
    (version, flavour): f"{command}-{flavour}"
    for version, command in ((4, "iptables"), (6, "ip6tables")) for flavour in ("legacy", "nft")
}  # fmt: skip
_TABLES = ("filter", "nat", "mangle", "raw")
_HOOKS = {name.upper(): name for name in ("prerouting", "input", "forward", "output", "postrouting")}
_TARGETS = {"DROP": "drop", "REJECT": "reject", "MASQUERADE": "masquerade", "SNAT": "snat", "DNAT": "dnat"}
_VERDICTS = {**_TARGETS, "ACCEPT": "accept"}
#: Options with a value -> what nft calls it, for IPv4.
_MATCHES = {
    "-s": ("ip", "saddr"), "-d": ("ip", "daddr"), "--dport": ("", "dport"), "--sport": ("", "sport"),
    "-i": ("meta", "iifname"), "-o": ("meta", "oifname"), "--icmp-type": ("icmp", "type"), "--ctstate": ("ct", "state"),
}  # fmt: skip
_ICMP = {"3": "destination-unreachable", "8": "echo-request", "0": "echo-reply"}


def rulesets(*flavours: str) -> Ruleset:
    """Those of the caller's network namespace; nothing of ``legacy`` where they were never used, which costs one small
    file. UnsupportedError where a flavour has no command."""
    ruleset: Ruleset = []
    for (version, flavour), family in FAMILIES.items():
        for table in _TABLES if flavour in flavours else ():
            if flavour == "nft" or has_legacy(version, table):
                ruleset += parse(family, table, Table(version, table, flavour).saved(counters=True))
    return ruleset


def parse(family: str, table: str, lines: Iterable[str]) -> Ruleset:
    """``iptables-save -c`` as ``{"chain": …}`` and ``{"rule": …}``, whose ``spec`` is the rule itself. Pure."""
    ruleset: Ruleset = []
    numbers: Dict[str, int] = {}
    for line in lines:
        if line.startswith(":"):
            name, policy = line[1:].split()[:2]
            chain: ChainRow = {"family": family, "table": table, "name": name}
            if policy != "-":
                chain["hook"], chain["policy"] = _HOOKS.get(name, name.lower()), policy.lower()
            ruleset.append({"chain": chain})
        elif line.startswith("["):
            counted, _, rest = line.partition(" ")
            words = shlex.split(rest)
            name = words[1]
            numbers[name] = numbers.get(name, 0) + 1
            packets = int(counted[1:].partition(":")[0])
            expr, comment = _expressions(family, words[2:])
            rule: NftRuleRow = {
                "family": family, "table": table, "chain": name, "handle": numbers[name], "comment": comment,
                "spec": words[1:], "expr": [*expr[:-1], {"counter": {"packets": packets}}, *expr[-1:]],
            }  # fmt: skip
            ruleset.append({"rule": rule})
    return ruleset


def _expressions(family: str, words: List[str]) -> Tuple[List[Expression], str]:
    """Matches, with the verdict or jump last; and the comment."""
    matches: List[Expression] = []
    protocol, comment, op = "", "", "=="
    end: Expression = {"continue": None}
    for number, word in enumerate(words):
        value = words[number + 1] if number + 1 < len(words) else ""
        if word == "!":
            op = "!="
            continue
        if word == "-p":
            protocol = value
        elif word == "--comment":
            comment = value
        elif word in ("-j", "-g"):
            end = {_VERDICTS[value]: None} if value in _VERDICTS else {"jump": {"target": value}}
        elif word in _MATCHES:
            matches.append({"match": {"op": op, "left": _left(family, protocol, word), "right": _right(word, value)}})
        op = "=="
    if protocol and not any("payload" in match["match"]["left"] for match in matches):
        matches.insert(0, {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": protocol}})
    return [*matches, end], comment


def _left(family: str, protocol: str, word: str) -> Expression:
    layer, field = _MATCHES[word]
    if layer == "meta":
        return {"meta": {"key": field}}
    if layer == "ct":
        return {"ct": {"key": field}}
    if layer == "ip" and family.startswith("ip6"):
        layer = "ip6"
    return {"payload": {"protocol": layer or protocol, "field": field}}


def _right(word: str, value: str) -> Union[str, int]:
    if word in ("--dport", "--sport"):
        return int(value) if value.isdigit() else value
    if word == "--icmp-type":
        return _ICMP.get(value.partition("/")[0], value)
    if word == "--ctstate":
        return value.lower()
    if word in ("-i", "-o"):
        return value.replace("+", "*")
    return value.removesuffix("/32").removesuffix("/128")
