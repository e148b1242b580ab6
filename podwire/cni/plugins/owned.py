"""Rules of an attachment: whose they are, and how they are found again. Those of iptables: see chains.

::

    ip saddr 10.244.1.2 ... comment "3f0a9c1e5b7d2846-90ab12cd34ef5678 net podnet if eth0 id 4c1f..."

The first word is the owner: digests of the network's name and of the attachment. DEL knows it without address or
namespace, and GC knows which network's rules to look at. The rest is for people, and may be cut.
"""

from __future__ import annotations

from ...kernel.nftables import rules
from ...model.objects import Chain, Rule
from ...model.state import Scope
from ...startup_typing import TYPE_CHECKING, sha256
from . import chains

if TYPE_CHECKING:
    from typing import FrozenSet, Optional, Tuple

    from ...kernel import Namespace
    from ...kernel.nftables.expressions import Part
    from ...model.objects import IPAddress
    from ..engine.plugin import Plugin
    from ..spec.netconf import Attachment, NetConf

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
    comment = rules.comment_of(f"{name} net {conf.name} if {attachment.ifname} id {attachment.container_id}")
    text = " ".join(part.text for part in parts)
    return Rule(chain, name, comment, text, b"".join(part.expressions for part in parts))


def scope(conf: NetConf, attachment: Attachment, plugin: Plugin, addresses: Optional[FrozenSet[IPAddress]]) -> Scope:
    """The scope of an attachment's rules, whichever backend made them. ``addresses``: its own, if they are known."""
    name = owner(conf.name, attachment.container_id, attachment.ifname)
    iptables = {chains.name(kind, conf.name, attachment.container_id) for kind in plugin.iptables_chains(conf)}
    return Scope(
        chains=plugin.chains(conf),
        owners=frozenset({name}),
        iptables=frozenset(iptables),
        iptables_of=addresses,
    )


def stale(conf: NetConf, node: Namespace, valid: FrozenSet[Tuple[str, str]], plugin: Plugin) -> Scope:
    """The scope of this network's rules that belong to no valid attachment."""
    kept = {owner(conf.name, *each) for each in valid}
    found = rules.owners_of(node, plugin.chains(conf))
    return Scope(
        chains=plugin.chains(conf),
        owners=frozenset(each for each in found if each.startswith(prefix(conf.name)) and each not in kept),
        iptables=chains.stale(plugin.iptables_chains(conf), conf, node, valid),
    )
