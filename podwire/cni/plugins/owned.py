"""nftables rules of an attachment: whose they are, and how they are found again.

::

    ip saddr 10.244.1.2 ... comment "3f0a9c1e5b7d2846-90ab12cd34ef5678 net podnet if eth0 id 4c1f..."

The first word is the owner: digests of the network's name and of the attachment. DEL knows it without address or
namespace, and GC knows which network's rules to look at. The rest is for people, and may be cut.
"""

from __future__ import annotations

from ...kernel import nft_rules
from ...lean import TYPE_CHECKING, sha256
from ...model import Chain, Rule
from ...state import Scope

if TYPE_CHECKING:
    from typing import FrozenSet, Tuple

    from ...kernel import Namespace
    from ...kernel.nft_parts import Part
    from ..netconf import Attachment, NetConf

#: Our table, in families inet and bridge.
TABLE = "podwire-cni"


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def prefix(network: str) -> str:
    """What the owners of a network's rules begin with."""
    return _digest(network) + "-"


def owner(network: str, container_id: str, ifname: str) -> str:
    """The first word of the comments of an attachment's rules."""
    return f"{prefix(network)}{_digest(f'{container_id}/{ifname}')}"


def rule(conf: NetConf, attachment: Attachment, chain: Chain, *parts: Part) -> Rule:
    """A rule of an attachment."""
    name = owner(conf.name, attachment.container_id, attachment.ifname)
    comment = nft_rules.comment_of(f"{name} net {conf.name} if {attachment.ifname} id {attachment.container_id}")
    text = " ".join(part.text for part in parts)
    return Rule(chain, name, comment, text, b"".join(part.expressions for part in parts))


def scope(conf: NetConf, attachment: Attachment, chains: Tuple[Chain, ...]) -> Scope:
    """The scope of an attachment's rules in some chains."""
    name = owner(conf.name, attachment.container_id, attachment.ifname)
    return Scope(chains=chains, owners=frozenset({name}))


def stale(conf: NetConf, node: Namespace, valid: FrozenSet[Tuple[str, str]], chains: Tuple[Chain, ...]) -> Scope:
    """The scope of this network's rules in some chains that belong to no valid attachment."""
    kept = {owner(conf.name, *each) for each in valid}
    found = frozenset(
        each for each in nft_rules.owners_of(node, chains) if each.startswith(prefix(conf.name)) and each not in kept
    )
    return Scope(chains=chains, owners=found)
