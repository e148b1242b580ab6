"""iptables-legacy's rules in the words of ``nft -j``, so that hypotheses need not care who wrote a rule.

Families are ``iptables`` and ``ip6tables``; a handle is a rule's number in its chain, as ``iptables -L --line-numbers``
has it. iptables-nft's rules are nftables' own and are read as these.
"""

from __future__ import annotations

import shlex
from typing import Any, Dict, Iterable, List, Tuple

from ..errors import PodwireError
from ..kernel.iptables import Table, has_legacy

FAMILIES = {4: "iptables", 6: "ip6tables"}
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


def rulesets() -> List[Any]:
    """Those of the caller's network namespace; nothing where they were never used, which costs one small file."""
    found: List[Any] = []
    for version, family in FAMILIES.items():
        for table in _TABLES:
            if has_legacy(version, table):
                try:
                    found += parse(family, table, Table(version, table, "legacy").saved(counters=True))
                except PodwireError:
                    continue
    return found


def parse(family: str, table: str, lines: Iterable[str]) -> List[Any]:
    """``iptables-legacy-save -c`` as ``{"chain": …}`` and ``{"rule": …}``, whose ``spec`` is the rule itself. Pure."""
    found: List[Any] = []
    numbers: Dict[str, int] = {}
    for line in lines:
        if line.startswith(":"):
            name, policy = line[1:].split()[:2]
            chain = {"family": family, "table": table, "name": name}
            if policy != "-":
                chain.update(hook=_HOOKS.get(name, name.lower()), policy=policy.lower())
            found.append({"chain": chain})
        elif line.startswith("["):
            counted, _, rest = line.partition(" ")
            words = shlex.split(rest)
            name = words[1]
            numbers[name] = numbers.get(name, 0) + 1
            packets = int(counted[1:].partition(":")[0])
            expr, comment = _expressions(family, words[2:])
            rule = {"family": family, "table": table, "chain": name, "handle": numbers[name], "comment": comment}
            found.append({"rule": {**rule, "spec": rest[3:], "expr": [*expr[:-1], {"counter": {"packets": packets}},
                                                                     *expr[-1:]]}})  # fmt: skip
    return found


def _expressions(family: str, words: List[str]) -> Tuple[List[Any], str]:
    """Matches, with the verdict or jump last; and the comment."""
    found: List[Any] = []
    protocol, comment, op = "", "", "=="
    end: Any = {"continue": None}
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
            found.append({"match": {"op": op, "left": _left(family, protocol, word), "right": _right(word, value)}})
        op = "=="
    if protocol and not any("payload" in each["match"]["left"] for each in found):
        found.insert(0, {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": protocol}})
    return [*found, end], comment


def _left(family: str, protocol: str, word: str) -> Any:
    layer, field = _MATCHES[word]
    if layer == "meta":
        return {"meta": {"key": field}}
    if layer == "ct":
        return {"ct": {"key": field}}
    if layer == "ip" and family == "ip6tables":
        layer = "ip6"
    return {"payload": {"protocol": layer or protocol, "field": field}}


def _right(word: str, value: str) -> Any:
    if word in ("--dport", "--sport"):
        return int(value) if value.isdigit() else value
    if word == "--icmp-type":
        return _ICMP.get(value.partition("/")[0], value)
    if word == "--ctstate":
        return value.lower()
    if word in ("-i", "-o"):
        return value.replace("+", "*")
    return value.removesuffix("/32").removesuffix("/128")
