"""Rules of single attachments in nftables chains of ours: shown, added and removed by their owner's comment.

Tables and chains are made when first needed and stay; a rule is added to and removed from what is there, so that
attachments do not see each other's. Everything of one call is one transaction.
Source: include/uapi/linux/netfilter/nf_tables.h, net/netfilter/nf_tables_api.c.
"""

from __future__ import annotations

import os

from ...errors import KernelError, UnsupportedError
from ...model.objects import Chain, Rule
from ...model.wire import NLM_F_APPEND, NLM_F_CREATE, Message, attribute, attributes
from ...plan import REMOVE, Operation
from ...startup_typing import TYPE_CHECKING
from ..namespaces import Namespace
from .masquerade import (
    GETCHAIN,
    GETRULE,
    NEWCHAIN,
    NEWRULE,
    NEWTABLE,
    NF_ACCEPT,
    NFTA_CHAIN_HOOK,
    NFTA_CHAIN_NAME,
    NFTA_CHAIN_POLICY,
    NFTA_CHAIN_TABLE,
    NFTA_CHAIN_TYPE,
    NFTA_HOOK_HOOKNUM,
    NFTA_HOOK_PRIORITY,
    NFTA_RULE_CHAIN,
    NFTA_RULE_EXPRESSIONS,
    NFTA_RULE_HANDLE,
    NFTA_RULE_TABLE,
    NFTA_RULE_USERDATA,
    NFTA_TABLE_NAME,
)
from .masquerade_wire import NLA_F_NESTED, nested, number, text, tree

if TYPE_CHECKING:
    from typing import Dict, FrozenSet, Iterable, List, Sequence, Set, Tuple

    from .transaction import NfTablesSocket

DELRULE = NEWRULE + 2
_FAMILIES = {"inet": 1, "ip": 2, "bridge": 7, "ip6": 10}
#: What a kernel without nf_tables, or without the table, answers to a dump.
_NOTHING = {2, 22, 93, 95, 97}
#: Up to so many owners are looked for in a rule's bytes, which spares parsing all of the others' rules.
_FEW = 8
#: libnftnl's udata.h: type 0 is the comment, at most 128 bytes with its NUL.
_COMMENT_BYTES = 128


class ObservedRule(Rule):
    """A rule as the kernel has it; ``handle`` is its name there."""

    handle = 0


def show_rules(
    namespace: Namespace, chains: Iterable[Chain], owners: FrozenSet[str], desired: FrozenSet[Rule]
) -> FrozenSet[Rule]:
    """The rules of some owners in some chains. One that is as desired equals that; others say their handle."""
    wanted: Dict[Tuple[str, str, str, object], Rule] = {}
    for rule in desired:
        wanted[rule.chain.table, rule.chain.name, rule.comment, tree(rule.expressions)] = rule
    shown: Set[Rule] = set()
    few = [owner.encode() for owner in owners] if len(owners) <= _FEW else []
    for (family, table), named in _by_table(chains).items():
        for payload in _dump(namespace, family, table):
            if few and not any(owner in payload for owner in few):
                continue
            values = dict(attributes(payload, 4, len(payload)))
            chain = named.get(_string(values.get(NFTA_RULE_CHAIN, b"")))
            comment = _comment(values.get(NFTA_RULE_USERDATA, b""))
            if chain is None or comment.partition(" ")[0] not in owners:
                continue
            handle = int.from_bytes(values[NFTA_RULE_HANDLE], "big")
            expressions = values.get(NFTA_RULE_EXPRESSIONS, b"")
            same = wanted.get((table, chain.name, comment, tree(expressions))) if wanted else None
            rule_shown = (
                ObservedRule(*same)
                if same
                else ObservedRule(chain, comment.partition(" ")[0], comment, f"handle {handle}", expressions)
            )
            rule_shown.handle = handle
            if rule_shown in shown:  # one of them is enough
                rule_shown = ObservedRule(*rule_shown._replace(text=f"handle {handle}"))
                rule_shown.handle = handle
            shown.add(rule_shown)
    return frozenset(shown)


def owners_of(namespace: Namespace, chains: Iterable[Chain]) -> FrozenSet[str]:
    """Everybody who has rules in some chains."""
    owners = set()
    for (family, table), named in _by_table(chains).items():
        for payload in _dump(namespace, family, table):
            values = dict(attributes(payload, 4, len(payload)))
            if _string(values.get(NFTA_RULE_CHAIN, b"")) in named:
                owners.add(_comment(values.get(NFTA_RULE_USERDATA, b"")).partition(" ")[0])
    return frozenset(owners - {""})


def apply_rules(namespace: Namespace, operations: Sequence[Operation]) -> None:
    """Add and remove rules, in one transaction a family. UnsupportedError names what the kernel lacks."""
    families: Dict[str, List[Operation]] = {}
    for operation in operations:
        assert isinstance(operation.object, Rule)
        families.setdefault(operation.object.chain.family, []).append(operation)
    for family, group in families.items():
        try:
            socket = namespace.nftables(_FAMILIES[family])
        except KernelError as error:
            raise UnsupportedError(
                f"failed to write nftables rules in {namespace.name}: {error.message}",
                error.errno,
                "this kernel lacks nf_tables (CONFIG_NF_TABLES)",
            ) from error
        _commit(namespace, socket, group)


def _commit(namespace: Namespace, socket: NfTablesSocket, operations: Sequence[Operation]) -> None:
    """Chains that exist are not made again: that would be a change of them, which waits for an RCU grace period."""
    chains = {op.object.chain: None for op in operations if isinstance(op.object, Rule) and op.action != REMOVE}
    missing = [chain for chain in chains if not _exists(socket, chain)]
    messages, owners = _messages(operations, missing)
    refusal = socket.transaction(messages)
    if refusal is None:
        return
    doing = owners[refusal.number] if 0 <= refusal.number < len(owners) else "nftables rules"
    cause = f"failed to write {doing} in {namespace.name}: {os.strerror(refusal.errno)}{refusal.text}"
    if refusal.errno in (2, 93, 95, 97) or (refusal.number < 0 and refusal.errno == 22):
        hint = "this kernel lacks what the rule needs: nf_tables with NAT, or a match of it"
        raise UnsupportedError(cause, refusal.errno, hint)
    raise KernelError(cause, refusal.errno)


def _exists(socket: NfTablesSocket, chain: Chain) -> bool:
    try:
        return socket.get(GETCHAIN, socket.generic + _name(chain)) is not None
    except KernelError as error:
        if error.errno in _NOTHING:
            return False
        raise


def _messages(operations: Sequence[Operation], chains: Sequence[Chain]) -> Tuple[List[Message], List[str]]:
    rules = [(action, rule) for action, rule, _ in operations if isinstance(rule, Rule)]
    messages: List[Message] = []
    owners: List[str] = []
    for table in {chain.table: None for chain in chains}:
        messages.append((NEWTABLE, NLM_F_CREATE, text(NFTA_TABLE_NAME, table)))
        owners.append(f"nftables table {table}")
    for chain in chains:  # all of them before the rules, which may jump
        messages.append((NEWCHAIN, NLM_F_CREATE, _chain(chain)))
        owners.append(f"nftables {chain.family} {chain.table} {chain.name}")
    for action, rule in rules:
        place = text(NFTA_RULE_TABLE, rule.chain.table) + text(NFTA_RULE_CHAIN, rule.chain.name)
        owners.append(str(rule))
        if action == REMOVE:
            handle = getattr(rule, "handle", 0)
            messages.append((DELRULE, 0, place + attribute(NFTA_RULE_HANDLE, handle.to_bytes(8, "big"))))
            continue
        body = place + attribute(NFTA_RULE_EXPRESSIONS | NLA_F_NESTED, rule.expressions)
        encoded = rule.comment.encode() + b"\0"
        body += attribute(NFTA_RULE_USERDATA, bytes([0, len(encoded)]) + encoded)
        messages.append((NEWRULE, NLM_F_CREATE | NLM_F_APPEND, body))
    return messages, owners


def _name(chain: Chain) -> bytes:
    return text(NFTA_CHAIN_TABLE, chain.table) + text(NFTA_CHAIN_NAME, chain.name)


def _chain(chain: Chain) -> bytes:
    body = _name(chain)
    if chain.hook is None:
        return body
    hook = nested(
        NFTA_CHAIN_HOOK,
        attribute(NFTA_HOOK_HOOKNUM, number(chain.hook)),
        attribute(NFTA_HOOK_PRIORITY, number(chain.priority & 0xFFFFFFFF)),
    )
    return body + hook + attribute(NFTA_CHAIN_POLICY, number(NF_ACCEPT)) + text(NFTA_CHAIN_TYPE, chain.type)


def comment_of(words: str) -> str:
    """A comment cut to what nftables keeps."""
    return words.encode()[: _COMMENT_BYTES - 1].decode(errors="ignore").rstrip()


def _by_table(chains: Iterable[Chain]) -> Dict[Tuple[str, str], Dict[str, Chain]]:
    by_table: Dict[Tuple[str, str], Dict[str, Chain]] = {}
    for chain in chains:
        by_table.setdefault((chain.family, chain.table), {})[chain.name] = chain
    return by_table


def _dump(namespace: Namespace, family: str, table: str) -> List[bytes]:
    try:
        socket = namespace.nftables(_FAMILIES[family])
        answers = socket.dump(GETRULE, socket.generic + text(NFTA_RULE_TABLE, table))
    except KernelError as error:
        if error.errno in _NOTHING:
            return []
        raise
    named = text(NFTA_RULE_TABLE, table)
    return [payload for _, payload in answers if payload[4 : 4 + len(named)] == named]


def _comment(userdata: bytes) -> str:
    return userdata[2 : 2 + userdata[1]].rstrip(b"\0").decode(errors="replace") if len(userdata) > 2 else ""


def _string(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")
