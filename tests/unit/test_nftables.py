"""nftables' rules as hypotheses want them, from what ``nft -j`` tells."""

from __future__ import annotations

from typing import Any, List, Optional

import pytest

from podwire.explain.nftables import accepts, rules


def chain(name: str, hook: str = "") -> Any:
    based = {"hook": hook, "policy": "drop"} if hook else {}
    return {"chain": {"family": "ip", "table": "house", "name": name, **based}}


def rule(where: str, *parts: Any) -> Any:
    return {"rule": {"family": "ip", "table": "house", "chain": where, "handle": 4, "expr": list(parts)}}


def jump(target: str) -> Any:
    return {"jump": {"target": target}}


FORWARD, USERS = chain("forward", "forward"), chain("users")
VMAP = {"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["established", {"accept": None}]]}}}
NAMED = {"vmap": {"key": {"meta": {"key": "iifname"}}, "data": "@ways"}}
WAYS = {"map": {"family": "ip", "table": "house", "name": "ways", "elem": [["cni0", jump("users")]]}}


@pytest.mark.parametrize(
    "ruleset, wanted",
    [
        ([rule("forward", {"accept": None})], True),
        ([rule("forward", {"drop": None}), rule("users", {"accept": None})], False),  # nobody comes to users
        ([rule("forward", jump("users")), rule("users", {"accept": None})], True),
        ([rule("forward", jump("users")), rule("users", jump("users"))], False),
        ([rule("forward", VMAP)], True),
        ([WAYS, rule("forward", NAMED), rule("users", {"accept": None})], True),
    ],
)
def test_who_accepts_has_thought_of_what_passes(ruleset: List[Any], wanted: bool) -> None:
    assert accepts([FORWARD, USERS, *ruleset], FORWARD["chain"]) is wanted


@pytest.mark.parametrize(
    "ruleset, verdict",
    [
        ([rule("forward", {"counter": {"packets": 0}}, {"drop": None})], "drop"),
        ([rule("forward", {"xt": {"type": "target", "name": "REJECT"}})], "reject"),
        ([rule("forward", {"xt": {"type": "match", "name": "comment"}}, {"accept": None})], ""),
        ([WAYS, rule("users", {"xt": {"type": "target", "name": "MASQUERADE"}})], None),
        ([WAYS, rule("forward", NAMED), rule("users", {"drop": None})], "drop"),
    ],
)
def test_a_rule_that_packets_come_to_has_its_verdict(ruleset: List[Any], verdict: Optional[str]) -> None:
    found = list(rules({}, "", [FORWARD, USERS, *ruleset]))
    assert (found[-1].verdict if found else None) == verdict
    assert all(each.chain["hook"] == "forward" for each in found)
