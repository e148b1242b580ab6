"""Masquerading by nf_tables, over raw netlink: one table of ours, replaced in one transaction.

::

    table inet podwire {
        chain postrouting {
            type nat hook postrouting priority srcnat; policy accept;
            ip saddr 10.244.1.0/24 ip daddr != 10.244.0.0/16 masquerade fully-random comment "..."
        }
    }

Sources: include/uapi/linux/netfilter/nf_tables.h, net/netfilter/{nfnetlink,nf_tables_api}.c. The
table is podwire's alone: whatever else is found inside is shown as a ``Stray``, equal to no rule that
may be desired, so that a plan removes it. Removing rewrites the table, and connections that are
already masqueraded stay so (conntrack remembers them).
"""

from __future__ import annotations

import os
from ipaddress import IPv4Network

from ...errors import KernelError, UnsupportedError
from ...model.objects import NatRule
from ...model.wire import NLM_F_APPEND, NLM_F_CREATE, attribute, attributes
from ...startup_typing import TYPE_CHECKING
from ..namespaces import Namespace
from .masquerade_wire import NLA_F_NESTED, comment, decode, encode, nested, number, text
from .transaction import NFNL_SUBSYS_NFTABLES, Attributes

if TYPE_CHECKING:
    from typing import FrozenSet, List, Set

NEWTABLE, GETTABLE, DELTABLE, NEWCHAIN, GETCHAIN, NEWRULE, GETRULE = (
    (NFNL_SUBSYS_NFTABLES << 8) + message for message in (0, 1, 2, 3, 4, 6, 7)
)
NFTA_TABLE_NAME, NFTA_TABLE_FLAGS, NFTA_TABLE_USE = 1, 2, 3
NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, NFTA_CHAIN_HOOK, NFTA_CHAIN_POLICY, NFTA_CHAIN_TYPE = 1, 3, 4, 5, 7
NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY, NFTA_HOOK_DEV = 1, 2, 3
NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_HANDLE, NFTA_RULE_EXPRESSIONS, NFTA_RULE_USERDATA = 1, 2, 3, 4, 7

NF_INET_POST_ROUTING = 4
NF_IP_PRI_NAT_SRC = 100
NF_ACCEPT = 1
CHAIN = "postrouting"

#: What a kernel without nf_tables answers to a request (nfnetlink_rcv_msg: EINVAL; no netlink family
#: at all: EPROTONOSUPPORT). Nothing is there then.
_NO_NF_TABLES = {22, 93, 95}


class Stray(NatRule):
    """What podwire did not write in its table. It equals no rule that may be desired (``encode``
    refuses one without ``unless``), so a plan removes it; ``reason`` is what the plan says."""

    reason = ""

    def __str__(self) -> str:
        return f"nftables {self.reason}"


def show_nat(namespace: Namespace, table: str) -> FrozenSet[NatRule]:
    """The masquerade rules of ``table inet <table>``, and one ``Stray`` if anything there is not as
    podwire writes it. Empty if there is no table, or no nf_tables. KernelError otherwise."""
    try:
        socket = namespace.open_nftables()
    except KernelError as error:
        if error.errno in _NO_NF_TABLES:
            return frozenset()
        raise
    with socket:
        try:
            tables = socket.read(GETTABLE)
        except KernelError as error:
            if error.errno in _NO_NF_TABLES:
                return frozenset()
            raise KernelError(f"failed to read nftables in {namespace.name}: {error.message}", error.errno) from error
        ours = next((values for values in tables if _string(values, NFTA_TABLE_NAME) == table), None)
        if ours is None:
            return frozenset()
        chains = [values for values in socket.read(GETCHAIN) if _string(values, NFTA_CHAIN_TABLE) == table]
        rules = [values for values in socket.read(GETRULE) if _string(values, NFTA_RULE_TABLE) == table]
    return _understand(table, ours, chains, rules)


def _understand(table: str, ours: Attributes, chains: List[Attributes], rules: List[Attributes]) -> FrozenSet[NatRule]:
    strays: List[str] = []
    if ours.get(NFTA_TABLE_FLAGS, bytes(4)) != bytes(4):
        strays.append("the table is dormant or has other flags")
    if _integer(ours, NFTA_TABLE_USE) != 1 or len(chains) != 1 or not _is_ours(chains[0]):
        strays.append(f"other than one chain {CHAIN} (nat, hook postrouting, priority srcnat, policy accept)")
    if not rules:
        strays.append("no rules")
    shown: Set[NatRule] = set()
    for values in rules:
        rule = decode(values.get(NFTA_RULE_EXPRESSIONS, b""))
        name = f"rule handle {int.from_bytes(values.get(NFTA_RULE_HANDLE, b''), 'big')}"
        if rule is None or values.get(NFTA_RULE_USERDATA) != comment(rule):
            strays.append(f"{name} is not podwire's")
        elif rule in shown:
            strays.append(f"{name} is there twice")
        else:
            shown.add(rule)
    if strays:
        stray = Stray(_ANYWHERE, ())
        stray.reason = f"table inet {table}: " + "; ".join(strays)
        shown.add(stray)
    return frozenset(shown)


def _is_ours(chain: Attributes) -> bool:
    hook = chain.get(NFTA_CHAIN_HOOK, b"")
    where = dict(attributes(hook, 0, len(hook)))
    return (
        _string(chain, NFTA_CHAIN_NAME) == CHAIN
        and _string(chain, NFTA_CHAIN_TYPE) == "nat"
        and _integer(chain, NFTA_CHAIN_POLICY) == NF_ACCEPT
        and where == {NFTA_HOOK_HOOKNUM: number(NF_INET_POST_ROUTING), NFTA_HOOK_PRIORITY: number(NF_IP_PRI_NAT_SRC)}
    )


def apply_nat(namespace: Namespace, table: str, rules: FrozenSet[NatRule]) -> None:
    """Make ``rules`` the whole content of ``table inet <table>`` in one transaction; no rules, no table.

    A ``Stray`` among them is left out. UnsupportedError names what the kernel lacks, KernelError is
    any other refusal; both leave everything as it was.
    """
    wanted = sorted((rule for rule in rules if not isinstance(rule, Stray)), key=str)
    name = text(NFTA_TABLE_NAME, table)
    # Made (a no-op if it is there), removed and made anew: removing alone fails where there is none.
    messages = [(NEWTABLE, NLM_F_CREATE, name), (DELTABLE, 0, name)]
    if wanted:
        hook = nested(
            NFTA_CHAIN_HOOK,
            attribute(NFTA_HOOK_HOOKNUM, number(NF_INET_POST_ROUTING)),
            attribute(NFTA_HOOK_PRIORITY, number(NF_IP_PRI_NAT_SRC)),
        )
        chain = text(NFTA_CHAIN_TABLE, table) + text(NFTA_CHAIN_NAME, CHAIN) + hook
        chain += attribute(NFTA_CHAIN_POLICY, number(NF_ACCEPT)) + text(NFTA_CHAIN_TYPE, "nat")
        messages += [(NEWTABLE, NLM_F_CREATE, name), (NEWCHAIN, NLM_F_CREATE, chain)]
    for rule in wanted:
        payload = text(NFTA_RULE_TABLE, table) + text(NFTA_RULE_CHAIN, CHAIN)
        payload += attribute(NFTA_RULE_EXPRESSIONS | NLA_F_NESTED, encode(rule))
        payload += attribute(NFTA_RULE_USERDATA, comment(rule))
        messages.append((NEWRULE, NLM_F_CREATE | NLM_F_APPEND, payload))
    what = f"nftables table inet {table} in {namespace.name}"
    try:
        with namespace.open_nftables() as socket:
            refusal = socket.transaction(messages)
    except KernelError as error:
        raise _refused(what, 0, error.errno, "") from error
    if refusal is not None:
        kind = messages[refusal.number][0] if refusal.number >= 0 else 0
        raise _refused(what, kind, refusal.errno, refusal.text)


def _refused(what: str, kind: int, errno: int, text: str) -> KernelError:
    """Which error a refusal is. ``kind`` is the message refused, 0 for the transaction as a whole."""
    cause = f"failed to write {what}: {os.strerror(errno)}{text}"
    missing = {
        0: ("nf_tables (CONFIG_NF_TABLES)", _NO_NF_TABLES),
        NEWTABLE: ("nf_tables for family inet (CONFIG_NF_TABLES_INET)", {95, 97}),
        NEWCHAIN: ("nat chains of family inet (CONFIG_NFT_NAT, Linux 5.2 or newer)", {2, 95}),
        NEWRULE: ("the masquerade expression (CONFIG_NFT_MASQ)", {2, 95}),
    }
    if kind in missing and errno in missing[kind][1]:
        hint = f"this kernel lacks {missing[kind][0]}: load or build it, or declare masquerade: false"
        return UnsupportedError(cause, errno, hint)
    return KernelError(cause, errno)


_ANYWHERE = IPv4Network("0.0.0.0/0")


def _string(values: Attributes, kind: int) -> str:
    return values.get(kind, b"").rstrip(b"\0").decode(errors="replace")


def _integer(values: Attributes, kind: int) -> int:
    return int.from_bytes(values.get(kind, b""), "big")
